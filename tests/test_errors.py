"""How error messages quote values."""

import urllib.error

import pytest

from minivit.errors import MAX_LENGTH, UserError, shown, shown_path


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("two words", "'two words'"),
        ("3", "'3'"),
        (3, "3"),
        (None, "None"),
        ([1] * 1000, "a list of 1000"),
        ({"a": 1}, "a dict of 1"),
        ("\x1b[31m猫\n", r"'\x1b[31m\u732b\n'"),
        (ValueError("no\x07 header"), r"no\x07 header"),
        (MemoryError(), "MemoryError"),
        (ConnectionRefusedError(111, "Connection refused"), "Connection refused"),
        (urllib.error.URLError("odd"), "<urlopen error odd>"),
    ],
)
def test_values_are_quoted_by_their_type(value, text):
    assert shown(value) == text


def test_long_values_are_quoted_shortened():
    assert shown("x" * 10_000) == "'" + "x" * 79 + "..."
    assert shown(10**100, 20) == "1" + "0" * 19 + "..."
    assert len(shown(ValueError("猫" * 1000), 200)) == 203


def test_a_path_keeps_its_script_and_stays_on_one_line():
    assert shown_path("fotos/猫 é\n\x1b.png") == r"fotos/猫 é\n\x1b.png"


def test_a_message_is_always_one_line():
    assert str(UserError("--label \x1b[2J: one of 猫, é\n")) == r"--label \x1b[2J: one of 猫, é\n"
    assert str(UserError("x" * MAX_LENGTH)) == "x" * MAX_LENGTH
    long = str(UserError(f"{'x' * 10_000}: no such file; name another"))
    assert len(long) == MAX_LENGTH - 1
    assert long.startswith("xxx")
    assert "x ... x" in long
    assert long.endswith("x: no such file; name another")
