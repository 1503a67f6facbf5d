"""The harness detects every broken rule."""

import mmap
import os
import subprocess
import time
from collections import Counter

import pytest
from fuzz import harness
from fuzz.harness import BrokenRuleError, check, check_apart
from hypothesis import strategies as st

from minivit.errors import UserError


def raise_(error):
    raise error


class UnrulyError(UserError):
    """An error whose message is not shortened, unlike that of a UserError."""

    def __init__(self, message: str):
        ValueError.__init__(self, message)


@pytest.mark.parametrize(
    ("read", "rule"),
    [
        (lambda: 1 // 0, "ZeroDivisionError came out"),
        (lambda: raise_(MemoryError()), "MemoryError came out"),
        (lambda: raise_(SystemExit(0)), "SystemExit came out"),
        (lambda: raise_(OSError("no")), "OSError came out"),
        (lambda: raise_(UnrulyError("two\nlines")), "a message of 9 characters"),
        (lambda: raise_(UnrulyError("\x1b[2J")), "a message of 4"),
        (lambda: raise_(UnrulyError("x" * 1001)), "a message of 1001"),
        (lambda: time.sleep(1), "it took over 0.2 s"),
        (lambda: [None for _ in iter(int, 1)], "it took over 0.2 s"),
        (lambda: sum(range(20_000_000)), "it took"),
        (lambda: open("../elsewhere", "w", encoding="utf-8").close(), "reached outside"),
        (lambda: os.rename("mine", "../elsewhere"), "reached outside"),
        (lambda: subprocess.run(["true"], check=True), "reached outside"),
        (lambda: os.symlink("../elsewhere", "link") or open("link", "wb").close(), "outside"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_every_broken_rule_is_detected(tmp_path, monkeypatch, read, rule):
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path / "in")
    (tmp_path / "in" / "mine").touch()
    with pytest.raises(BrokenRuleError, match=rule):
        check(read, tmp_path / "in", longest=0.05)


def test_a_reader_that_follows_the_rules_passes(tmp_path):
    assert check(lambda: (tmp_path / "mine").write_text("x", encoding="utf-8"), tmp_path) == 1
    assert str(check(lambda: raise_(UserError("a line")), tmp_path)) == "a line"
    assert isinstance(check(lambda: raise_(OSError("no")), tmp_path, OSError), OSError)


@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="Linux tells the memory")
def test_memory_is_measured_in_a_separate_process(tmp_path, monkeypatch):
    monkeypatch.setattr(harness, "MAX_MEMORY", 50 << 20)
    assert check_apart(lambda: len(b"x" * (30 << 20)), tmp_path).startswith("int")
    with pytest.raises(BrokenRuleError, match=r"it took \d+ MB"):
        check_apart(lambda: len(b"x" * (80 << 20)), tmp_path)
    with pytest.raises(BrokenRuleError, match="Cannot allocate memory"):
        # not by malloc, which may have kept as much from an earlier test
        check_apart(lambda: mmap.mmap(-1, 800 << 20), tmp_path)
    with pytest.raises(BrokenRuleError, match="ended with status"):
        check_apart(lambda: os._exit(3), tmp_path)
    with pytest.raises(BrokenRuleError, match="ZeroDivisionError"):
        check_apart(lambda: 1 // 0, tmp_path)


def test_the_same_inputs_are_tried_each_time(monkeypatch):
    monkeypatch.setattr(harness, "SECONDS", 0)
    monkeypatch.setattr(harness, "TRIED", Counter())
    tried = [], []
    for found in tried:
        harness.attempt(20, lambda n, found=found: found.append(n), n=st.integers())
    assert tried[0] == tried[1]
    assert len(tried[0]) == 20
    (count,) = harness.TRIED.values()
    assert count == 40


def test_more_inputs_are_tried_in_more_time(monkeypatch):
    monkeypatch.setattr(harness, "SECONDS", 0.1)
    monkeypatch.setattr(harness, "TRIED", Counter())
    found = set()
    harness.attempt(1, lambda n: found.add(n), n=st.integers())
    assert len(found) > 50
