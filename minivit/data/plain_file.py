"""Files from elsewhere: opened without waiting, read up to a bound."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

from minivit.errors import UserError, shown_path

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_FLAGS = ("O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY")  # each where the system has it


def open_plain(path: Path | str) -> BinaryIO:
    """`path`, opened to be read in binary, if it is a regular file.

    A pipe or a device is never waited for: the kind is looked up first, and once more on what was
    opened, in case it was exchanged in between.

    Raises UserError for anything that is not a regular file, and OSError as `open` does.
    """
    check_regular(path)
    flags = os.O_RDONLY
    for name in _FLAGS:
        flags |= getattr(os, name, 0)
    descriptor = os.open(path, flags)
    try:
        _check_mode(path, os.fstat(descriptor).st_mode)
        return open(descriptor, "rb", buffering=0)
    except BaseException:
        os.close(descriptor)
        raise


def check_regular(path: Path | str, *, follow: bool = True) -> None:
    """Raises UserError unless `path` is a regular file, and OSError if it cannot be looked up."""
    try:
        mode = os.stat(path, follow_symlinks=follow).st_mode
    except ValueError:  # a null character in the name
        raise UserError(f"{shown_path(path)}: no file can have this name") from None
    _check_mode(path, mode)


def _check_mode(path: Path | str, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "not a file")
        raise UserError(f"{shown_path(path)}: {kind}, expected a regular file")


def read_plain(path: Path | str, most: int, what: str) -> bytes:
    """The bytes of a regular file that holds at most `most`; `what` names the kind in an error.

    Raises UserError for a longer file and for one that is not regular, and OSError.
    """
    with open_plain(path) as file:
        length = os.fstat(file.fileno()).st_size
        if length <= most:
            parts = []
            while length <= most and (part := file.read(1 << 24)):
                parts.append(part)
                length = sum(map(len, parts))
            if length <= most:
                return parts[0] if len(parts) == 1 else b"".join(parts)
    raise UserError(f"{shown_path(path)}: {length:,} bytes, expected at most {most:,} for {what}")
