"""mutants.toml, which lists changes of the code that make no difference, is about today's code."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def unwrapped(text: str) -> str:
    return " ".join(text.split())


def test_each_listed_mutant_quotes_a_line_of_its_file():
    for listed in tomllib.loads((ROOT / "tests/mutants.toml").read_text(encoding="utf-8"))[
        "equivalent"
    ]:
        code = unwrapped((ROOT / listed["file"]).read_text(encoding="utf-8"))
        for change in listed["changes"]:
            before = change.split(" → ")[0].split(": ", 1)[1]
            assert unwrapped(before) in code, f"{listed['file']}: {before}"
