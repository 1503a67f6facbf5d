"""Mutation testing: change the code in one place, and see whether a test fails.

    make mutants ARGS="minivit/functional/layernorm.py [--whole] [--list] [--only TEXT]"
    make mutants ARGS="--sample 20 [--seed 1]"

The changes are mutmut's: an operator for another, a number one higher, an argument left out, a
condition turned round; here also a number one lower. Each mutant is written into a copy of the
repository and tested in a process forked from one that has imported the libraries. First come the
tests of the file, then those of its package, and with --whole the entire suite. A mutant that lives
is printed, and the exit status is 1, unless mutants.toml lists it with the reason why it changes no
result.
"""

import argparse
import ast
import difflib
import importlib.util
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}

import libcst as cst
import pytest
from libcst import matchers
from libcst.metadata import MetadataWrapper, ParentNodeProvider, PositionProvider
from mutmut.mutation import mutators

ROOT = Path(__file__).resolve().parents[1]
ALLOWED = ROOT / "tests" / "mutants.toml"
COPIED = ("minivit", "tests", "benchmarks", "notebooks", "docs", "README.md", "pyproject.toml")
SOURCES = (
    *("functional", "optim", "layers", "models", "gradcheck"),
    *("data/augment.py", "data/mix.py", "data/rand_augment.py", "data/batches.py"),
    "engine/checkpoint.py",
)
NOT_MUTATED = (cst.Annotation, cst.Raise, cst.Assert, cst.Import, cst.ImportFrom, cst.Decorator)
TOO_PLAIN = (mutators.operator_string, mutators.operator_assignment, mutators.operator_arg_removal)
"""Mutators left out: messages, and what any test sees, such as `x = None`."""
PRELOADED = ("numpy", "hypothesis", "hypothesis.internal.conjecture.engine", "torch")
"""Libraries that the tests import, where they are there."""
THE_LAST = matchers.UnaryOperation(matchers.Minus(), matchers.Integer("1"))
"""-1, the last axis or the size that is left over; +1 instead is enough."""
STRICT = matchers.Arg(keyword=matchers.Name("strict"))
"""A check of lengths that are the same."""
GIGABYTES = 8


class Mutant(NamedTuple):
    """line: where. change: "function: before → after", which names it in mutants.toml."""

    line: int
    change: str
    code: str


def one_less(node: cst.Integer) -> Iterator[cst.BaseExpression]:
    yield cst.parse_expression(str(node.evaluated_value - 1) if node.evaluated_value else "(-1)")


def argument_left_out(node: cst.Call) -> Iterator[cst.Call]:
    if len(node.args) > 1:
        for i in range(len(node.args)):
            if matchers.matches(node.args[i], STRICT):
                continue
            yield node.with_changes(args=[*node.args[:i], *node.args[i + 1 :]])


MUTATORS = [
    *((kind, mutate) for kind, mutate in mutators.mutation_operators if mutate not in TOO_PLAIN),
    (cst.Integer, one_less),
    (cst.Call, argument_left_out),
]


class Collector(cst.CSTVisitor):
    """Finds every (node, its replacement, its function, its line)."""

    METADATA_DEPENDENCIES = (PositionProvider, ParentNodeProvider)

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[cst.CSTNode, cst.CSTNode, str, int]] = []
        self.scope: list[str] = []

    def on_visit(self, node: cst.CSTNode) -> bool:
        if isinstance(node, NOT_MUTATED):
            return False
        if isinstance(node, cst.FunctionDef | cst.ClassDef):
            self.scope.append(node.name.value)
        for kind, mutate in MUTATORS:
            if isinstance(node, kind):
                line = self.get_metadata(PositionProvider, self._positioned(node)).start.line
                scope = ".".join(self.scope)
                self.found += [(node, new, scope, line) for new in mutate(node)]
        return not matchers.matches(node, THE_LAST | STRICT)

    def on_leave(self, original_node: cst.CSTNode) -> None:
        if isinstance(original_node, cst.FunctionDef | cst.ClassDef):
            self.scope.pop()

    def _positioned(self, node: cst.CSTNode) -> cst.CSTNode:
        while self.get_metadata(PositionProvider, node, None) is None:
            node = self.get_metadata(ParentNodeProvider, node)
        return node


def mutants_of(source: str) -> list[Mutant]:
    wrapper = MetadataWrapper(cst.parse_module(source))
    collector = Collector()
    wrapper.visit(collector)
    mutants, codes, seen = [], {source}, Counter()
    for node, new, scope, line in collector.found:
        code = wrapper.module.deep_replace(node, new).code
        if code in codes or not _compiles(code):
            continue
        codes.add(code)
        change = f"{scope}: {_difference(source, code)}"
        seen[change] += 1
        if seen[change] > 1:
            change += f" #{seen[change]}"
        mutants.append(Mutant(line, change, code))
    return mutants


def _compiles(code: str) -> bool:
    try:
        ast.parse(code)
    except SyntaxError:
        return False
    return True


def _difference(before: str, after: str) -> str:
    """The lines that differ, as "before → after"."""
    removed, added = [], []
    for line in difflib.ndiff(before.splitlines(), after.splitlines()):
        if line[:2] in ("- ", "+ "):
            (removed if line[0] == "-" else added).append(line[2:].strip())
    return " → ".join(" ".join(lines) for lines in (removed, added))


def tests_of(path: str) -> list[list[str]]:
    """The tests of a source file in two groups: its own, and those of its package."""
    package, stem = Path(path).parent.name, Path(path).stem
    folder = Path("tests", package)
    if not folder.is_dir():
        return [[f"tests/test_{package}.py"]]
    tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    names = [n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    named = re.compile(rf"\b({'|'.join(['never', *names])})\b")
    files = sorted(folder.glob("test_*.py"))
    own = [
        f for f in files if f.stem == f"test_{stem}" or named.search(f.read_text(encoding="utf-8"))
    ]
    own.sort(key=lambda f: (f.stem != f"test_{stem}", f.stat().st_size))
    rest = [f for f in files if f not in own]
    groups = [[str(f) for f in group] for group in (own, rest)]
    if package in ("functional", "layers"):
        groups[1].append("tests/test_gradcheck.py")
    return [group for group in groups if group]


def run_tests(tests: list[str], limit: float, keep_compiled: bool) -> tuple[str, float]:
    """pytest on the copy in a process of its own: "passed", "failed" or "timeout"; seconds."""
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        os.setsid()
        sys.dont_write_bytecode = not keep_compiled
        resource.setrlimit(resource.RLIMIT_DATA, (GIGABYTES * 2**30,) * 2)
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        options = ["-x", "-p", "no:cacheprovider", "--hypothesis-profile=mutants"]
        os._exit(int(pytest.main([*options, *tests])))
    while time.monotonic() < start + limit:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            result = "passed" if status == 0 else "failed"
            return result, time.monotonic() - start
        time.sleep(0.01)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "timeout", limit


def try_mutants(path: str, mutants: list[Mutant], groups: list[list[str]]) -> Iterator[Mutant]:
    """Yields the mutants that no test kills."""
    limits = []
    for group in groups:
        result, seconds = run_tests(group, 3600, keep_compiled=True)
        if result != "passed":
            raise SystemExit(f"without a mutant, the tests fail: {' '.join(group)}")
        limits.append(5 * seconds + 10)
    original = Path(path).read_text(encoding="utf-8")
    for compiled in Path(path).parent.glob(f"__pycache__/{Path(path).stem}.*"):
        compiled.unlink()
    for mutant in mutants:
        Path(path).write_text(mutant.code, encoding="utf-8")
        jobs = zip(groups, limits, strict=True)
        if all(run_tests(*job, keep_compiled=False)[0] == "passed" for job in jobs):
            yield mutant
    Path(path).write_text(original, encoding="utf-8")


def read_allowed() -> dict[tuple[str, str], str]:
    """(file, change) -> why the change has no effect."""
    groups = (
        tomllib.loads(ALLOWED.read_text(encoding="utf-8"))["equivalent"] if ALLOWED.exists() else []
    )
    return {(g["file"], change): g["why"] for g in groups for change in g["changes"]}


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("files", nargs="*", help="Source files or folders; default: see SOURCES.")
    parser.add_argument("--whole", action="store_true", help="Try survivors on the entire suite.")
    parser.add_argument("--list", action="store_true", help="Only list the mutants.")
    parser.add_argument("--only", default="", help="Only mutants whose change contains this text.")
    parser.add_argument("--sample", type=int, help="Only so many mutants of each file, at random.")
    parser.add_argument("--seed", type=int, default=0, help="Another sample.")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    given = [Path(f) for f in options.files] or [Path("minivit", name) for name in SOURCES]
    files = [f for g in given for f in (sorted(g.rglob("*.py")) if g.is_dir() else [g])]
    allowed, alive = read_allowed(), 0
    for library in filter(importlib.util.find_spec, PRELOADED):
        importlib.import_module(library)
    with tempfile.TemporaryDirectory(prefix="mutants-") as copy:
        for name in COPIED:
            copy_one = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
            copy_one(ROOT / name, Path(copy, name))
        os.chdir(copy)
        os.environ["PYTHONPATH"] = copy
        sys.path.insert(0, copy)
        for path in map(str, files):
            every = mutants_of(Path(path).read_text(encoding="utf-8"))
            stale = {c for f, c in allowed if f == path} - {m.change for m in every}
            for change in sorted(stale):
                print(f"{path}: no such mutant, take it out of {ALLOWED.name}: {change}")
            mutants = [m for m in every if (path, m.change) not in allowed]
            mutants = [m for m in mutants if options.only in m.change]
            if options.sample is not None and options.sample < len(mutants):
                mutants = random.Random(options.seed).sample(mutants, options.sample)
                mutants.sort(key=lambda mutant: mutant.line)
            survivors: list[Mutant] = []
            if options.list:
                for mutant in mutants:
                    print(f"{path}:{mutant.line}: {mutant.change}")
            elif mutants:
                groups = [*tests_of(path), *([["tests"]] if options.whole else [])]
                for mutant in try_mutants(path, mutants, groups):
                    survivors.append(mutant)
                    print(f"{path}:{mutant.line}: ALIVE {mutant.change}", flush=True)
            tried = 0 if options.list else len(mutants)
            alive += len(survivors) + len(stale)
            listed = sum((path, m.change) in allowed for m in every)
            print(
                f"{path}: {len(every)} mutants, {listed} without effect, {tried} tried, "
                f"{tried - len(survivors)} killed, {len(survivors)} alive",
                flush=True,
            )
    return int(alive > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
