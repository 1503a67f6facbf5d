"""Mutation testing: change the code in one place, and see whether a test fails.

    make mutants ARGS="minivit/functional/layernorm.py [--whole] [--list] [--only TEXT]"
    make mutants ARGS="--sample 20 [--seed 1]"

The mutations are mutmut's: a different operator, a number one higher, an argument left out, a
negated condition; here also a number one lower. In a copy of the repository, the tests of the file
and of its package (with --whole, the entire suite) are collected once; each mutant's functions then
replace those of the file in a forked process. A mutant that survives, or that is not inside a
function, is written into the file and tested in a fresh process that imports everything again. If
it survives there too, it is printed, and the exit status is 1, unless mutants.toml lists it with
the reason why it changes no result.
"""

import argparse
import ast
import contextlib
import difflib
import functools
import gc
import importlib
import json
import math
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
import types
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, NoReturn

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
    *("functional", "optim", "layers", "models"),
    "gradcheck/check.py",  # not its table of cases: other sizes would serve as well
    *("data/augment.py", "data/mix.py", "data/rand_augment.py", "data/batches.py"),
    "engine/checkpoint.py",
)
COMPILED = Path("minivit", "functional", "compiled")
"""Left out, unless a file of it is named: Numba compiles loops anew for each mutant, which takes
seconds. tests/functional/test_compiled.py holds them to the pairs, and those are mutated."""
NOT_MUTATED = (cst.Annotation, cst.Raise, cst.Assert, cst.Import, cst.ImportFrom, cst.Decorator)
EXCLUDED = (mutators.operator_string, mutators.operator_assignment, mutators.operator_arg_removal)
"""Mutators left out: messages, and what any test sees, such as `x = None`."""
PRELOADED = (
    *("numpy.testing", "hypothesis", "hypothesis.internal.conjecture.engine", "numba"),
    *("torch._dynamo", "timm"),  # the first is imported by every PyTorch optimizer
)
"""Libraries that the tests import, where they are there: else each mutant's process does."""
MINUS_ONE = matchers.UnaryOperation(matchers.Minus(), matchers.Integer("1"))
"""-1, the last axis or the size that is left over; +1 instead is enough."""
STRICT = matchers.Arg(keyword=matchers.Name("strict"))
"""A check of lengths that are the same."""
GIGABYTES = 8
POLL_INTERVAL = 0.01
"""Seconds between two looks at whether a process has ended."""
WAIT_FACTOR = 4
"""A process that waits gets so many times the seconds that it may compute."""
TEST_SECONDS = 60
"""A test that computes for longer is taken to go round for ever."""
DAY = 86_400


class Mutant(NamedTuple):
    """line: its line number. change: "function: before → after", its name in mutants.toml. swaps:
    whether it is inside a function, whose code can be replaced after the import."""

    line: int
    change: str
    code: str
    swaps: bool


def one_less(node: cst.Integer) -> Iterator[cst.BaseExpression]:
    yield cst.parse_expression(str(node.evaluated_value - 1) if node.evaluated_value else "(-1)")


def argument_left_out(node: cst.Call) -> Iterator[cst.Call]:
    if len(node.args) > 1:
        for i in range(len(node.args)):
            if matchers.matches(node.args[i], STRICT):
                continue
            yield node.with_changes(args=[*node.args[:i], *node.args[i + 1 :]])


MUTATORS = [
    *((kind, mutate) for kind, mutate in mutators.mutation_operators if mutate not in EXCLUDED),
    (cst.Integer, one_less),
    (cst.Call, argument_left_out),
]


def is_swappable(node: cst.CSTNode) -> bool:
    """Not __init__: tests create layers during collection."""
    return isinstance(node, cst.FunctionDef) and node.name.value != "__init__"


class Collector(cst.CSTVisitor):
    """Finds every (node, its replacement, its function, its line, whether it has a function)."""

    METADATA_DEPENDENCIES = (PositionProvider, ParentNodeProvider)

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[cst.CSTNode, cst.CSTNode, str, int, bool]] = []
        self.scope: list[str] = []
        self.functions = 0

    def on_visit(self, node: cst.CSTNode) -> bool:
        if isinstance(node, NOT_MUTATED):
            return False
        if isinstance(node, cst.FunctionDef | cst.ClassDef):
            self.scope.append(node.name.value)
            self.functions += is_swappable(node)
        for kind, mutate in MUTATORS:
            if isinstance(node, kind):
                line = self.get_metadata(PositionProvider, self._positioned(node)).start.line
                scope = ".".join(self.scope)
                swaps = self.functions > 0
                self.found += [(node, new, scope, line, swaps) for new in mutate(node)]
        return not matchers.matches(node, MINUS_ONE | STRICT)

    def on_leave(self, original_node: cst.CSTNode) -> None:
        if isinstance(original_node, cst.FunctionDef | cst.ClassDef):
            self.scope.pop()
            self.functions -= is_swappable(original_node)

    def _positioned(self, node: cst.CSTNode) -> cst.CSTNode:
        while self.get_metadata(PositionProvider, node, None) is None:
            node = self.get_metadata(ParentNodeProvider, node)
        return node


def mutants_of(source: str) -> list[Mutant]:
    wrapper = MetadataWrapper(cst.parse_module(source))
    collector = Collector()
    wrapper.visit(collector)
    mutants, codes, seen = [], {source}, Counter()
    for node, new, scope, line, swaps in collector.found:
        code = wrapper.module.deep_replace(node, new).code
        if code in codes or not _compiles(code):
            continue
        codes.add(code)
        change = f"{scope}: {_difference(source, code)}"
        seen[change] += 1
        if seen[change] > 1:
            change += f" #{seen[change]}"
        mutants.append(Mutant(line, change, code, swaps))
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
    for line in difflib.ndiff(*_middles(before.splitlines(), after.splitlines())):
        if line[:2] in ("- ", "+ "):
            (removed if line[0] == "-" else added).append(line[2:].strip())
    return " → ".join(" ".join(lines) for lines in (removed, added))


def _middles(a: list[str], b: list[str]) -> tuple[list[str], list[str]]:
    """Both without their common first and last lines: ndiff is slow."""
    shorter = min(len(a), len(b))
    start = next((i for i in range(shorter) if a[i] != b[i]), shorter)
    candidates = range(shorter - start)
    end = next((i for i in candidates if a[-1 - i] != b[-1 - i]), len(candidates))
    return a[start : len(a) - end], b[start : len(b) - end]


def files_of(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return [file for file in sorted(path.rglob("*.py")) if file.parent != COMPILED]


def tests_of(path: str, whole: bool) -> list[str]:
    """The tests of a source file: its own, then those of its package, starting with those that name
    a function of the file, and then all others."""
    package, stem = Path(path).parent.name, Path(path).stem
    tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    names = [n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    named = re.compile(rf"\b({'|'.join(['never', *names])})\b")

    def distance(file: Path) -> tuple[bool, bool, int]:
        text = file.read_text(encoding="utf-8")
        return file.stem != f"test_{stem}", not named.search(text), len(text)

    files = sorted(Path("tests", package).glob("test_*.py"), key=distance)
    if package == "engine":  # others train for minutes
        files = [file for file in files if not all(distance(file)[:2])]
    if package in ("functional", "layers", "models", "gradcheck"):
        files.append(Path("tests/test_gradcheck.py"))
    if whole:
        files += [f for f in sorted(Path("tests").rglob("test_*.py")) if f not in files]
    return list(map(str, files))


def fork(limit: float) -> bool | None:
    """Returns None in the child process, and in the parent whether the child passed. limit:
    seconds.

    Counts seconds of CPU time and, for a process that waits for something, the number of polls:
    neither grows while the machine is busy or paused.
    """
    child = os.fork()
    if child == 0:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_DATA, (GIGABYTES * 2**30,) * 2)
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(limit),) * 2)
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, 1)
        os.dup2(devnull, 2)
        return None
    done = status = 0
    for _ in range(math.ceil(WAIT_FACTOR * limit / POLL_INTERVAL)):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        time.sleep(POLL_INTERVAL)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # and its children
    if not done:
        os.waitpid(child, 0)
    return bool(done) and status == 0


def run_tests(tests: list[str], *plugins: object) -> NoReturn:
    """Runs the tests and ends the process, without plugins that wait, clean up, or are not
    needed."""
    unneeded = ("cacheprovider", "unraisableexception", "threadexception")
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    options = [*(f"-pno:{plugin}" for plugin in unneeded), "-p_hypothesis_pytestplugin"]
    options += ["-x", "-s", "--tb=no", "--basetemp=temporary", "--hypothesis-profile=mutants"]
    os._exit(int(pytest.main([*options, *tests], plugins=plugins)))


class Order:
    """A pytest plugin: the test that failed last runs first, because the next mutant is similar.

    The process of one mutant passes this on to the next through a file.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        file.touch()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        failed = self.file.read_text(encoding="utf-8").splitlines()
        rank = {test: -i for i, test in enumerate(failed)}
        items.sort(key=lambda item: rank.get(item.nodeid, 1))

    def pytest_runtest_setup(self) -> None:
        signal.setitimer(signal.ITIMER_PROF, TEST_SECONDS)  # its signal would end the process

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            with self.file.open("a", encoding="utf-8") as file:
                print(report.nodeid, file=file)
            os._exit(1)


class Swaps(Order):
    """A pytest plugin: collects once, then tests each mutant in a forked process, where its
    functions replace the original's. This is many times faster than starting over for each."""

    def __init__(
        self, path: str, codes: list[str], limit: float, failed: Path, alive: Path
    ) -> None:
        """alive: a file for the positions of the mutants that survive."""
        super().__init__(failed)
        self.path, self.codes, self.limit, self.alive = path, codes, limit, alive

    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        gc.freeze()  # keeps the collector from touching, and so copying, shared memory
        original, alive = Path(self.path).read_text(encoding="utf-8"), []
        for i, code in enumerate([*self.codes, original]):
            self.pytest_collection_modifyitems(session.items)
            if code == original:  # a test that detected one mutant may not detect this one
                failed = set(self.file.read_text(encoding="utf-8").splitlines())
                session.items[:] = [item for item in session.items if item.nodeid in failed]
            passed = fork(self.limit)
            if passed is None:
                swap_functions(self.path, code)
                return None  # pytest goes on and runs the tests
            alive += [i] * passed
        if len(self.codes) in alive:
            self.alive.write_text(json.dumps(alive[:-1]), encoding="utf-8")
        return True


def swap_functions(path: str, code: str) -> None:
    """Replaces the code of an imported module's functions and methods by this version."""
    name = ".".join(Path(path).with_suffix("").parts)
    module, mutant = importlib.import_module(name), types.ModuleType(name)
    mutant.__package__, mutant.__file__ = name.rpartition(".")[0], module.__file__
    exec(compile(code, str(module.__file__), "exec"), vars(mutant))
    mutants = functions_of(vars(mutant), name)
    for qualname, function in functions_of(vars(module), name).items():
        for part in ("__code__", "__defaults__", "__kwdefaults__"):
            setattr(function, part, getattr(mutants[qualname], part))


def functions_of(namespace: Mapping[str, object], module: str) -> dict[str, types.FunctionType]:
    found = {}
    for value in namespace.values():
        if isinstance(value, type) and value.__module__ == module:
            found |= functions_of(vars(value), module)
        for name in ("fget", "func", "__func__", "__wrapped__"):  # property, cached_property, …
            value = getattr(value, name, value)
        if isinstance(value, types.FunctionType) and value.__code__.co_filename.endswith(
            module.replace(".", os.sep) + ".py"
        ):
            found[value.__qualname__] = value
    return found


@functools.cache
def seconds_of(tests: frozenset[str]) -> float:
    """Seconds of CPU time for the tests of the original, which must pass."""

    def seconds() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before = seconds()
    passed = fork(DAY)
    if passed is None:
        run_tests(sorted(tests))
    if not passed:
        raise SystemExit(f"without a mutant, the tests fail: {' '.join(sorted(tests))}")
    return seconds() - before


def try_mutants(path: str, mutants: list[Mutant], tests: list[str]) -> Iterator[Mutant]:
    """Yields the mutants that survive all tests."""
    limit = 5 * seconds_of(frozenset(tests)) + 10
    failed, alive = Path("failed.txt").resolve(), Path("alive.json").resolve()
    swapped = [mutant for mutant in mutants if mutant.swaps]
    alive.unlink(missing_ok=True)
    if fork(DAY) is None:
        run_tests(tests, Swaps(path, [m.code for m in swapped], limit, failed, alive))
    if not alive.exists():
        raise SystemExit(f"{path}: tests fail where its functions take the place of themselves")
    survivors = [swapped[i] for i in json.loads(alive.read_text(encoding="utf-8"))]
    original = Path(path).read_text(encoding="utf-8")
    for compiled in Path(path).parent.glob(f"__pycache__/{Path(path).stem}.*"):
        compiled.unlink()
    for mutant in [*(m for m in mutants if not m.swaps), *survivors]:
        Path(path).write_text(mutant.code, encoding="utf-8")
        if not is_detected(tests, limit, failed):
            yield mutant
    Path(path).write_text(original, encoding="utf-8")


def is_detected(tests: list[str], limit: float, failed: Path) -> bool:
    """Whether a test fails in a fresh process that imports everything again. The tests of the file
    that detected the last mutant are run alone first: collecting all takes longer than running
    them."""
    last = failed.read_text(encoding="utf-8").splitlines()[-1:]
    first = [test.partition("::")[0] for test in last] or tests[:1]
    for subset in (first, tests):
        passed = fork(limit)
        if passed is None:
            sys.dont_write_bytecode = True
            run_tests(subset, Order(failed))
        if not passed:
            return True
    return False


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
    paths = [Path(f) for f in options.files] or [Path("minivit", name) for name in SOURCES]
    files = [f for path in paths for f in files_of(path)]
    allowed, alive = read_allowed(), 0
    for library in PRELOADED:
        with contextlib.suppress(ImportError):
            importlib.import_module(library)
    gc.freeze()
    with tempfile.TemporaryDirectory(prefix="mutants-") as copy:
        for name in COPIED:
            copy_one = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
            copy_one(ROOT / name, Path(copy, name))
        os.chdir(copy)
        os.environ["PYTHONPATH"] = copy
        sys.path.insert(0, copy)
        for path in map(str, files):
            all_mutants = mutants_of(Path(path).read_text(encoding="utf-8"))
            stale = {c for f, c in allowed if f == path} - {m.change for m in all_mutants}
            for change in sorted(stale):
                print(f"{path}: no such mutant, take it out of {ALLOWED.name}: {change}")
            mutants = [m for m in all_mutants if (path, m.change) not in allowed]
            mutants = [m for m in mutants if options.only in m.change]
            if options.sample is not None and options.sample < len(mutants):
                mutants = random.Random(options.seed).sample(mutants, options.sample)
                mutants.sort(key=lambda mutant: mutant.line)
            survivors: list[Mutant] = []
            if options.list:
                for mutant in mutants:
                    print(f"{path}:{mutant.line}: {mutant.change}")
            elif mutants:
                for mutant in try_mutants(path, mutants, tests_of(path, options.whole)):
                    survivors.append(mutant)
                    print(f"{path}:{mutant.line}: ALIVE {mutant.change}", flush=True)
            tried = 0 if options.list else len(mutants)
            alive += len(survivors) + len(stale)
            listed = sum((path, m.change) in allowed for m in all_mutants)
            print(
                f"{path}: {len(all_mutants)} mutants, {listed} without effect, {tried} tried, "
                f"{tried - len(survivors)} killed, {len(survivors)} alive",
                flush=True,
            )
    return int(alive > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
