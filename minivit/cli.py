"""What all commands share: flags from a dataclass, and one line for a user's mistake."""

import contextlib
import errno
import io
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import tyro

from minivit.errors import UserError

CONFIG = (tyro.conf.OmitArgPrefixes,)


def run_command(main: Callable[[Any], int], options: type, prog: str) -> int:
    """Parse the flags of `options`, a dataclass, run `main` with it; returns the exit status.

    0: done. 1: `main` says so. 2: a user's mistake, told in one line. 130: interrupted.
    """
    return guarded(lambda: main(parse(options, sys.argv[1:], prog)))


def parse(options: type, args: Iterable[str], prog: str) -> Any:
    """An instance of the dataclass `options` from flags; a wrong flag exits with 2."""
    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told):
            return tyro.cli(options, args=list(args), prog=prog, config=CONFIG)
    except SystemExit as stop:
        mistake = _mistake_behind(stop)
        if mistake is not None:  # a value that a config refuses: one line, not tyro's box
            raise mistake from None
        sys.stderr.write(told.getvalue())
        raise


def _mistake_behind(error: BaseException | None) -> UserError | None:
    """The UserError that an exception was raised for, where there is one."""
    while error is not None and not isinstance(error, UserError):
        error = error.__context__
    return error


def read_flags(path: Path) -> dict:
    """The flags in a JSON file. Raises UserError where it is not one."""
    try:
        config = json.loads(path.read_text())
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not JSON ({error}); expected a run's config.json") from None
    if not isinstance(config, dict):
        raise UserError(f"{path}: found a {type(config).__name__}, expected an object of flags")
    return config


def as_flags(config: dict) -> Iterable[str]:
    """{"dim": 64, "augmentation": {"flip": 0.5}} -> --dim 64 --flip 0.5."""
    for name, value in config.items():
        if isinstance(value, dict):
            yield from as_flags(value)
        elif isinstance(value, bool):
            yield f"--{'' if value else 'no-'}{name}".replace("_", "-")
        else:
            yield f"--{name}".replace("_", "-")
            yield from map(str, value if isinstance(value, list | tuple) else [value])


def guarded(command: Callable[[], int]) -> int:
    """Run a command; what its user can mend is told in one line instead of a traceback."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _one_line_warning
            return command()
    except UserError as error:
        return _fail(str(error))
    except BrokenPipeError:  # whoever read our output, `head` for one, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return _fail(_in_words(error))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _one_line_warning(message, category, filename, lineno, file=None, line=None) -> None:
    print(f"warning: {message}", file=file or sys.stderr)


def _fail(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2


def _in_words(error: OSError) -> str:
    place = f"{error.filename}: " if error.filename else ""
    advice = {
        errno.ENOSPC: "; free some space and run the same command again",
        errno.EACCES: "; choose another place, or make this one writable",
    }.get(error.errno, "")
    return f"{place}{error.strerror or os.strerror(error.errno or 0)}{advice}"
