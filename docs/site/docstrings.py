"""Preparing docstrings and signatures for Sphinx."""

import ast
import contextlib
import dataclasses
import inspect
import re
import textwrap
from typing import Annotated, Any, get_args, get_origin

from sphinx.application import Sphinx

from minivit.ranges import Range

FULL_NAMES: dict[Any, str] = {}
"""The full name under which each function and class is documented; it is defined elsewhere."""

RANGES: dict[str, Range] = {}
"""The ranges of the numbers in configs, by full name."""

SECTIONS = {"Args:": "Parameters", "Returns:": "Returns", "Raises:": "Raises", "Yields:": "Yields"}


def setup(app: Sphinx) -> dict:
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("autodoc-process-docstring", on_docstring)
    app.connect("autodoc-process-signature", on_signature)
    return {"parallel_read_safe": True}


def without_ranges(obj: type, full_name: str) -> None:
    """Strip the ranges from the types of a config's fields, and keep them in `RANGES`."""
    for name, kind in inspect.get_annotations(obj).items():
        if get_origin(kind) is Annotated:
            kind, *ranges = get_args(kind)
            obj.__annotations__[name] = kind
            RANGES.update({f"{full_name}.{name}": one for one in ranges if isinstance(one, Range)})


def on_docstring(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Turn Google-style sections into field lists, and add each number's range to its docstring."""
    known = set()
    with contextlib.suppress(ValueError, TypeError):
        known = set(inspect.signature(obj).parameters)
    for i in reversed(range(len(lines))):
        if lines[i] in SECTIONS:
            end = next((j for j in range(i + 1, len(lines)) if not lines[j].strip()), len(lines))
            text = itemized(lines[i + 1 : end], known)
            lines[i:end] = ["", f":{SECTIONS[lines[i]]}:", *(f"    {line}" for line in text)]
    lines[:] = [re.sub(r"(?<!`)`(\.\w+)`", r"``\1``", line) for line in lines]
    if name in RANGES:
        last = max(i for i, line in enumerate(lines) if line)
        lines[last] += f" From {RANGES[name]}."


def itemized(lines: list[str], known: set[str]) -> list[str]:
    """A section as a list with one item per name or names, such as the two of `x: (..., C). gamma,
    beta: (C,).`; a section without names, such as what is returned, stays text."""
    text = textwrap.dedent("\n".join(lines))
    starts = [
        match
        for match in re.finditer(r"(?:^|(?<=\. ))(\w+(?:, \w+)*):\s", text, re.MULTILINE)
        if set(match[1].split(", ")) <= known or match[1].endswith("Error")
    ]
    if not starts:
        return text.splitlines()
    found = []
    for match, after in zip(starts, [*starts[1:], None], strict=True):
        names = ", ".join(f"**{name}**" for name in match[1].split(", "))
        description = text[match.end() : after.start() if after else len(text)].strip()
        found += re.sub(r"\n *", "\n  ", f"* {names} – {description}").splitlines()
    return found


def on_signature(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, found: str, returned: str
) -> tuple[str | None, str | None]:
    """The signature as written in the code (`Array`, not its definition), with linked names."""
    if what not in ("class", "function", "method"):
        return found, returned
    if what == "class" and issubclass(obj, tuple):
        return f"({', '.join(obj._fields)})", None  # its docstring describes them
    if what == "class" and dataclasses.is_dataclass(obj):
        return ("(…)" if found and len(found) > 200 else found), None  # its fields are listed below
    function = inspect.unwrap(obj.__init__ if what == "class" else obj)
    try:
        (node,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    except (OSError, TypeError):
        return found, returned  # built in, or not a function
    if not isinstance(node, ast.FunctionDef):
        return found, returned
    linked = Linked(function.__globals__)
    named = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    for argument in (*named, node.args.vararg, node.args.kwarg):
        if argument is not None and argument.annotation is not None:
            argument.annotation = linked.visit(argument.annotation)
    for kind in (node.args.posonlyargs, node.args.args):
        if kind and kind[0].arg in ("self", "cls"):
            del kind[0]
    returns = ast.unparse(linked.visit(node.returns)) if node.returns else None
    arguments = re.sub(r"(?<=\de)-0", "-", ast.unparse(node.args))  # 1e-6
    return f"({arguments})", None if what == "class" else returns


class Linked(ast.NodeTransformer):
    """Replaces names in an annotation by `~minivit.package.Name`, which Sphinx links."""

    def __init__(self, names: dict[str, Any]):
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.AST:
        obj = self.names.get(node.id)
        full_name = "minivit.backend.Array" if node.id == "Array" else FULL_NAMES.get(obj)
        return ast.parse(f"~{full_name}", mode="eval").body if full_name else node

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        is_literal = isinstance(node.value, ast.Name) and node.value.id == "Literal"
        return node if is_literal else self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if not isinstance(node.value, str):
            return node
        return self.visit(ast.parse(node.value, mode="eval").body)
