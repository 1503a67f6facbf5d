"""Checkpoints: changed bytes, which the digest detects, and deliberately constructed states."""

import copy
import json

import numpy as np
import pytest
import tiny
from fuzz.corpus.checkpoints import ENTRIES, changed_state
from fuzz.harness import BrokenRuleError, attempt, check, check_apart, mutated
from hypothesis import strategies as st

from minivit.engine import Trainer, load_checkpoint, load_model
from minivit.engine.checkpoint import save_checkpoint

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.sampled_from([0, 1, 2, 3, 7, 1 << 16, 1 << 31, 10**9, -1]),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["", "cls", "relative", "sincos2d", "resnet", "float64", "../x"]),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


@pytest.fixture
def run(tmp_path):
    """A finished tiny run, whose checkpoint is replaced by the input to test."""
    training = tiny.trainer(tmp_path, epochs=1)
    training.fit()
    return training.run


def contents(path):
    found = load_checkpoint(path)
    arrays = {"weights": found.weights, **found.groups}
    return found.state, {
        (group, name): (array.dtype.str, array.shape, array.tobytes())
        for group, members in arrays.items()
        for name, array in members.items()
    }


def test_changed_bytes_are_detected(run, tmp_path):
    raw, whole = run.last.read_bytes(), contents(run.last)
    header = int.from_bytes(raw[:8], "little") + 8
    hot = [*range(16), *range(header - 90, header), *range(header, header + 64), len(raw) - 1]

    def read(content):
        run.last.write_bytes(content)
        found = check(lambda: contents(run.last), tmp_path)
        if isinstance(found, tuple) and found != whole:
            raise BrokenRuleError("a damaged checkpoint was accepted")

    attempt(300, read, content=mutated(raw, hot))


def places(value, path=()):
    """The path of each value in nested dicts and lists."""
    yield path
    if isinstance(value, dict | list):
        keys = value if isinstance(value, dict) else range(len(value))
        for key in keys:
            yield from places(value[key], (*path, key))


def test_states_with_other_values(run, tmp_path):
    checkpoint = load_checkpoint(run.best)
    state = json.loads(json.dumps(checkpoint.state))
    where = [path for path in places(state) if path]

    def read(path, value):
        checkpoint.state = changed_state(copy.deepcopy(state), path, value)
        save_checkpoint(run.best, checkpoint)
        save_checkpoint(run.last, checkpoint)
        check(lambda: usable(load_model(run.path)), tmp_path)
        check(lambda: Trainer(tiny.config(epochs=1), tiny.dataset(), run).resume(), tmp_path)

    attempt(200, read, path=st.sampled_from(where), value=VALUES)


def usable(trained):
    """An accepted model works: one image is classified."""
    size = trained.model.config.image_hw
    images = np.zeros((1, trained.model.config.in_channels, *size), np.uint8)
    logits = trained.model(trained.statistics.normalize(images))
    assert trained.class_names[int(logits.argmax())]


@pytest.mark.parametrize("name", ENTRIES)
def test_every_known_failure_stays_fixed(run, tmp_path, name):
    ENTRIES[name](run.best)
    assert check_apart(lambda: load_model(run.path), tmp_path).startswith("UserError")
