"""CuPy has every `xp` function that the code calls, with those arguments. Needs CuPy but no GPU.

The calls are read from the source, so lines that no test runs on a GPU are checked too.
"""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

import minivit

ROOT = Path(minivit.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
UFUNC_KEYWORDS = {"out", "dtype"}


def is_xp(node: ast.expr) -> bool:
    """`xp`, or `get_xp(x)`."""
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id == "get_xp"
    return isinstance(node, ast.Name) and node.id == "xp"


def dotted(node: ast.expr) -> str | None:
    """`xp.linalg.norm` -> "linalg.norm"; None for anything that does not start with `xp`."""
    if not isinstance(node, ast.Attribute):
        return None
    if is_xp(node.value):
        return node.attr
    before = dotted(node.value)
    return f"{before}.{node.attr}" if before else None


def uses(source: str) -> Iterator[tuple[int, str, ast.Call | None]]:
    """(line, name, the call or None) for every attribute of `xp` that is used."""
    tree = ast.parse(source)
    called = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        name = dotted(node)
        if name and name != "__name__":
            yield node.lineno, name, called.get(id(node))


def faults(source: str, file: str = "source.py") -> list[str]:
    """One line for each use that CuPy does not support, even if NumPy does."""
    cupy = pytest.importorskip("cupy")
    found = []
    for line, name, call in uses(source):
        thing = cupy
        for part in name.split("."):
            thing = getattr(thing, part, None)
        if thing is None:
            found.append(f"{file}:{line}: cupy has no {name}")
        elif call is not None and (wrong := fault_of_call(cupy, name, thing, call)):
            found.append(f"{file}:{line}: xp.{name}: {wrong}")
    return found


def fault_of_call(cupy, name: str, function, call: ast.Call) -> str | None:
    keywords = {keyword.arg for keyword in call.keywords} - {None}
    starred = any(isinstance(argument, ast.Starred) for argument in call.args)
    if "where" in keywords:
        return "where= is not CuPy's"
    if name == "einsum":
        return "CuPy knows no keyword" if keywords else None
    if isinstance(function, cupy.ufunc):
        if keywords - UFUNC_KEYWORDS:
            return f"a ufunc of CuPy takes no {keywords - UFUNC_KEYWORDS}"
        return "too many arguments" if len(call.args) > function.nin + function.nout else None
    if type(function).__name__ == "_GUFunc":  # matmul
        return "too many arguments: out= by name" if len(call.args) > function._nin else None
    try:
        signature = inspect.signature(function)
        bind = signature.bind_partial if starred else signature.bind
        arguments = [] if starred else call.args
        bind(*arguments, **dict.fromkeys(keywords))
    except ValueError:  # compiled, without a signature
        return None
    except TypeError as error:
        return str(error)
    return None


@pytest.mark.parametrize("file", FILES, ids=[str(file.relative_to(ROOT)) for file in FILES])
def test_cupy_has_everything_that_the_code_uses(file):
    assert faults(file.read_text(encoding="utf-8"), str(file.relative_to(ROOT.parent))) == []


def test_uses_of_xp_are_found_in_the_code():
    """If `xp` were renamed, the test above would check nothing."""
    names = {name for file in FILES for _, name, _ in uses(file.read_text(encoding="utf-8"))}
    assert {"exp", "tanh", "matmul", "einsum", "concatenate", "float64", "sqrt"} <= names


@pytest.mark.parametrize(
    "line",
    [
        "xp.block(a)",
        "xp.vecdot(a, b)",
        "y = xp.no_such_number",
        "xp.linalg.no_such_function(a)",
        "get_xp(x).errstate(all='ignore')",
        "xp.exp(a, where=mask)",
        "xp.exp(a, b, c)",
        "xp.exp(a, subok=True)",
        "xp.matmul(a, b, out)",
        "xp.einsum('ij->i', a, out=b)",
        "xp.concatenate(a, axis=1, no_such_keyword=b)",
        "get_xp(x).full(3)",
    ],
)
def test_names_that_cupy_lacks_are_found_with_their_line(line):
    (fault,) = faults(f"xp = get_xp(x)\n{line}\n")
    assert fault.startswith("source.py:2: ")


@pytest.mark.parametrize(
    "line",
    [
        "xp.exp(a, a)",
        "xp.matmul(a, b, out=c)",
        "xp.multiply(a, b, c)",
        "xp.einsum('ij->i', a)",
        "xp.concatenate([a, b], 1)",
        "xp.linalg.norm(a, axis=-1)",
        "xp.full(3, 1.0, x.dtype)",
        "np.vecdot(a, b)",
        "xp.float32",
    ],
)
def test_names_that_cupy_has_pass(line):
    assert faults(line) == []
