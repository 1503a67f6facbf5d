"""What goes wrong through no fault of the program."""

import shlex
from pathlib import Path


class UserError(ValueError):
    """A mistake that its maker can fix.

    The message is one line: the thing, what was found, what was expected, what to do. A command
    prints it and exits with 2; a library caller can catch it as a `ValueError`.
    """


def pasteable(path: Path) -> str:
    """A path as a command in an advice has it, quoted where a shell needs it."""
    return shlex.quote(str(path))
