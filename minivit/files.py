"""Files: written so that a crash leaves either the old or the complete new content, and read within
limits.

An input may be anything: it is opened without blocking, and a failure is reported in one line.
Errors about an output name the file itself, never its temporary file.
"""

import contextlib
import csv
import glob
import io
import json
import os
import stat
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from minivit.errors import UserError, shown, shown_path

MAX_JSON = 10_000_000
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_FLAGS = ("O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY")  # each only if the system has it


class WriteError(OSError):
    """Something could not be written; `filename` is the user's path."""


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Wraps code that creates or changes `path`: its OSErrors become WriteErrors with that name."""
    try:
        yield
    except OSError as error:
        raise WriteError(error.errno, error.strerror or str(error), str(path)) from error


def make_folder(path: Path) -> None:
    """Make a folder and its parents; does nothing if it exists.

    Raises UserError if something else has this name, and WriteError.
    """
    if os.path.lexists(path) and not os.path.isdir(path):
        raise UserError(f"{shown_path(path)}: exists, but is not a folder; choose another name")
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)


ABANDONED = 3600.0
"""Seconds after which an unfinished file is assumed to have been left by a killed writer."""


def write_atomically(path: Path, content: bytes) -> None:
    """Give `path` new content: written to a temporary file next to it, flushed to disk, and
    renamed.

    Temporary files left by killed writers of the same file are removed.

    Raises:
        UserError: `path` is a folder. WriteError: it could not be written (a full disk, for
        example); `path` is unchanged.
    """
    if path.is_dir():
        raise UserError(f"{shown_path(path)}: a folder, expected a file name")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with writing(path):
            with open(temporary, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        _flush_folder(path.parent)
        remove_parts(path.parent, path.name, ABANDONED)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def remove_parts(folder: Path, name: str | None = None, older_than: float = 0.0) -> None:
    """Remove the unfinished files of writers that were killed.

    Args:
        name: of the file that they wrote; None for any. older_than: seconds; younger ones may
        belong to an active writer.
    """
    for part in folder.glob(f".{glob.escape(name) if name else '*'}.*.part"):
        with contextlib.suppress(OSError):  # another process removed it first
            if time.time() - part.stat().st_mtime >= older_than:
                part.unlink()


def _flush_folder(folder: Path) -> None:
    """Make a rename survive a power cut, where the system can."""
    with contextlib.suppress(OSError):  # Windows cannot open folders
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def as_csv(rows: Iterable[Iterable[object]]) -> bytes:
    """Write a table in UTF-8; a path that is not valid text keeps its bytes."""
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(rows)
    return file.getvalue().encode("utf-8", sys.getfilesystemencodeerrors())


@contextlib.contextmanager
def reading(path: Path | str, expected: str = "") -> Iterator[None]:
    """Wraps code that opens or reads `path`: its OSErrors become UserErrors.

    expected: what should have been there, for the message if there is nothing.
    """
    name = shown_path(path)
    try:
        yield
    except FileNotFoundError:
        what = "a link to a file that does not exist" if os.path.islink(path) else "no such file"
        raise UserError(f"{name}: {what}{expected and f'; expected {expected}'}") from None
    except PermissionError:
        raise UserError(
            f"{name}: no permission to read it; expected a file or folder that you may read"
        ) from None
    except OSError as error:
        raise UserError(f"{name}: cannot be read ({shown(error)})") from None


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a settings file, such as a run's config.json.

    Raises:
        UserError: no such file, not readable, not JSON, or not an object.
    """
    with reading(path, "a run's config.json"):
        raw = read_plain(path, MAX_JSON, "a file of settings")
    try:
        found = parse_json(raw)  # UTF-8, or UTF-16 with a byte order mark
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{shown_path(path)}: not JSON ({shown(error)}); expected a run's config.json"
        ) from None
    if not isinstance(found, dict):
        kind = type(found).__name__
        raise UserError(f"{shown_path(path)}: found a {kind}, expected an object of settings")
    return found


def parse_json(raw: str | bytes) -> Any:
    """`json.loads`, but only if the strings can also be printed and saved.

    Raises ValueError: not JSON, or half of a surrogate pair, such as "\\ud800"; RecursionError:
    nested too deeply.
    """
    found = json.loads(raw)
    json.dumps(found, ensure_ascii=False).encode()
    return found


def open_plain(path: Path | str) -> BinaryIO:
    """`path`, opened for reading in binary mode, if it is a regular file.

    Never blocks on a pipe or a device: the file type is checked first, and again after opening, in
    case the file was replaced in between.

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
    """Raises UserError unless `path` is a regular file, and OSError if it cannot be accessed."""
    try:
        mode = os.stat(path, follow_symlinks=follow).st_mode
    except ValueError:  # a null character in the name
        raise UserError(f"{shown_path(path)}: no file can have this name") from None
    _check_mode(path, mode)


def _check_mode(path: Path | str, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "not a file")
        raise UserError(f"{shown_path(path)}: {kind}, expected a regular file")


def read_plain(path: Path | str, limit: int, what: str) -> bytes:
    """The bytes of a regular file of at most `limit` bytes; `what` describes it in messages.

    Raises UserError for a longer file and one that is not regular, and OSError.
    """
    with open_plain(path) as file:
        length = os.fstat(file.fileno()).st_size
        if length <= limit:
            parts = []
            while length <= limit and (part := file.read(1 << 24)):
                parts.append(part)
                length = sum(map(len, parts))
            if length <= limit:
                return parts[0] if len(parts) == 1 else b"".join(parts)
    raise UserError(f"{shown_path(path)}: {length:,} bytes, expected at most {limit:,} for {what}")
