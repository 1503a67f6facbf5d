"""Whether lines pasted from a chapter pass as an answer.

The lines are run with the exercise's arguments as variables, and with the letters in the stub's
docstring as axis lengths; every array that they produce is compared with the right results. The
functions that the chapter defines or imports are called with the arguments too. A paste passes if
each result equals an array from some line, or part of what some function returns.
"""

import ast
import builtins
import contextlib
import functools
import inspect
import json
import math
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minivit.course.exercise import Exercise
from minivit.course.trial import copied, draw, same, unpacked

FOLDER = Path(__file__).parents[2] / "notebooks"
CHECK = re.compile(r'course\.check\(\s*"(\d\d\.[a-z])"')
SHAPE = re.compile(r"((?:\w+, )*\w+) \(([^)]*)\)")
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?")
LINES = 3000
"""A call is aborted after this many lines: it trains something."""


class TooLongError(Exception):
    """A call executes too many lines."""


@dataclass(frozen=True)
class Chapter:
    """A chapter's code before the exercises.

    lines: top-level statements, compiled: (code, names that it reads, names that it binds, whether
        a loop makes them).
    functions: those that it defines or imports. looping: which of its own functions loop.
    scope: what the lines can use in addition to the arguments.
    stubs: the docstrings of the exercises. shown: what was printed before each exercise.
    """

    lines: list[tuple[Any, set[str], set[str], bool]]
    functions: dict[str, Callable]
    looping: set[str]
    scope: dict[str, Any]
    stubs: dict[str, str]
    shown: dict[str, list[str]]


def read(path: Path) -> Chapter:
    """Read a chapter's notebook."""
    scope: dict[str, Any] = {"np": np, "math": math, "print": lambda *parts, **options: None}
    chapter = Chapter([], {}, set(), scope, {}, {})
    printed: list[str] = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        printed += _outputs(cell) if cell["cell_type"] == "code" else []
        if found := CHECK.search(source) if cell["cell_type"] == "code" else None:
            stub = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef)]
            chapter.stubs[found[1]] = (stub and ast.get_docstring(stub[0])) or ""
            chapter.shown[found[1]] = list(printed)
        elif cell["cell_type"] == "code":
            for statement in ast.parse(source).body:
                _add_statement(chapter, statement)
    return chapter


def _outputs(cell: dict) -> list[str]:
    return [
        "".join(o.get("text", o.get("data", {}).get("text/plain", ""))) for o in cell["outputs"]
    ]


def _add_statement(chapter: Chapter, statement: ast.stmt) -> None:
    code = compile(ast.Module([statement], []), "<chapter>", "exec")
    if isinstance(statement, ast.Import | ast.ImportFrom):
        if "matplotlib" not in ast.unparse(statement):
            before = set(chapter.scope)
            with contextlib.suppress(ModuleNotFoundError):  # IPython, which only displays
                exec(code, chapter.scope)
            new = {name: chapter.scope[name] for name in chapter.scope.keys() - before}
            chapter.functions.update({k: f for k, f in new.items() if inspect.isfunction(f)})
    elif isinstance(statement, ast.FunctionDef):
        with contextlib.suppress(NameError):  # a default that only a training run creates
            exec(code, chapter.scope)
        if statement.name not in chapter.scope:
            return
        chapter.functions[statement.name] = chapter.scope[statement.name]
        if any(isinstance(node, ast.For | ast.comprehension) for node in ast.walk(statement)):
            chapter.looping.add(statement.name)
    elif isinstance(statement, ast.Assign | ast.AugAssign | ast.For):
        names = [n for n in ast.walk(statement) if isinstance(n, ast.Name)]
        reads = {n.id for n in names if isinstance(n.ctx, ast.Load)} - set(dir(builtins))
        binds = {n.id for n in names if isinstance(n.ctx, ast.Store)}
        binds |= {n.value.id for n in ast.walk(statement) if isinstance(n, ast.Subscript)
                  and isinstance(n.ctx, ast.Store) and isinstance(n.value, ast.Name)}  # fmt: skip
        if not isinstance(statement, ast.For) and reads <= {"np", "math"}:
            exec(code, chapter.scope)  # a constant
        loops = isinstance(statement, ast.For) or bool(reads & chapter.looping)
        chapter.lines.append((code, reads - binds, binds, loops))


@functools.cache
def _chapter(path: Path) -> Chapter:
    return read(path)


class _Chapters(dict):
    def __missing__(self, number: str) -> Chapter:
        return _chapter(next(FOLDER.glob(f"{number}_*.ipynb")))


CHAPTERS = _Chapters()


def pasted(chapter: Chapter, exercise: Exercise) -> bool:
    """Whether some line or function of the chapter gives each result, on all arguments."""
    trials = [draw(exercise, size) for size in range(3)]
    trials += [hard.draw(np.random.default_rng(200 + i)) for i, hard in enumerate(exercise.hard)]
    labels: list[set[str]] | None = None
    for arguments in trials:
        right = unpacked(exercise.answer(*copied(arguments)), len(exercise.outputs))
        found: list[set[str]] = [set() for _ in right]
        for label, value in _made(chapter, exercise, arguments):
            for i, expected in enumerate(right):
                if same(value, expected, exercise.rtol):
                    found[i].add(label)
        labels = found if labels is None else [a & b for a, b in zip(labels, found, strict=True)]
        if not all(labels):
            return False
    assert labels is not None
    if exercise.grown is not None:
        labels = [{label for label in g if not _loops(chapter, label)} for g in labels]
    return all(labels)


def _made(chapter: Chapter, exercise: Exercise, arguments: tuple) -> Iterator[tuple[str, Any]]:
    """Every array that the chapter's code computes from the arguments, with where it was found."""
    names = list(inspect.signature(exercise.answer).parameters)
    named_arguments = dict(zip(names, arguments, strict=True))
    letters = _letters(chapter.stubs[exercise.name], named_arguments)
    for name, function in chapter.functions.items():
        for way in ("named", "in order"):
            for path, value in _leaves(_call(function, named_arguments, letters, way)):
                yield f"{name}:{way}:{path}", value
    fixed = letters | named_arguments
    scope, of_arguments = chapter.scope | copied(fixed), set(named_arguments)
    for number, (code, reads, binds, loop) in enumerate(chapter.lines):
        uses_arguments = bool(reads & of_arguments)
        if not reads <= scope.keys() or not (uses_arguments or reads <= {"np", "math", *letters}):
            continue
        if _limited(lambda code=code: exec(code, scope) or True) is None:
            continue
        scope.update(copied(fixed))
        of_arguments |= binds if uses_arguments else set()
        for name in binds - fixed.keys():
            for path, value in _leaves(scope.get(name)):
                yield f"{'loop' if loop else 'line'} {number}:{name}:{path}", value


def _letters(stub: str, named_arguments: dict[str, Any]) -> dict[str, int]:
    """The axis lengths that the docstring names: "x (B, T, C)"."""
    letters = {}
    for names, shape in SHAPE.findall(stub.split("->")[0]):
        for name in names.split(", "):
            value = named_arguments.get(name)
            lengths = value if isinstance(value, tuple) else np.shape(value)
            marks = [mark.strip() for mark in shape.split(",") if mark.strip()]
            if len(marks) == len(lengths):
                letters |= {m: n for m, n in zip(marks, lengths, strict=True)
                            if m.isidentifier() and isinstance(n, int)}  # fmt: skip
    return letters


def _call(function: Callable, named_arguments: dict, letters: dict[str, int], way: str) -> Any:
    parameters = inspect.signature(function).parameters.values()
    if way == "in order":
        return _limited(lambda: function(*copied(list(named_arguments.values()))))
    known = letters | named_arguments
    named = {p.name: known[p.name] for p in parameters if p.name in known}
    rest = iter(value for name, value in named_arguments.items() if name not in named)
    for parameter in parameters:
        if parameter.name not in named and parameter.default is parameter.empty:
            named[parameter.name] = next(rest, None)
    return _limited(lambda: function(**copied(named)))


def _limited(run: Callable[[], Any]) -> Any:
    """What `run` returns; None if it fails or runs too long."""
    count = 0

    def trace(frame: Any, event: str, argument: Any) -> Any:
        nonlocal count
        count += 1
        if count > LINES:
            raise TooLongError
        return trace if frame.f_code.co_filename == "<chapter>" else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with np.errstate(all="ignore"):
            return run()
    except Exception:  # pasted lines may not work
        return None
    finally:
        sys.settrace(before)


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The arrays and numbers in nested tuples, lists and dicts, with their paths."""
    if isinstance(value, np.ndarray | np.generic | int | float):
        yield path, value
    elif isinstance(value, tuple | list | dict):
        members = value.items() if isinstance(value, dict) else enumerate(value)
        for key, member in members:
            yield from _leaves(member, f"{path}.{key}")


def _loops(chapter: Chapter, label: str) -> bool:
    """Whether the value with this label comes from a loop."""
    name = label.split(":")[0]
    return name in chapter.looping or name.startswith("loop ")


def printed(chapter: Chapter, exercise: Exercise) -> bool:
    """Whether all numbers of the answer are adjacent in one printed line. A single short number
    does not count, because it is printed in many places."""
    answer = exercise.answer
    if isinstance(answer, str) or (np.ndim(answer) == 0 and len(f"{answer:.6g}") < 5):
        return False
    expected = [float(n) for n in np.atleast_1d(answer)]
    for text in chapter.shown[exercise.name]:
        for line in text.splitlines():
            numbers = [float(n.replace(",", "")) for n in NUMBER.findall(line)]
            for i in range(len(numbers) - len(expected) + 1):
                if np.allclose(numbers[i : i + len(expected)], expected, rtol=1e-3, atol=0):
                    return True
    return False
