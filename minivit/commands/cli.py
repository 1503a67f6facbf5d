"""What all commands share: flags from a dataclass, and one-line messages for the user's
mistakes.
"""

import contextlib
import errno
import inspect
import io
import os
import re
import shutil
import sys
import textwrap
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import tyro
import tyro._docstrings

from minivit.commands.output import replace_unencodable
from minivit.engine.distributed import end_all, only_main_prints, should_report
from minivit.engine.launch import find_launch
from minivit.errors import UserError, one_line, printable, shown_path
from minivit.files import WriteError

CONFIG = (tyro.conf.OmitArgPrefixes,)
CLOSED_PIPE = {errno.EPIPE, errno.EINVAL} if sys.platform == "win32" else {errno.EPIPE}
"""Error codes for a pipe that nobody reads anymore; on Windows also "invalid argument"."""


def _as_paragraphs(read: Callable[[object], dict[str, str]]) -> Callable[[object], dict[str, str]]:
    """A reader of fields' docstrings that joins the lines of each paragraph."""

    def joined(cls: object) -> dict[str, str]:
        texts = ((name, inspect.cleandoc(text)) for name, text in read(cls).items())
        return {name: re.sub(r"(?<!\n)\n(?!\n)", " ", text) for name, text in texts}

    return joined


# tyro (to 1.0.17) joins lines before it removes their indentation, so its help breaks sentences,
# and joins those of descriptions that are wrapped
_docstrings: Any = tyro._docstrings
_docstrings._strings.remove_single_line_breaks = str.rstrip
_docstrings.parse_docstring_from_object = _as_paragraphs(_docstrings.parse_docstring_from_object)


def run_command(main: Callable[[Any], int], options: type, prog: str) -> int:
    """A whole program: parse its flags into the dataclass `options`, and call `main` with it."""
    return guarded(lambda: main(parse(options, sys.argv[1:], prog)))


def parse(options: type, args: Iterable[str], prog: str, default: Any = None) -> Any:
    """An instance of the dataclass `options` from flags; on a wrong flag, exits with status 2.

    default: an instance with the values of flags that are not given; None for the class's defaults.
    """
    return _parse(options, args, prog, **({} if default is None else {"default": default}))


def parse_some(options: type, args: Iterable[str], prog: str) -> Any:
    """As `parse`, but flags that the dataclass `options` does not have are ignored.

    For flags that determine the defaults of the others.
    """
    words = [word for word in args if word not in ("-h", "--help")]  # handled by `parse`
    known, _ = _parse(options, words, prog, return_unknown_args=True)
    return known


def _parse(options: type, args: Iterable[str], prog: str, **kwargs: Any) -> Any:
    words, printed = list(args), io.StringIO()
    if words and words[0].replace("_", "-").startswith("--tyro-"):
        # tyro's own flags, which can overwrite any file
        raise UserError(f"{words[0]} is not a flag; {prog} --help lists them")
    try:
        with contextlib.redirect_stderr(printed):
            return tyro.cli(
                options,
                args=words,
                prog=prog,
                description=_description(options),
                config=CONFIG,
                **kwargs,
            )
    except SystemExit as stop:
        user_error = _find_user_error(stop)
        if user_error is not None:  # a value that a config rejects: one line, not tyro's box
            raise user_error from None
        if stop.code:
            if should_report():
                lines = printed.getvalue().split("\n")[:-1]
                sys.stderr.writelines(f"{printable(line)}\n" for line in lines)
            end_all(2)
        raise


def _description(options: type) -> str:
    """The docstring of `options`, wrapped; tyro wraps only the descriptions of flags."""
    width = shutil.get_terminal_size().columns
    paragraphs = inspect.cleandoc(options.__doc__ or "").split("\n\n")
    return "\n\n".join(
        textwrap.fill(paragraph, width, break_on_hyphens=False) for paragraph in paragraphs
    )


def _find_user_error(error: BaseException | None) -> UserError | None:
    """The UserError behind an exception, if there is one."""
    while error is not None and not isinstance(error, UserError):
        error = error.__context__
    return error


def require_ending(name: str, path: Path, ending: str, others: str = "") -> None:
    """Raises UserError unless the output path has this ending. A path with another ending may
    be an image, substituted by a shell for a `*`, which would be overwritten.

    name: the path as shown in the message, with its flag. others: what else may be written.
    """
    if path.suffix.lower() != ending:
        raise UserError(f"{name}: expected a name that ends in {ending}{others}")


def guarded(command: Callable[[], int]) -> int:
    """Run a command; a mistake that the user can fix is reported in one line, without a traceback.
    If the command fails, the other ranks end, too.
    """
    replace_unencodable()
    try:
        with warnings.catch_warnings(), only_main_prints():
            warnings.showwarning = _one_line_warning
            return command()
    except UserError as error:
        return _fail(str(error))
    except OSError as error:
        if not _is_closed_pipe(error):
            return _fail(_in_words(error))
        _discard_output()
        end_all(0)
        return 0
    except MemoryError as error:
        reason = " ".join(str(error).split()) or "out of memory"
        return _fail(f"{reason}; choose smaller sizes, or close other programs")
    except KeyboardInterrupt:
        if should_report():
            print("interrupted", file=sys.stderr)
        end_all(130)
        return 130
    except Exception:
        if find_launch().size > 1:  # a bug: the other ranks must not wait
            traceback.print_exc()
            end_all(1)
        raise


@contextlib.contextmanager
def tolerate_closed_output() -> Iterator[None]:
    """For work that continues after the reader of its output has exited, as with `| head`: what is
    printed from then on is discarded.
    """
    with contextlib.redirect_stdout(_TolerantStream(sys.stdout)):
        yield


class _TolerantStream:
    """A wrapper of a stream that survives the end of its reader."""

    def __init__(self, stream: Any):
        self.stream = stream

    def write(self, text: str) -> int:
        try:
            return self.stream.write(text)
        except OSError as error:
            _discard_if_closed(error)
            return len(text)

    def flush(self) -> None:
        try:
            self.stream.flush()
        except OSError as error:
            _discard_if_closed(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def _is_closed_pipe(error: OSError) -> bool:
    """Whether the reader of our output, such as `head`, has exited."""
    return error.errno in CLOSED_PIPE and error.filename is None


def _discard_if_closed(error: OSError) -> None:
    """Continue without a reader; raise any other error."""
    if not _is_closed_pipe(error):
        raise error
    _discard_output()


def _discard_output() -> None:
    """Discard standard output; what Python has buffered would fail again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _one_line_warning(message: Any, *_: Any, file: Any = None, **__: Any) -> None:
    print(f"warning: {one_line(str(message))}", file=file or sys.stderr)


def _fail(message: str) -> int:
    if should_report():
        print(f"error: {one_line(message)}", file=sys.stderr)
    end_all(2)
    return 2


def _in_words(error: OSError) -> str:
    prefix = f"{shown_path(error.filename)}: " if error.filename else ""
    advice = ""
    if error.errno == errno.ENOSPC:
        advice = "; free some space and run the same command again"
    elif isinstance(error, WriteError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        advice = "; choose another place, or make this one writable"
    return f"{prefix}{error.strerror or os.strerror(error.errno or 0)}{advice}"
