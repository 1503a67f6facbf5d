"""Writing reStructuredText, as lists of lines."""

import re
from collections.abc import Iterable


def title(text: str, line: str = "=") -> list[str]:
    return [text, line * len(text), ""]


def table(rows: Iterable[tuple[str, str]]) -> list[str]:
    lines = [".. list-table::", "   :widths: 25 75", ""]
    for name, text in rows:
        lines += [f"   * - {name}", f"     - {text}"]
    return [*lines, ""]


def escaped(text: str) -> str:
    """Plain text as reStructuredText: text between backticks and flags become code."""
    return re.sub(
        r"`([^`]+)`|(?<!\w)(--[a-z][a-z-]*)|[*_|\\]",
        lambda found: f"``{found[1] or found[2]}``" if found[1] or found[2] else f"\\{found[0]}",
        text,
    )
