"""Every command line that the pages, notebooks, docstrings and messages show, as a reader finds it.

A fenced block of a page holds commands, one per line, unless it names its language; in a notebook,
which also uses them for diagrams, only if its first line is a command. Elsewhere, a command is a
span between backticks that starts like one or, in strings of the code, `minivit COMMAND` with the
flags and placeholders after it.
"""

import ast
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from minivit.commands import COMMANDS

ROOT = Path(__file__).parents[1]
PAGES = ("*.md", "docs/*.md", "benchmarks/**/*.md", "data/*.md", "notebooks/*.md")
BEGINNINGS = (
    *("minivit", "python", "python3", "make", "pytest", "pip", "git", "jupyter", "."),
    *("compute-sanitizer", "mpiexec", "!git", "!pip"),
)
"""First words of a command line."""
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")
BARE = re.compile(
    rf"(?:minivit (?:{'|'.join(COMMANDS)})\b|python -m (?:minivit|benchmarks)\b[\w.]*\w)"
    r"(?: (?:--[a-z][a-z-]*|[A-Z]{3,}…?)(?![\w-]))*"
)


class Line(NamedTuple):
    """text: the command without its comment. file: that shows it."""

    text: str
    file: str

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text)


def commands() -> list[Line]:
    """All command lines, each once per file."""
    return list(dict.fromkeys(line for file, text in _texts() for line in _of(text, file)))


def flags() -> list[Line]:
    """Spans that are only a flag, such as `--dry-run`, each once per file."""
    found = []
    for file, text in _texts():
        for span in SPAN.findall(FENCE.sub("", text)):
            if re.match(r"--[a-z]", span):
                found.append(Line(" ".join(span.split()), file))
    return list(dict.fromkeys(found))


def python_blocks(page: str) -> list[str]:
    """The fenced Python blocks of a page."""
    return [
        text
        for kind, text in FENCE.findall((ROOT / page).read_text(encoding="utf-8"))
        if kind == "python"
    ]


def _of(text: str, file: str) -> Iterator[Line]:
    for kind, block in FENCE.findall(text):
        lines = [line for line in block.splitlines() if line.strip()]
        if kind in ("", "bash", "sh") and (file.endswith(".md") or _is_command(lines[0])):
            yield from (Line(re.split(r"\s+#", line)[0].strip(), file) for line in lines)
    text = FENCE.sub("", text)
    for span in SPAN.findall(text):
        command = " ".join(span.split())
        if _is_command(command) and " " in command:
            yield Line(command, file)
    if file.endswith(".py"):
        bare = " ".join(SPAN.sub("", text).split())
        yield from (Line(found, file) for found in BARE.findall(bare))


def _is_command(text: str) -> bool:
    return text.split()[0] in BEGINNINGS if text.strip() else False


def _texts() -> Iterator[tuple[str, str]]:
    """(file, the text in it that people read)."""
    heading = [
        line
        for line in (ROOT / "Makefile").read_text(encoding="utf-8").splitlines()
        if line[:7] == "# make "
    ]
    yield "Makefile", "\n".join(f"`{re.split('  +', line[2:])[0]}`" for line in heading)
    for pattern in PAGES:
        for path in sorted(ROOT.glob(pattern)):
            yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")
    for path in sorted(ROOT.glob("notebooks/**/*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "markdown":
                yield str(path.relative_to(ROOT)), "".join(cell["source"])
    for folder in ("minivit", "benchmarks"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for text in _strings(ast.parse(path.read_text(encoding="utf-8"))):
                yield str(path.relative_to(ROOT)), text


def _strings(tree: ast.AST) -> Iterator[str]:
    """Docstrings, help texts and messages; a value inserted into a message is taken to be a run
    directory."""
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)
              for part in ast.walk(node) if part is not node}  # fmt: skip
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = (
                part.value if isinstance(part, ast.Constant) else "RUN" for part in node.values
            )
            yield "".join(map(str, parts))
        elif isinstance(getattr(node, "value", None), str) and id(node) not in inside:
            yield node.value
