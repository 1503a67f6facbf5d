"""A .zip, read within limits, with damage reported in one line.

The standard library's `zipfile` raises errors of many kinds, and does not limit the unpacked size
of a member compressed with bzip2 or LZMA: those are refused; .zip and .npz files use deflate.
"""

import contextlib
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from minivit.errors import UserError, shown, shown_path
from minivit.files import open_plain, reading

# What `zipfile` raises for damage; encryption and unknown methods give RuntimeErrors of two kinds.
ZIP_ERRORS = (
    *(zipfile.BadZipFile, zlib.error, RuntimeError, OSError, EOFError, ValueError),
    *(KeyError, OverflowError),
)
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@contextlib.contextmanager
def open_zip(path: Path, kind: str = "a .zip archive") -> Iterator[zipfile.ZipFile]:
    """The archive, opened for reading; `kind` describes it in messages.

    Raises UserError if it is not a .zip.
    """
    with reading(path):
        file = open_plain(path)
    with file:
        try:
            archive = zipfile.ZipFile(file)
        except ZIP_ERRORS as error:
            raise UserError(
                f"{shown_path(path)}: damaged, or not {kind} ({shown(error)}); download it again"
            ) from None
        with archive:
            yield archive


def open_member(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    """A member, opened at its beginning.

    Raises UserError if it is compressed with another method, and `ZIP_ERRORS`.
    """
    info = archive.getinfo(name)
    if info.compress_type not in _METHODS:
        raise UserError(
            f"{shown_path(name)}: compressed with a method other than deflate; pack it again"
        )
    return archive.open(info)


def read_member(archive: zipfile.ZipFile, name: str, max_size: int) -> bytes:
    """The contents of a member, with length and checksum verified.

    Raises UserError, which names only the member, if it is damaged or longer than `max_size` bytes.
    """
    try:
        size = archive.getinfo(name).file_size
        if size > max_size:
            raise UserError(f"{shown_path(name)}: {size:,} bytes, expected at most {max_size:,}")
        with open_member(archive, name) as file:
            return file.read(size)
    except UserError:
        raise
    except ZIP_ERRORS as error:
        raise UserError(f"{shown_path(name)}: cannot be read ({shown(error)})") from None
