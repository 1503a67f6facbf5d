"""Errors that are not the program's fault, and how messages quote what was found."""

import shlex
from pathlib import Path

MAX_LENGTH = 1_000


class UserError(ValueError):
    """A mistake that the user can fix.

    The message is one line: the subject, what was found, what was expected, what to do. A command
    prints it and exits with status 2; a library caller can catch it as a `ValueError`. Whatever it
    quotes, it is passed through `one_line`.
    """

    def __init__(self, message: str):
        super().__init__(one_line(message))


def one_line(text: str) -> str:
    """A message as it is printed: with control characters escaped; if long, shortened in the
    middle, where the quotation is.
    """
    line = printable(text)
    if len(line) <= MAX_LENGTH:
        return line
    half = (MAX_LENGTH - 5) // 2
    return f"{line[:half]} ... {line[-half:]}"


def printable(text: str) -> str:
    """Text in any script, with control characters escaped, including line breaks."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def pasteable(path: Path) -> str:
    """A path for a suggested command, quoted if a shell needs it."""
    return shlex.quote(str(path))


def shown_path(path: Path | str) -> str:
    """A path chosen by the user: in any script, on one line, with control characters escaped."""
    return printable(str(path))


def shown(value: object, max_length: int = 80) -> str:
    """Text from a file or a server, made safe to quote: short, on one line, in plain ASCII.

    Strings are quoted, exceptions give their message, collections only their length.
    """
    if isinstance(value, dict | list | tuple):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, int) and value.bit_length() > 1_000:  # Python refuses to format huge ones
        return f"an integer of {value.bit_length():,} bits"
    if isinstance(value, Exception):
        words = getattr(value, "strerror", None) or str(value) or type(value).__name__
        text = ascii(words[:max_length])[1:-1]
    else:
        text = ascii(value[:max_length] if isinstance(value, str) else value)
    return text if len(text) <= max_length else f"{text[:max_length]}..."
