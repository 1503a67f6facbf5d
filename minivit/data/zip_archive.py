"""A .zip, read within bounds, whose damage is reported in one line.

The standard library's `zipfile` raises errors of many kinds, and has no bound on what a member
packed by bzip2 or LZMA unpacks to: those are refused, deflate is what .zip and .npz files use.
"""

import contextlib
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from minivit.errors import UserError, shown, shown_path
from minivit.files import open_plain, reading

# As `zipfile` raises for damage: a lock or an unknown method are RuntimeErrors of two kinds.
ZIP_ERRORS = (
    *(zipfile.BadZipFile, zlib.error, RuntimeError, OSError, EOFError, ValueError),
    *(KeyError, OverflowError),
)
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@contextlib.contextmanager
def open_zip(path: Path, kind: str = "a .zip archive") -> Iterator[zipfile.ZipFile]:
    """The archive, open to be read; `kind` names what it should be in an error.

    Raises UserError for what is no .zip.
    """
    with reading(path):
        file = open_plain(path)
    with file:
        try:
            archive = zipfile.ZipFile(file)
        except ZIP_ERRORS as error:
            raise UserError(
                f"{shown_path(path)}: damaged, or not {kind} ({shown(error)}); get it again"
            ) from None
        with archive:
            yield archive


def open_member(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    """A member, to be read from its beginning on.

    Raises UserError for one that is packed by another method, and as `ZIP_ERRORS` say.
    """
    info = archive.getinfo(name)
    if info.compress_type not in _METHODS:
        raise UserError(f"{shown_path(name)}: packed by another method than deflate; pack it again")
    return archive.open(info)


def read_member(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    """What a member holds; its length and its checksum are right.

    Raises UserError, which names the member alone, for a damaged one and for one of more than
    `most` bytes.
    """
    try:
        size = archive.getinfo(name).file_size
        if size > most:
            raise UserError(f"{shown_path(name)}: {size:,} bytes, expected at most {most:,}")
        with open_member(archive, name) as file:
            return file.read(size)
    except UserError:
        raise
    except ZIP_ERRORS as error:
        raise UserError(f"{shown_path(name)}: cannot be read ({shown(error)})") from None
