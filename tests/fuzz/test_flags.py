"""Command lines of every command: the flags that its parser knows, with values of every kind.

A line runs as `minivit` would run it, in a folder with a small run, images, and other files. Slow
parts are left out: training itself, figures, and measurements of the machine.
"""

import argparse
import contextlib
import functools
import importlib
import io
import itertools
import math
import os
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import tyro
from fuzz.corpus.flags import ACCEPTED, ENTRIES
from fuzz.harness import LONGEST_MESSAGE, BrokenRuleError, attempt, check, check_apart
from helpers import flags_class, sections
from hypothesis import strategies as st
from PIL import Image

from minivit.commands import COMMANDS, run
from minivit.commands.cli import CONFIG, parse
from minivit.commands.train import parse_arguments
from minivit.errors import UserError
from minivit.gradcheck.cases import all_cases
from minivit.ranges import Range, numeric_fields

with contextlib.suppress(ImportError):  # starts a program once, to find CUDA's libraries
    importlib.import_module("tensorboardX")

UNREACHABLE = "http://127.0.0.1:9/"

# The flags of a parser


@dataclass(frozen=True)
class Flag:
    """names: (--x,) or (--x, --no-x); () of a positional. count: how many values; None: any number.
    kind: the placeholder in --help. limits: the range of a number. needed: whether it is required.
    """

    names: tuple[str, ...]
    field: str
    count: int | None
    kind: str
    choices: tuple[str, ...]
    limits: Range | None
    needed: bool


def options_of(command: str) -> type:
    """The dataclass of a command's flags; pretrain has train's."""
    return flags_class(f"minivit.commands.{'train' if command == 'pretrain' else command}")


@functools.cache
def flags_of(command: str) -> tuple[Flag, ...]:
    options = options_of(command)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        parser = tyro.extras.get_parser(options, prog=command, config=CONFIG)
    limits = {one.name: one.limits for cls in sections(options) for one in numeric_fields(cls)}

    def flag(action: argparse.Action) -> Flag:
        field = action.dest.rpartition(".")[2].replace("-", "_")
        count = action.nargs if isinstance(action.nargs, int) else None
        choices = tuple(sorted(action.choices or ()))
        names = tuple(action.option_strings)
        needed = action.required or not names
        return Flag(names, field, count, action.metavar or "", choices, limits.get(field), needed)

    return tuple(flag(action) for action in parser._actions if action.dest != "help")


# Generated command lines

RUNS = ["run", "run", "run", "run/checkpoints/best.safetensors", "run/checkpoints/last.safetensors"]
RIGHT = {
    "run": RUNS,
    "from": RUNS,
    "resume": RUNS,
    "images": ["image.png", "images", "own/red", "image.png", "broken.png"],
    "image": ["image.png", "own/red/0.png"],
    "file": ["new.safetensors", "new.onnx", "new", "new/new.onnx", *RUNS[2:]],
    "dataset": ["shapes", "own", "auto"],
    "config": ["sizes.json", "run/config.json"],
    "model": ["Nano/4", "resnet-11", "hybrid-Nano/4", "Micro/8", "H/14"],
    "html": ["new.html", "new/new.html"],
    "csv": ["new.csv", "-", "new/new.csv"],
    "json": ["new.json", "-", "sizes.json"],
    "data_url": [UNREACHABLE],
    "device": ["cpu"],
    "label": ["red", "plain"],
    "only": ["", "blocks.0", "norm"],
    "methods": ["rollout", "raw", "gradcam"],
    "few_shot": ["1", "2", "5"],
}
"""Values that do something, of what is no number and no choice."""
NUMBERS = [
    *("0", "1", "-1", "2", "3", "7", "16", "0.5", "-0.0", "1e-320", "1e308", "1e400", "inf"),
    *("-inf", "nan", "NaN", "4096", "65536", "2147483648", "9223372036854775808", "1_0", "0x10"),
    *("٣", "+1", "9" * 400, "9" * 5_000, "1e", "1,5", " 1", "1 ", "True", "None", "none"),
]
PATHS = [
    *("empty", "fifo", "nowhere", "nowhere/x", "dangling", "loop", "text.txt", "broken.png", "-"),
    *("text.txt/x", "fifo/x", "empty/..", "", "/dev/null", "/dev/full", "run/.", "~/x", "猫"),
    *("x" * 300, "x/" * 2_500, "a b", "\udcff", "a\nb", "\x1b[2J", "--", "run/config.json"),
]
WORDS = [
    *("", "-", "--", "---", "-h", "--help", "=", "--=", "--no-", "-1", "--\x1b[2J", "\x1b[2J"),
    *("a\nb", "\r", "\u202e", "\ud800", "\udcff", "x" * 10_000, "{}", "[1]", "@text.txt", "$HOME"),
    *("--tyro-print-completion", "--tyro-write-completion", "bash", "--unknown", "--unknown=1"),
    *("cifar10", "mnist", "cuda", "cuda:0", "cuda:-1", "cuda:99999", "Micro/3", "L/1", "all"),
    *("file:///etc/passwd", "ftp://127.0.0.1:9/", "http://[", UNREACHABLE, "http:", "127.0.0.1"),
    *("http://127.0.0.1:99999/", "http://127.0.0.1:9/\x1b", "http://127.0.0.1:9/ä b"),
]
TEXTS = st.text(st.characters(exclude_characters="\0/~\\"), max_size=6)  # no outside paths
ANY = st.one_of(*map(st.sampled_from, (NUMBERS, PATHS, WORDS)), TEXTS)


def right(flag: Flag) -> st.SearchStrategy[str]:
    """A value of the right kind, usually one that is accepted."""
    found = [*flag.choices, *RIGHT.get(flag.field, ())]
    if flag.limits:
        found += map(str, (flag.limits.low, flag.limits.high, 1, 2, 4, 8, 16, 0.5))
    if "PATH" in flag.kind and not found:
        found += ["new", "nowhere/new", "empty", "."]
    if "None" in flag.kind:
        found.append("None")
    return st.sampled_from(found or ["word"])


def wrong(flag: Flag) -> st.SearchStrategy[str]:
    """A value of any kind; for a number, also values just outside its range."""
    if not flag.limits:
        return st.one_of(st.sampled_from(PATHS), ANY) if "PATH" in flag.kind else ANY
    low, high = flag.limits.low, flag.limits.high
    beyond = [low - 1, math.nextafter(low, -math.inf), high + 1, math.nextafter(high, math.inf)]
    return st.one_of(st.sampled_from([*map(str, beyond), *NUMBERS]), ANY)


@st.composite
def words_of(draw: Callable, flag: Flag) -> list[str]:
    """A flag or a positional argument as on a command line, sometimes malformed."""
    odd = draw(st.integers(0, 30))
    value = wrong(flag) if odd < 4 else right(flag)
    count = flag.count if flag.count is not None else draw(st.integers(0 if odd < 8 else 1, 3))
    count += (odd == 4) - (odd == 5 and count > 0)
    values = [draw(value) for _ in range(count)]
    if not flag.names:
        return values
    name = draw(st.sampled_from(flag.names))
    if odd == 6:
        return [name[: draw(st.integers(1, len(name)))], *values]
    if odd in (7, 8):
        return ["--" + name[2:].replace("-", "_"), *values]
    if odd in (9, 10, 11):
        return [f"{name}={values[0] if values else ''}", *values[1:]]
    return [name, *values]


@st.composite
def lines_of(draw: Callable, known: tuple[Flag, ...]) -> list[str]:
    """All words after a command's name."""
    needed = [flag for flag in known if flag.needed]
    others = [flag for flag in known if not flag.needed]
    chosen = [flag for flag in needed if draw(st.integers(0, 30))]
    if others:
        chosen += draw(st.lists(st.sampled_from(others), max_size=4))
    parts = [draw(words_of(flag)) for flag in chosen]
    if not draw(st.integers(0, 30)):
        parts.insert(draw(st.integers(0, len(parts))), [draw(ANY)])
    return list(itertools.chain.from_iterable(parts))


# The folder in which lines run


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """The contents of the folder: valid files, and every kind of invalid one."""
    folder = tmp_path_factory.mktemp("flags") / "here"
    training = tiny.trainer(folder, epochs=1)
    training.fit()
    training.run.path.rename(folder / "run")
    image = Image.new("RGB", (9, 12), "red")
    image.save(folder / "image.png")
    for name in ("images/red", "own/red", "own/blue", "empty"):
        (folder / name).mkdir(parents=True)
        if name != "empty":
            for number in range(5):
                image.save(folder / name / f"{number}.png")
    (folder / "images" / "0.png").write_bytes((folder / "image.png").read_bytes())
    (folder / "text.txt").write_text("words\n", encoding="utf-8")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "sizes.json").write_text('{"dim": 32}', encoding="utf-8")
    (folder / "dangling").symlink_to("not there")
    (folder / "loop").symlink_to("loop")
    return folder


@pytest.fixture
def command(template, tmp_path, monkeypatch):
    """Runs a line in a separate process and a fresh folder; returns the outcome in words."""
    here = tmp_path / "around" / "here"
    kept = [*template.rglob("*.png"), *template.rglob("*.safetensors")]  # not outputs
    monkeypatch.setenv("HOME", str(tmp_path / "around"))
    monkeypatch.setenv("MINIVIT_DATA", str(tmp_path / "around" / "data"))
    for name in ("CIFAR10", "CIFAR100", "MNIST", "FASHION_MNIST"):
        monkeypatch.setenv(f"MINIVIT_{name}_URL", UNREACHABLE)
    monkeypatch.setattr("minivit.data.download.PAUSE", 0.0)
    monkeypatch.setattr("minivit.data.shapes.load", lambda: tiny.dataset(400))
    leave_out_what_takes_long(monkeypatch)

    def command(name: str, words: list[str]) -> str:
        shutil.rmtree(here.parent, ignore_errors=True)
        shutil.copytree(template, here, symlinks=True)
        if hasattr(os, "mkfifo"):
            os.mkfifo(here / "fifo")
        monkeypatch.chdir(here)
        try:
            found = check_apart(lambda: held_to_the_rules(name, words), here.parent)
            lost = [path for path in kept if not same(path, here / path.relative_to(template))]
            if lost:
                raise BrokenRuleError(f"lost: {lost}")
            return found
        except BrokenRuleError as error:
            raise BrokenRuleError(f"{error}\n  minivit {name} {ascii(words)[:2000]}") from None

    return command


def same(one: Path, other: Path) -> bool:
    return other.is_file() and one.read_bytes() == other.read_bytes()


def leave_out_what_takes_long(patch: pytest.MonkeyPatch) -> None:
    few = list(itertools.islice(all_cases(), 3))
    for place, instead in {
        "train.train_and_test": lambda trainer: 0,
        "finetune.train_and_test": lambda trainer: 0,
        "finetune.few_shot_curve": lambda trainer, counts: [],
        "finetune.save_few_shot": lambda *_: None,
        "study.Plan.train": lambda *_: 0.5,
        "study.save_study": lambda *_: None,
        "attention.attention_figures": lambda *_: [],
        "attention.score_table": lambda *_: "",
        "doctor.gpu": lambda: "none",
        "bug_report.find_commit": lambda: "",  # calls git
        "bug_report.platform.platform": lambda: "Linux",  # calls uname
        "doctor.gemm_rate": lambda cores: 1.0,
        "doctor.memory_bandwidth": lambda cores: 1.0,
        "gradcheck.all_cases": lambda: few,
    }.items():
        module, _, name = place.partition(".")
        importlib.import_module(f"minivit.commands.{module}")
        patch.setattr(f"minivit.commands.{module}.{name}", instead)
    patch.setattr("minivit.backend.machine.memory_bytes", lambda device="cpu": 1 << 28)


def held_to_the_rules(name: str, words: list[str]) -> str:
    """Run a command; check its exit status and standard error against the rules of
    `minivit.commands`."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status, stopped = run(name, words), False
        except SystemExit as stop:  # from the parser
            status, stopped = stop.code, True
        out.flush()
        err.flush()
    printed = err.buffer.getvalue().decode("utf-8")
    lines = printed.split("\n")[:-1]
    fault = fault_in(name, status, stopped, lines)
    if fault or not printed.endswith("\n" * bool(printed)):
        raise BrokenRuleError(f"{fault or 'no end'}: {printed[:500]!a}")
    return f"{'box' if stopped else status}: {printed}"


def fault_in(name: str, status: object, stopped: bool, lines: list[str]) -> str:
    """What is wrong with an exit status and the lines on standard error, in words, or "".

    stopped: whether the parser ended the command; its help and error boxes have several lines.
    """
    errors = [line for line in lines if line.startswith("error: ")]
    longest = max((len(line.partition(": ")[2]) for line in lines), default=0)
    several = name in ("predict", "attention", "live")  # one line for each unreadable image
    if status not in ((0, 2) if stopped else (0, 1, 2)):
        return f"status {status}"
    if not all(line.isprintable() for line in lines):
        return "control characters"
    if longest > LONGEST_MESSAGE:
        return f"a line of {longest} characters"
    if status == 0 and errors:
        return "a success with an error"
    if stopped and status == 2:
        boxed = lines and lines[0].startswith("╭") and lines[-1].startswith("╰")
        return "" if boxed else "no box"
    if status == 2 and (not lines or lines[-1:] != errors[-1:]):
        return "no error in the last line"
    return "more than one error" if len(errors) > 1 and not several else ""


@pytest.mark.parametrize("name", COMMANDS)
def test_command_lines_obey_the_rules(command, name):
    attempt(15, lambda words: command(name, words), words=lines_of(flags_of(name)))


DIGITS = st.one_of(
    st.integers().map(str),
    st.floats().map(repr),
    st.sampled_from(NUMBERS),
    st.from_regex(r"\A[-+]?[0-9_]{0,4}[.e]?[0-9]{0,4}\Z"),
)


def numbers_of(flag: Flag) -> st.SearchStrategy[list[str]]:
    """As many numbers as the flag takes, near the ends of its range and anywhere."""
    one = st.one_of(wrong(flag), right(flag), DIGITS)
    return st.lists(one, min_size=flag.count or 1, max_size=flag.count or 3)


def test_a_number_is_parsed_exactly_and_is_within_its_range(tmp_path):
    known = [(name, flag) for name in COMMANDS for flag in flags_of(name) if flag.limits]
    assert len(known) > 100

    def one(line):
        name, flag, words = line
        needed = [word for other in flags_of(name) if other.needed for word in shortest(other)]
        read = functools.partial(parse, options_of(name), [*needed, flag.names[0], *words], name)
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            found = check(read, tmp_path, SystemExit)
        if isinstance(found, SystemExit | UserError) or words == ["None"]:
            return
        value = value_of(found, flag.field)
        values = value if isinstance(value, tuple) else (value,)
        assert values == tuple(type(v)(word) for v, word in zip(values, words, strict=True))
        assert all(flag.limits.low <= v <= flag.limits.high for v in values)

    lines = st.sampled_from(known).flatmap(
        lambda pair: st.tuples(st.just(pair[0]), st.just(pair[1]), numbers_of(pair[1]))
    )
    attempt(80, one, line=lines)


def shortest(flag: Flag) -> list[str]:
    """Arguments that give a flag one value."""
    return [*flag.names[:1], [*flag.choices, "run"][0]]


def value_of(options: Any, name: str) -> Any:
    """The field of that name in a dataclass or its sections."""
    for field in fields(options):
        value = getattr(options, field.name)
        found = value_of(value, name) if is_dataclass(value) else value
        if found is not None and (field.name == name or is_dataclass(value)):
            return found
    return None


def parsed(name: str, words: list[str]) -> object:
    """The parsed options, or the exit status for a wrong flag; the command itself does not run."""
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        try:
            if name in ("train", "pretrain"):
                return parse_arguments(words, {}).train
            return parse(options_of(name), words, name)
        except SystemExit as stop:
            return stop.code


def test_accepted_values_are_accepted_again(tmp_path, monkeypatch):
    """Values of any kind for every flag."""
    monkeypatch.chdir(tmp_path)
    anything = st.lists(st.one_of(ANY, st.just("\0")), max_size=2)

    def one(line):
        name, flags = line
        found = check(lambda: parsed(name, list(itertools.chain.from_iterable(flags))), tmp_path)
        assert isinstance(found, UserError) or found in (0, 2) or replace(found) == found

    def lines(name):
        names = [word for flag in flags_of(name) for word in flag.names]
        word = st.one_of(*[st.sampled_from(names)] * 3 * bool(names), ANY)
        flag = st.tuples(word, anything).map(lambda one: [one[0], *one[1]])
        return st.tuples(st.just(name), st.lists(flag, max_size=3))

    attempt(100, one, line=st.sampled_from(list(COMMANDS)).flatmap(lines))


@pytest.mark.parametrize(
    ("name", "status", "stopped", "lines", "fault"),
    [
        ("trace", 2, False, ["error: no"], ""),
        ("trace", 2, False, ["downloading", "error: no"], ""),
        ("predict", 2, False, ["error: one", "error: all"], ""),
        ("predict", 1, False, ["error: one", "error: two"], ""),
        ("trace", 2, True, ["╭─╮", "│ no │", "╰─╯"], ""),
        ("trace", 0, True, [], ""),
        ("trace", None, True, [], "status None"),
        ("trace", 1, True, [], "status 1"),
        ("trace", 130, False, [], "status 130"),
        ("trace", 2, True, ["usage: pytest"], "no box"),
        ("trace", 2, True, [], "no box"),
        ("trace", 2, False, [], "no error in the last line"),
        ("trace", 2, False, ["error: no", "and more"], "no error in the last line"),
        ("trace", 2, False, ["error: one", "error: two"], "more than one error"),
        ("trace", 0, False, ["error: no"], "a success with an error"),
        ("trace", 2, False, ["error: \x1b[2J"], "control characters"),
        ("trace", 2, False, ["error: " + "x" * 1001], "a line of 1001 characters"),
    ],
)
def test_broken_rules_are_found(name, status, stopped, lines, fault):
    assert fault_in(name, status, stopped, lines) == fault


@pytest.mark.parametrize("name", [*ENTRIES, *ACCEPTED])
def test_every_known_failure_stays_fixed(command, name):
    first, *words = (ENTRIES | ACCEPTED)[name]
    right = "str: 0" if name in ACCEPTED else ("str: 2", "str: box")
    assert command(first, words).startswith(right)
