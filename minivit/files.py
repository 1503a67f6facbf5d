"""Files: written so that a crash leaves the old content or all of the new, and read as JSON."""

import contextlib
import glob
import json
import os
import time
from pathlib import Path
from typing import Any

from minivit.errors import UserError

ABANDONED = 3600.0
"""Seconds after which an unfinished file is taken to be that of a writer that was killed."""


def write_atomically(path: Path, content: bytes) -> None:
    """Give `path` the new content: written beside it, flushed to the disk, renamed over it.

    What killed writers of the same file left beside it is removed.

    Raises:
        OSError: it could not be written (a full disk, say); `path` is as it was. The error's
            filename is always set.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(beside, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
        _flush_folder(path.parent)
        remove_parts(path.parent, path.name, ABANDONED)
    except BaseException as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        if isinstance(error, OSError) and error.filename is None:  # write and fsync name no file
            error.filename = str(path)
        raise


def remove_parts(folder: Path, name: str | None = None, older_than: float = 0.0) -> None:
    """Remove the unfinished files of writers that were killed.

    Args:
        name: of the file that they wrote; None for any. older_than: seconds; those that are
            younger may belong to a writer at work.
    """
    for part in folder.glob(f".{glob.escape(name) if name else '*'}.*.part"):
        with contextlib.suppress(OSError):  # another process was faster
            if time.time() - part.stat().st_mtime >= older_than:
                part.unlink()


def _flush_folder(folder: Path) -> None:
    """Make a rename last through a power cut, where the system can."""
    with contextlib.suppress(OSError):  # Windows cannot open a folder
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file of settings, such as a run's config.json.

    Raises:
        UserError: no such file, not JSON, or not an object.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; expected a run's config.json") from None
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: not JSON ({reason}); expected a run's config.json") from None
    if not isinstance(found, dict):
        raise UserError(f"{path}: found a {type(found).__name__}, expected an object of settings")
    return found
