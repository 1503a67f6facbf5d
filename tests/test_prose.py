"""The prose uses the field's terms, and the check for them can fail."""

import prose
import pytest


def test_the_prose_uses_the_fields_terms():
    assert prose.findings() == []


def test_lines_of_markdown_have_at_most_120_characters():
    assert prose.long_lines() == []


def test_each_exception_is_needed():
    assert prose.unused() == []


@pytest.mark.parametrize(
    ("text", "found", "replacement"),
    [
        ("A picture of a star.", "picture", "image"),
        ("Its color hangs on\n    # the seed.", "hangs on", "depend on"),
        ("97 of 100 told right.", "told right", "classified correctly, accuracy"),
        ("Ten images a class.", "images a class", "per"),
        ("Mend the file.", "Mend", "fix"),
    ],
)
def test_an_odd_word_is_found(text, found, replacement):
    (finding,) = prose.check(text)
    assert (finding.found, finding.replacement) == (found, replacement)


def test_code_and_names_are_not_read():
    assert prose.check("`pictures` of $a$ class, and recommended [words](docs/pictures.md)") == []
