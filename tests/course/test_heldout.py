"""The grader on held-out answers, which were not used to write its registry; the two are kept
separate.

`python tests/course/measure_heldout.py` prints the grader's message for each misidentified answer.
"""

import ast
from collections import Counter
from pathlib import Path

import pytest
from course.measure_heldout import ANSWERS, judge
from threadpoolctl import threadpool_limits

import minivit.course

HERE = Path(__file__).parent / "heldout"
REGISTRY = Path(minivit.course.__file__).parent / "exercises"


@pytest.fixture(scope="module")
def counts():
    """How many answers were right, refused, accepted, named, miscalled, vague. Only every fourth is
    tried, as all would take most of a minute; `measure_heldout.py` tries them all."""
    with threadpool_limits(1):  # the arrays are too small for a second thread to help
        return Counter(judge(answer)[0] for answer in ANSWERS[::4])


def test_the_grader_on_the_heldout_answers(counts):
    wrong = counts["named"] + counts["vague"] + counts["miscalled"] + counts["accepted"]
    assert wrong > 150
    assert counts["refused"] == 0
    assert counts["accepted"] == 0
    assert counts["miscalled"] < 0.01 * wrong
    assert counts["named"] >= 0.8 * wrong


def functions_passed_to(call: str, folder: Path) -> dict[tuple[str, str], str]:
    """The functions passed to `wrong` or `Mistake` in a folder's files, by exercise and code; the
    exercise is "" if the call does not name it."""
    found = {}
    for path in sorted(folder.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        defined = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
        about: dict[int, list[str]] = {}
        for outer in ast.walk(tree):
            for node in ast.walk(outer) if exercises_of(outer) else ():
                about.setdefault(id(node), []).extend(exercises_of(outer))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == call:
                for part in (part for argument in node.args for part in ast.walk(argument)):
                    function = defined.get(getattr(part, "id", ""), part)
                    if isinstance(function, ast.FunctionDef | ast.Lambda):
                        for name in about.get(id(node), [""]):
                            found[name, normalized(function)] = f"{path.name}:{node.lineno}"
    return found


def exercises_of(node: ast.AST) -> list[str]:
    """The exercises that a call, or a loop over their names, is about."""
    match node:
        case ast.Call(func=ast.Name(id="wrong"), args=[ast.Constant(value=name), *_]):
            return [name]
        case ast.Call(func=ast.Name(id="Exercise"), keywords=keywords):
            names = [k.value for k in keywords if k.arg == "name"]
        case ast.For(iter=ast.Tuple(elts=names)):
            pass
        case _:
            return []
    return [name.value for name in names if isinstance(name, ast.Constant)]


def normalized(function: ast.FunctionDef | ast.Lambda) -> str:
    """A function's body, with names replaced by numbers in order of appearance."""
    body = function.body if isinstance(function.body, list) else [function.body]
    names: dict[str, str] = {}
    parts = []
    for part in ast.walk(ast.Module(body, [])):
        match part:
            case ast.Name(id=name):
                parts.append(names.setdefault(name, f"n{len(names)}"))
            case ast.Constant(value=value):
                parts.append(repr(value))
            case ast.Attribute(attr=name):
                parts.append(name)
            case _:
                parts.append(type(part).__name__)
    return " ".join(parts)


def test_no_heldout_answer_is_also_in_the_registry():
    registry, heldout = functions_passed_to("Mistake", REGISTRY), functions_passed_to("wrong", HERE)
    assert len(registry) > 200 < len(heldout)
    duplicates = []
    for (name, code), location in heldout.items():
        for key in ((name, code), ("", code)):
            if key in registry:
                duplicates.append(f"{location} is {registry[key]}")
    assert not duplicates, "\n".join(duplicates)


def test_registry_and_heldout_answers_do_not_import_each_other():
    for path in HERE.glob("*.py"):
        assert "minivit.course" not in path.read_text(encoding="utf-8").replace(
            "`minivit/course/exercises`", ""
        )
    for path in REGISTRY.rglob("*.py"):
        assert "heldout" not in path.read_text(encoding="utf-8")
