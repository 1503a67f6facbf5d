"""The page of all commands and their flags, made from the output of `--help`."""

import contextlib
import io
import os
import re

from rst import escaped, table, title

from minivit.commands import COMMANDS, main


def commands() -> str:
    """The page: the help of every command."""
    lines = [*title("Commands"), "The output of ``minivit COMMAND --help``. A guide to them is"]
    lines += [
        ":doc:`/docs/commands`.",
        "",
        *table((f"`minivit {c}`_", does) for c, does in COMMANDS.items()),
    ]
    for name in COMMANDS:
        lines += ["", *title(f"minivit {name}", "-"), f".. program:: minivit {name}", ""]
        lines += option_list(help_of(name))
    return "\n".join(lines)


def help_of(name: str) -> str:
    """The help of a command, for a terminal of 120 columns: from 130 on, tyro puts groups side by
    side."""
    out, columns = io.StringIO(), os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "120"
    try:
        with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
            main([name, "--help"])
    finally:
        os.environ.pop("COLUMNS")
        if columns is not None:
            os.environ["COLUMNS"] = columns
    return out.getvalue()


def option_list(text: str) -> list[str]:
    """The help that tyro prints, as reStructuredText. It consists of a usage line, paragraphs, and
    for each group of options a ruled heading and the options; the description of an option is next
    to it or, indented, below it."""
    lines = [line.rstrip() for line in text.splitlines() if "--help " not in line]
    found: list[str] = []
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        option = re.fullmatch(r"  (-{1,2}[a-z].*?|\[*[A-Z]{3,}.*?)(?:  +(.*))?", line)
        if line.startswith("usage:"):
            found += [".. code-block:: text", "", f"   {line.removeprefix('usage: ')}", ""]
        elif following.startswith(" ---"):
            if line.strip() != "options":
                found += [f".. rubric:: {line.strip()}", ""]
        elif option:
            found += ["", f".. option:: {option[1]}", ""]
            found += [f"   {escaped(option[2])}"] if option[2] else []
        elif line.startswith(" " * 10):  # the last option's description, or the rest of its name
            found.append(f"   {escaped(line.strip())}")
        elif not line.lstrip().startswith("---"):
            found.append(escaped(line.strip()))
    return found
