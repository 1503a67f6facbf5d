"""What goes wrong through no fault of the program."""


class UserError(ValueError):
    """A mistake that its maker can mend.

    The message is one line: the thing, what was found, what was expected, what to do. A command
    prints it and exits with 2; a library caller can catch it as a `ValueError`.
    """
