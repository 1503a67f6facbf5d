"""Replacements for characters that the output's encoding lacks, as is common with pipes on
Windows.
"""

import codecs
import io
import sys
import unicodedata

HANDLER = "minivit.plain"

_PLAIN = {
    "·": "*", "×": "x", "√": "sqrt", "∂": "d", "±": "+-", "½": "1/2", "°": " deg",
    "≤": "<=", "≥": ">=", "≈": "~", "–": "-", "—": "-", "−": "-", "…": "...",
    "↑": "(up)", "↓": "(down)", "✓": "(right)", "✗": "(wrong)", "█": "#",
    "\N{COMBINING CIRCUMFLEX ACCENT}": "^",
}  # fmt: skip


def replace_unencodable() -> None:
    """From now on, replace characters that standard output or error cannot encode: a symbol by
    ASCII, anything else, such as a class name in another script, by its code point.
    """
    codecs.register_error(HANDLER, _replace)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=HANDLER)


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(plain, error.object[error.start : error.end])), error.end


def plain(character: str) -> str:
    """A character in ASCII: × as x, γ as gamma, ² as ^2, 猫 as \\u732b."""
    if character in _PLAIN:
        return _PLAIN[character]
    name = unicodedata.name(character, "")
    if name.startswith("BOX DRAWINGS "):
        _, _, form = name.removeprefix("BOX DRAWINGS ").partition(" ")  # after LIGHT, DOUBLE, …
        return {"HORIZONTAL": "-", "VERTICAL": "|"}.get(form, "+")
    if name.startswith("LATIN ") and " WITH " in name:  # é as e
        return unicodedata.normalize("NFD", character)[0]
    if name.startswith("GREEK ") and " LETTER " in name:
        letter = name.rpartition(" LETTER ")[2].replace("LAMDA", "LAMBDA")
        return letter.capitalize() if "CAPITAL" in name else letter.lower()
    kind, _, code = unicodedata.decomposition(character).partition("> ")
    if kind in ("<super", "<sub"):
        return ("^" if kind == "<super" else "_") + chr(int(code, 16))
    return character.encode("ascii", "backslashreplace").decode("ascii")
