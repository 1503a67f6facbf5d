"""Command lines: each command's own flags, as its parser knows them, with values of every kind."""

import contextlib
import dataclasses
import importlib
import io
import re
from functools import cache

import pytest
from fuzz.corpus.flags import ENTRIES
from fuzz.harness import BrokenRuleError, attempt, check, check_apart
from hypothesis import strategies as st

from minivit.commands import COMMANDS
from minivit.commands.cli import parse
from minivit.commands.train import parse_arguments
from minivit.data import Augmentation
from minivit.engine import TrainConfig
from minivit.models import ViTConfig

TRAINING = ("train", "pretrain")
VALUES = st.one_of(
    st.sampled_from(
        [
            *("0", "1", "-1", "2", "3", "0.5", "1.5", "-0.0", "1e-320", "1e308", "1e999", "1_000"),
            *("nan", "inf", "-inf", "65536", "100000000", str(2**63), str(10**30), "9" * 5_000),
            *("True", "None", "none", "", " ", "-", "--", "0x10", "1,5", "½", "٣", "\ud800", "\0"),
            *("\x1b[2J", "a" * 10_000, ".", "/", "/dev/null", "no/such/file", "cpu", "cuda:99"),
            *("cls", "mean", "muon", "S/16", "B/0", "[1]", "{}", "$(id)", "~", "\n", "%s"),
        ]
    ),
    st.text(max_size=6),
    st.integers().map(str),
    st.floats().map(str),
)


def options_of(command: str) -> type:
    """The dataclass that a command's flags fill."""
    name = "train" if command in TRAINING else command
    module = importlib.import_module(f"minivit.commands.{name}")
    return getattr(module, "Options", None) or module.Arguments


@cache
def flags_of(command: str) -> list[str]:
    """All that its --help tells."""
    told = io.StringIO()
    with contextlib.redirect_stdout(told), contextlib.suppress(SystemExit):
        parse(options_of(command), ["--help"], command)
    return sorted(set(re.findall(r"--[a-z][a-z-]*", told.getvalue())) - {"--help"})


def command_lines(command: str) -> st.SearchStrategy[list[str]]:
    known = st.sampled_from([*flags_of(command), "--dataset"])
    flag = st.one_of(known, known, known, st.just("--helpp"), VALUES)
    pair = st.tuples(flag, st.lists(VALUES, max_size=2)).map(lambda one: [one[0], *one[1]])
    return st.lists(pair, max_size=3).map(lambda pairs: [word for one in pairs for word in one])


def parsed(command: str, argv: list[str]) -> object:
    """The options, or the exit status of a wrong flag; only numbers in their range are options."""
    told = io.StringIO()
    try:
        with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
            if command in TRAINING:
                return parse_arguments(argv, {})
            return parse(options_of(command), argv, f"minivit {command}")
    except SystemExit as stop:
        if stop.code not in (0, 2):
            raise BrokenRuleError(f"exit status {stop.code}") from stop
        if stop.code and not told.getvalue().strip():
            raise BrokenRuleError("nothing was said") from stop
        return stop.code


def built_again(found: object) -> None:
    """A config that was accepted is one: its parts accept their own values."""
    config = getattr(found, "train", None)
    for part in (config, *(getattr(config, name, None) for name in ("vit", "augmentation"))):
        if isinstance(part, TrainConfig | ViTConfig | Augmentation):
            assert dataclasses.replace(part) == part


@pytest.mark.parametrize("command", COMMANDS)
def test_values_of_any_kind(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)

    def one(argv):
        built_again(check(lambda: parsed(command, argv), tmp_path))

    attempt(20, one, argv=command_lines(command))


@pytest.mark.parametrize("name", ENTRIES)
def test_corpus(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    command, *argv = ENTRIES[name]
    words = check_apart(lambda: parsed(command, argv), tmp_path)
    assert words.startswith(("UserError", "int: 2")), words


def test_what_a_wrong_parser_does_is_found(tmp_path, monkeypatch):
    def stops(*_):
        raise SystemExit(1)

    monkeypatch.setitem(globals(), "parse", stops)
    with pytest.raises(BrokenRuleError, match="exit status 1"):
        check(lambda: parsed("evaluate", ["RUN"]), tmp_path)
