"""Files: written so that a crash leaves the old content or all of the new, and read as JSON."""

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from minivit.errors import UserError


def write_atomically(path: Path, content: bytes) -> None:
    """Give `path` the new content: written beside it, flushed to the disk, renamed over it.

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
    except BaseException as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        if isinstance(error, OSError) and error.filename is None:  # write and fsync name no file
            error.filename = str(path)
        raise


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
