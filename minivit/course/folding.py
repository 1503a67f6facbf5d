"""Decides which cells of a notebook are folded: those in which most lines draw a figure."""

import ast
from typing import Any

FOLDED: dict[str, Any] = {"cellView": "form", "jupyter": {"source_hidden": True}}
"""The metadata of a folded cell: Colab reads the first entry; JupyterLab and tools that follow it
read the second.
"""

MIN_LINES = 6
"""Minimum number of lines; shorter cells are not folded."""


def is_drawing(source: str) -> bool:
    """Whether a code cell is folded: at least half of its lines draw."""
    lines = _Lines()
    for statement in ast.parse(source).body:
        lines.visit(statement)
    return lines.all >= MIN_LINES and 2 * lines.drawing >= lines.all


class _Lines(ast.NodeVisitor):
    """Counts lines of code, and lines that draw: those that use pyplot or objects made with it."""

    def __init__(self) -> None:
        self.names = {"plt", "figure", "axes", "panels"}
        self.all = self.drawing = 0

    def visit(self, node: ast.AST) -> None:
        if not isinstance(node, ast.stmt):
            return
        body = getattr(node, "body", [])
        end = body[0].lineno if body else (node.end_lineno or node.lineno) + 1
        self.all += end - node.lineno
        heads = [part for part in ast.iter_child_nodes(node) if not isinstance(part, ast.stmt)]
        if any(map(self._draws, heads)):
            self.drawing += end - node.lineno
            self._bind(node)
        for part in (*body, *getattr(node, "orelse", [])):
            self.visit(part)

    def _draws(self, node: ast.AST) -> bool:
        names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
        names |= {n.arg for n in ast.walk(node) if isinstance(n, ast.arg)}
        return bool(names & self.names)

    def _bind(self, node: ast.AST) -> None:
        """Add the names that a drawing statement binds: lines that use them later draw, too."""
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        for target in filter(None, targets):
            self.names |= {n.id for n in ast.walk(target) if isinstance(n, ast.Name)}
