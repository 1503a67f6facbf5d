"""Check the words of the prose: python tests/prose.py prints each odd one with its replacement.

It reads docstrings, comments and strings of the Python files, the Markdown of pages and notebooks,
and the comments in the notebooks' code. Lines of Markdown have at most 120 characters.
"""

import ast
import functools
import io
import json
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
FILES = (
    *("*.md", "docs/**/*.md", "benchmarks/**/*.md", "data/*.md", "notebooks/**/*.md"),
    *("minivit/**/*.py", "benchmarks/**/*.py", "notebooks/*.py", "notebooks/**/*.ipynb"),
)
MANY = "a|numbers|images|bytes|bits|steps|seconds|passes"
UNIT = (
    "batch|block|channel|class|core|epoch|head|image|line|patch|pixel|rank|second|step|thread|token"
)
WORDS = {
    r"pictures?": "image",
    r"(hang|hangs|hung|hanging) (on|upon)": "depend on",
    r"(told|tells?) right": "classified correctly, accuracy",
    r"told by the data": "depends on the array type",
    r"mend(s|ed|ing)?": "fix",
    r"standing (in|for)": "in, representing",
    r"speed over it": "speed-up",
    r"trainings": "runs",
    r"anew": "again",
    r"maths": "mathematics",
    r"held against": "compared with",
    r"dealt out": "distributed",
    r"in the place of": "instead of",
    r"looked upon": "treated as",
    r"asks? what it thinks": "evaluate",
    rf"(one|two|three|four|\d+|{MANY}) an? ({UNIT})(?= |$|[,.;:)])": "per",
    r"(images|labels|examples|photographs) a class": "per class",
    r"worker a core": "one worker per core",
    r"colou?rs? of one's own": "your own",
    r"colour(s|ed|ing|less)?": "color",
    r"grey(s|er|scale)?": "gray",
    r"neighbour\w*": "neighbor",
    r"centre(s|d)?": "center",
    r"(normal|standard|regular|optim|initial|random|organ|special|general|summar|visual|recogn)is(e|es|ed|ing|ation|er)":
    "-ize",
    r"behaviour": "behavior",
    r"whilst": "while",
    r"\d+ per ?cent": "%",
}  # fmt: skip
"""Words that are not the field's, as patterns, and what to write instead."""
_VALUE = "a value of a flag or a key of results, kept so that configs of old runs stay readable"
_SCORE = "the name of a score in results"
ALLOWED = {
    ("minivit/commands/study.py", "regularisation"): _VALUE,
    ("minivit/engine/config.py", "colour"): _VALUE,
    ("minivit/engine/config.py", "colours"): _VALUE,
    ("minivit/engine/patch_prediction.py", "colour"): _VALUE,
    ("minivit/engine/patch_prediction.py", "colours"): _VALUE,
    ("minivit/engine/few_shot.py", "neighbours"): _VALUE,
    ("docs/attention.md", "centre"): _SCORE,
    ("notebooks/12_explanation.ipynb", "centre"): _SCORE,
}
"""By (file, words in lower case): the reason why they may be there."""
UNWRAPPED = re.compile(r"\s*(\||#|!?\[|<|```)|.*\]\([^)]{60,}\)|.*https?://\S{60,}")
"""Lines of Markdown that cannot be wrapped: tables, headings, links and tags."""
CODE = re.compile(r"```.*?```|`[^`]*`|\$\$.*?\$\$|\$[^$\n]*\$|\]\([^)]*\)|<[^<>]*>", re.DOTALL)
ODD = re.compile(r"\b(?:" + "|".join(f"(?:{word})" for word in WORDS) + r")\b", re.IGNORECASE)


class Finding(NamedTuple):
    """An odd word, its place, and what to write instead."""

    file: str
    line: int
    found: str
    replacement: str


def check(text: str, file: str = "", line: int = 1) -> list[Finding]:
    """The odd words of a text; code between backticks, formulas and URLs are ignored."""
    text = CODE.sub(lambda code: re.sub(r"[^\n]", "·", code[0]), text)
    return [
        Finding(file, line + text.count("\n", 0, match.start()), " ".join(match[0].split()),
                next(new for word, new in WORDS.items() if re.fullmatch(word, match[0], re.I)))
        for match in ODD.finditer(re.sub(r"\n[ #]*", "\n", text))
    ]  # fmt: skip


def findings() -> list[Finding]:
    """The findings in all files, except for the allowed ones."""
    return [
        finding
        for file, line, text in _all_texts()
        for finding in check(text, file, line)
        if (file, finding.found.lower()) not in ALLOWED
    ]


def unused() -> list[tuple[str, str]]:
    """Allowed exceptions that are no longer needed."""
    found = {
        (f.file, f.found.lower()) for name, n, text in _all_texts() for f in check(text, name, n)
    }
    return [key for key in ALLOWED if key not in found]


def long_lines() -> list[Finding]:
    """Lines of Markdown pages that are too long."""
    found = []
    for path in _paths():
        if path.suffix == ".md" and "results" not in path.parts:
            fenced = False
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                fenced ^= line.startswith("```")
                if len(line) > 120 and not fenced and not UNWRAPPED.match(line):
                    found.append(Finding(_name(path), number, line[:40], "at most 120 characters"))
    return found


def _paths() -> list[Path]:
    return sorted({path for pattern in FILES for path in ROOT.glob(pattern) if path.is_file()})


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@functools.cache
def _all_texts() -> list[tuple[str, int, str]]:
    return list(_texts())


def _texts() -> Iterator[tuple[str, int, str]]:
    for path in _paths():
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".md":
            yield _name(path), 1, text
        elif path.suffix == ".py":
            yield from ((_name(path), line, found) for line, found in _of_python(text))
        else:
            for cell in json.loads(text)["cells"]:
                source = "".join(cell["source"])
                if cell["cell_type"] == "markdown":
                    yield _name(path), 1, source
                else:
                    yield from ((_name(path), line, found) for line, found in _of_python(source))


def _of_python(source: str) -> Iterator[tuple[int, str]]:
    """Comments, docstrings and strings with spaces."""
    try:
        tree = ast.parse(source)
    except SyntaxError:  # a cell with a magic
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


if __name__ == "__main__":
    odd = findings() + long_lines()
    for finding in odd:
        print(f"{finding.file}:{finding.line}: {finding.found!r}: {finding.replacement}")
    sys.exit(bool(odd))
