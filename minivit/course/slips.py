"""Slips: small changes to the code of a right answer, each with a description.

Most mistakes are small: a missing term, a flipped sign, a sum instead of a mean, the wrong axis.
`slips` derives them from the source of the right answer, so that no exercise has to list them.
"""

import ast
import copy
import functools
import inspect
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

AXES = (-1, 0, 1, -2, None)

OMITTED = {
    "sqrt": "the square root of `{}` is missing",
    "exp": "the exponential of `{}` is missing",
    "log": "the logarithm of `{}` is missing",
    "abs": "the absolute value of `{}` is missing",
    "transpose": "`{}` is not transposed",
    "swapaxes": "`{}` is not transposed",
    "_t": "`{}` is not transposed",
    "clip": "`{}` is not clipped",
}
"""The description of a missing function; `{}` is its argument."""

ALTERNATIVES = {
    "sum": ("mean", "a mean was used instead of the sum `{}`"),
    "mean": ("sum", "a sum was used instead of the mean `{}`"),
    "max": ("min", "a minimum was used instead of the maximum `{}`"),
    "maximum": ("minimum", "a minimum was used instead of the maximum `{}`"),
    "minimum": ("maximum", "a maximum was used instead of the minimum `{}`"),
    "sin": ("cos", "a cosine was used instead of the sine `{}`"),
    "cos": ("sin", "a sine was used instead of the cosine `{}`"),
}


@dataclass(frozen=True)
class Code:
    """A function as a syntax tree that can be modified and run."""

    tree: ast.Module
    function: Callable

    def run(self) -> Callable:
        """The function that this tree defines, with the original function's globals in scope."""
        scope = dict(self.function.__globals__)
        code = compile(ast.fix_missing_locations(self.tree), "<slip>", "exec")
        exec(code, scope)
        return scope[self.function.__name__]

    def replaced(self, node: ast.AST, new: ast.AST) -> "Code":
        """A copy with one node replaced."""
        memo: dict[int, Any] = {}
        tree = copy.deepcopy(self.tree, memo)
        _Replacer(memo[id(node)], new).visit(tree)
        return Code(tree, self.function)


class _Replacer(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST):
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> Any:
        return copy.deepcopy(self.new) if node is self.old else super().visit(node)


@functools.cache
def read(function: Callable) -> Code | None:
    """The parsed source of a function written with `def`; None if it is not available."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return None
    if len(tree.body) != 1 or not isinstance(tree.body[0], ast.FunctionDef):
        return None
    return Code(tree, function) if tree.body[0].name == function.__name__ else None


def slips(code: Code) -> Iterator[tuple[str, Code]]:
    """Each small change, as (description, changed code)."""
    (body,) = code.tree.body
    assert isinstance(body, ast.FunctionDef)
    for statement in body.body:
        for node in ast.walk(statement):
            for words, new in _changes(node):
                yield words, code.replaced(node, new)


def confusions(code: Code) -> Iterator[tuple[str, Code]]:
    """Each use of a variable, replaced by each of the function's other variables."""
    (body,) = code.tree.body
    assert isinstance(body, ast.FunctionDef)
    names = {argument.arg for argument in body.args.args}
    uses = [n for s in body.body for n in ast.walk(s) if isinstance(n, ast.Name)]
    names |= {use.id for use in uses if isinstance(use.ctx, ast.Store)}
    for use in uses:
        if isinstance(use.ctx, ast.Load) and use.id in names:
            for other in sorted(names - {use.id}):
                words = f"`{other}` was used instead of `{use.id}`"
                yield words, code.replaced(use, ast.Name(other, ast.Load()))


def _changes(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node, ast.BinOp):
        yield from _operation_changes(node)
    elif isinstance(node, ast.Call):
        yield from _call_changes(node)
    elif isinstance(node, ast.Attribute) and node.attr == "T":
        yield f"`{_text(node.value)}` is not transposed", node.value
    elif isinstance(node, ast.UnaryOp) and not isinstance(node.operand, ast.Constant):
        yield f"the minus sign before `{_text(node.operand)}` is missing", node.operand


def _operation_changes(node: ast.BinOp) -> Iterator[tuple[str, ast.AST]]:
    left, right, op = node.left, node.right, node.op
    a, b, whole = _text(left), _text(right), _text(node)
    if isinstance(op, ast.Add | ast.Sub):
        minus = isinstance(op, ast.Sub)
        yield f"the term `{b}` is missing in `{whole}`", left
        yield (
            f"the term `{a}` is missing in `{whole}`",
            ast.UnaryOp(ast.USub(), right) if minus else right,
        )
        turned = (
            "added where it should be subtracted"
            if minus
            else "subtracted where it should be added"
        )
        yield (
            f"the sign is wrong: `{b}` is {turned}",
            ast.BinOp(left, ast.Add() if minus else ast.Sub(), right),
        )
        if minus:
            yield f"the sign is wrong: `{whole}` is reversed", ast.BinOp(right, op, left)
    elif isinstance(op, ast.Mult):
        for factor, other in ((right, left), (left, right)):
            yield f"the factor `{_text(factor)}` is missing in `{whole}`", other
            yield (
                f"the factor `{_text(factor)}` appears twice in `{whole}`",
                ast.BinOp(node, op, factor),
            )
            yield (
                f"it is divided by `{_text(factor)}` where it should be multiplied",
                ast.BinOp(other, ast.Div(), factor),
            )
        for ungrouped in _without_parentheses(left, right):
            yield (
                f"the parentheses are missing: `{_text(ungrouped)}` instead of `{whole}`",
                ungrouped,
            )
    elif isinstance(op, ast.Div | ast.FloorDiv):
        yield f"the division by `{b}` is missing", left
        yield (
            f"it is multiplied by `{b}` where it should be divided",
            ast.BinOp(left, ast.Mult(), right),
        )
        yield f"it is divided by `{b}` twice", ast.BinOp(node, op, right)
        yield f"numerator and denominator are swapped in `{whole}`", ast.BinOp(right, op, left)
        for ungrouped in _without_parentheses(left, right, op):
            yield (
                f"the parentheses are missing: `{_text(ungrouped)}` instead of `{whole}`",
                ungrouped,
            )
    elif isinstance(op, ast.MatMult):
        yield f"the factors of `{whole}` are swapped", ast.BinOp(right, op, left)
        for operand in (left, right):
            if (
                not (isinstance(operand, ast.Attribute) and operand.attr == "T")
                and _called(operand) != "_t"
            ):
                yield (
                    f"`{_text(operand)}` is transposed where it should not be",
                    _swapped(node, operand),
                )
    elif isinstance(op, ast.Pow):
        yield f"the power is missing: `{a}` instead of `{whole}`", left


def _without_parentheses(
    left: ast.expr, right: ast.expr, op: ast.operator | None = None
) -> Iterator[ast.expr]:
    """(a + b) * c without the parentheses: a + b * c."""
    op = op or ast.Mult()
    if isinstance(left, ast.BinOp) and isinstance(left.op, ast.Add | ast.Sub):
        yield ast.BinOp(left.left, left.op, ast.BinOp(left.right, op, right))
    if (
        isinstance(op, ast.Mult)
        and isinstance(right, ast.BinOp)
        and isinstance(right.op, ast.Add | ast.Sub)
    ):
        yield ast.BinOp(ast.BinOp(left, op, right.left), right.op, right.right)


def _swapped(node: ast.BinOp, operand: ast.expr) -> ast.BinOp:
    """The product with the last two axes of one operand swapped."""
    transposed = ast.Call(
        ast.Attribute(operand, "swapaxes", ast.Load()), [ast.Constant(-1), ast.Constant(-2)], []
    )
    return ast.BinOp(
        transposed if operand is node.left else node.left,
        node.op,
        transposed if operand is node.right else node.right,
    )


def _called(node: ast.AST) -> str:
    """The last part of the name of the function called."""
    if not isinstance(node, ast.Call):
        return ""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _call_changes(node: ast.Call) -> Iterator[tuple[str, ast.AST]]:
    name, whole = _called(node), _text(node)
    method = isinstance(node.func, ast.Attribute) and not _is_module(node.func.value)
    subject = node.func.value if method else node.args[0] if node.args else None  # type: ignore[attr-defined]
    if subject is None:
        return
    if name in OMITTED:
        yield OMITTED[name].format(_text(subject)), subject
    elif len(node.args) == 1 and not method and not node.keywords and name not in ALTERNATIVES:
        yield f"`{name}` is left out: `{_text(subject)}` instead of `{whole}`", subject
    if name in ("maximum", "minimum"):
        yield f"`{_text(subject)}` is not clipped as in `{whole}`", subject
    if name in ALTERNATIVES:
        alternative, words = ALTERNATIVES[name]
        yield words.format(whole), _renamed(node, alternative)
    if name in ("sum", "mean", "max", "min", "var", "std", "concatenate"):
        yield from _other_axes(node, name, whole)
    if name in ("sum", "mean") and subject is not None:
        yield f"`{whole}` is left out: `{_text(subject)}` was not summed", subject
    if name == "concatenate" and isinstance(node.args[0], ast.List):
        parts = node.args[0].elts
        for i in range(len(parts) - 1):
            order = [*parts[:i], parts[i + 1], parts[i], *parts[i + 2 :]]
            changed = copy.copy(node)
            changed.args = [ast.List(order, ast.Load()), *node.args[1:]]
            yield f"the parts are in a different order than in `{whole}`", changed
    if name in ("var", "std") and not any(k.arg == "ddof" for k in node.keywords):
        changed = copy.copy(node)
        changed.keywords = [*node.keywords, ast.keyword("ddof", ast.Constant(1))]
        yield f"it is divided by n - 1 instead of n (ddof=1) in `{whole}`", changed


def _other_axes(node: ast.Call, name: str, whole: str) -> Iterator[tuple[str, ast.AST]]:
    """The same reduction over other axes; the axis is the last positional argument, as in
    `x.sum(-1)`.
    """
    positions = [i for i, a in enumerate(node.args) if _literal(a) is not ...]
    if not positions:
        return
    current = _literal(node.args[positions[-1]])
    for axis in AXES:
        if axis == current or (axis is None and name == "concatenate"):
            continue
        changed = copy.copy(node)
        changed.args = list(node.args)
        changed.args[positions[-1]] = ast.Constant(axis)
        axes = "all axes" if axis is None else f"axis {axis}"
        yield f"`{whole}` was taken over {axes} instead of axis {current}", changed


def _literal(node: ast.AST) -> Any:
    """The value of a literal integer or tuple; else `...`."""
    try:
        value = ast.literal_eval(node)
    except ValueError:
        return ...
    return value if isinstance(value, int | tuple) else ...


def _renamed(node: ast.Call, name: str) -> ast.Call:
    changed = copy.copy(node)
    if isinstance(node.func, ast.Attribute):
        changed.func = ast.Attribute(node.func.value, name, ast.Load())
    else:
        changed.func = ast.Name(name, ast.Load())
    return changed


def _is_module(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id in ("np", "math")


def _text(node: ast.AST) -> str:
    return ast.unparse(node)
