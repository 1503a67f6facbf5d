"""Sets of files by name: in a folder, a .zip or a .tar.gz, read within limits.

Archives are read in memory: nothing is unpacked to disk.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from minivit.data.archive import walk_members
from minivit.data.class_folders import MAX_FILES, is_clutter
from minivit.data.download import sha256_of
from minivit.data.image_decoding import MAX_BYTES
from minivit.data.image_files import SUFFIXES, is_image
from minivit.data.zip_archive import open_zip, read_member
from minivit.errors import UserError, shown_path
from minivit.files import read_plain, reading

MAX_UNPACKED = 1 << 40
"""Maximum number of unpacked bytes that are read from an archive."""


class FileSet(Protocol):
    """Image files, with "/" between the folders in their names."""

    path: Path

    def names(self) -> list[str]:
        """The names of all files that are images by suffix or signature, in any order, except
        those that `is_clutter` rejects.
        """

    def read(self, names: Sequence[str]) -> Iterator[tuple[int, bytes | UserError]]:
        """(index in `names`, the file's bytes or why they cannot be read), in any order."""

    def digest(self, names: Sequence[str]) -> str:
        """SHA-256 of the files' contents."""


class FolderFiles:
    """Image files in a folder and its subfolders; links are followed, each folder once."""

    def __init__(self, path: Path):
        self.path = path

    def names(self) -> list[str]:
        """Raises UserError for a folder that cannot be listed, or has more than MAX_FILES."""
        found: list[str] = []
        seen: set[tuple[int, int]] = set()
        count = 0
        with reading(self.path, "a folder of class folders"):
            os.listdir(self.path)  # `walk` skips what cannot be listed
        for folder, subfolders, files in os.walk(self.path, followlinks=True):
            status = os.stat(folder)
            inode = status.st_dev, status.st_ino
            if inode in seen:  # a link back
                subfolders.clear()
                continue
            seen.add(inode)
            subfolders[:] = sorted(name for name in subfolders if not is_clutter(name))
            count += len(files)
            if count > MAX_FILES:
                raise UserError(
                    f"{shown_path(self.path)}: more than {MAX_FILES:,} files; expected a folder "
                    "of class folders with images"
                )
            relative = Path(folder).relative_to(self.path)
            found += [
                (relative / name).as_posix()
                for name in files
                if not is_clutter(name) and is_image(Path(folder, name))
            ]
        return found

    def read(self, names: Sequence[str]) -> Iterator[tuple[int, bytes | UserError]]:
        """Read one after another."""
        for index, name in enumerate(names):
            yield index, self._read(self.path / name)

    def _read(self, path: Path) -> bytes | UserError:
        try:
            with reading(path):
                return read_plain(path, MAX_BYTES, "an image")
        except UserError as error:
            return error

    def digest(self, names: Sequence[str]) -> str:
        """SHA-256 of each file's name, length and bytes."""
        digest = hashlib.sha256()
        for index, raw in self.read(names):
            raw = str(raw).encode() if isinstance(raw, UserError) else raw
            digest.update(f"{names[index]}\0{len(raw)}\0".encode("utf-8", "surrogateescape"))
            digest.update(raw)
        return digest.hexdigest()


class _ArchiveFiles:
    """The common base of both kinds of archive."""

    def __init__(self, path: Path):
        self.path = path

    def digest(self, names: Sequence[str]) -> str:
        """SHA-256 of the archive."""
        with reading(self.path):
            return sha256_of(self.path)

    def _chosen(self, names: list[str]) -> list[str]:
        """The names of images. Raises UserError if there are too many, or one occurs twice."""
        if len(names) > MAX_FILES:
            raise UserError(f"{shown_path(self.path)}: more than {MAX_FILES:,} members")
        found = [name for name in names if not is_clutter(name)]
        found = [name for name in found if Path(name).suffix.lower() in SUFFIXES]
        if len(found) > len(set(found)):
            raise UserError(
                f"{shown_path(self.path)}: two members have the same name; pack it again"
            )
        return found


class TarFiles(_ArchiveFiles):
    """Image files in a .tar.gz; it is unpacked in memory once to list them and once to read
    them.
    """

    def names(self) -> list[str]:
        """Raises UserError as `walk_members` does."""
        with reading(self.path):
            members = walk_members(self.path, MAX_UNPACKED, MAX_FILES)
            return self._chosen([name for name, member, _ in members if member.is_file])

    def read(self, names: Sequence[str]) -> Iterator[tuple[int, bytes | UserError]]:
        """Read in the archive's order."""
        indices = {name: index for index, name in enumerate(names)}
        with reading(self.path):
            for name, member, read in walk_members(self.path, MAX_UNPACKED, MAX_FILES):
                if name in indices and member.is_file:
                    error = _size_error(name, member.size)
                    yield indices[name], error or read()


class ZipFiles(_ArchiveFiles):
    """Image files in a .zip."""

    def names(self) -> list[str]:
        """Raises UserError if it is not a .zip."""
        with open_zip(self.path) as archive:
            return self._chosen(archive.namelist())

    def read(self, names: Sequence[str]) -> Iterator[tuple[int, bytes | UserError]]:
        """Read one after another."""
        with open_zip(self.path) as archive:
            for index, name in enumerate(names):
                try:
                    yield index, read_member(archive, name, MAX_BYTES)
                except UserError as error:
                    yield index, error


def _size_error(name: str, size: int) -> UserError | None:
    if size <= MAX_BYTES:
        return None
    return UserError(f"{shown_path(name)}: {size:,} bytes, expected at most {MAX_BYTES:,}")


def open_files(path: Path) -> FileSet | None:
    """The files of a folder or of an archive; None for anything else."""
    if path.is_dir():
        return FolderFiles(path)
    name = path.name.lower()
    if name.endswith(".zip"):
        return ZipFiles(path)
    return TarFiles(path) if name.endswith((".tar.gz", ".tgz")) else None
