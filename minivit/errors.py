"""What goes wrong through no fault of the program, and how its messages quote what they found."""

import shlex
from pathlib import Path

LONGEST = 1_000


class UserError(ValueError):
    """A mistake that its maker can fix.

    The message is one line: the thing, what was found, what was expected, what to do. A command
    prints it and exits with 2; a library caller can catch it as a `ValueError`. Whatever it quotes,
    it is `one_line`.
    """

    def __init__(self, message: str):
        super().__init__(one_line(message))


def one_line(text: str) -> str:
    """A message as it is printed: control characters escaped, and of a long one both ends, since
    its middle is what it quotes."""
    line = printable(text)
    if len(line) <= LONGEST:
        return line
    half = (LONGEST - 5) // 2
    return f"{line[:half]} ... {line[-half:]}"


def printable(text: str) -> str:
    """Text in any script, control characters escaped, line ends among them."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def pasteable(path: Path) -> str:
    """A path as a command in an advice has it, quoted where a shell needs it."""
    return shlex.quote(str(path))


def shown_path(path: Path | str) -> str:
    """A path that the user chose: in any script, but in one line, control characters escaped."""
    return printable(str(path))


def shown(value: object, longest: int = 80) -> str:
    """What a file or a server chose, as a message quotes it: short, in one line, in plain ASCII.

    A string is in quotes, an exception gives its words, of a collection only the length is shown.
    """
    if isinstance(value, dict | list | tuple):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, int) and value.bit_length() > 1_000:  # Python refuses to write huge ones
        return f"an integer of {value.bit_length():,} bits"
    if isinstance(value, Exception):
        words = getattr(value, "strerror", None) or str(value) or type(value).__name__
        text = ascii(words[:longest])[1:-1]
    else:
        text = ascii(value[:longest] if isinstance(value, str) else value)
    return text if len(text) <= longest else f"{text[:longest]}..."
