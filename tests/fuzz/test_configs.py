"""config.json: a valid one with bytes changed, values of any kind, and text that is hardly JSON."""

import json

import pytest
import tiny
from fuzz.corpus.configs import ENTRIES
from fuzz.harness import attempt, check, check_apart, mutated
from hypothesis import strategies as st

from minivit.commands.train import parse_arguments
from minivit.config import to_dict
from minivit.engine import TrainConfig
from minivit.engine.run import to_json

WHOLE = to_json(tiny.CONFIG)
SETTINGS = {**to_dict(tiny.CONFIG), **to_dict(tiny.VIT), **to_dict(tiny.AS_IS)}
NUMBERS = st.sampled_from(
    [
        *(0, -1, 1, 2, 3, 7, 0.5, -0.0, 1e-320, 1e308, 2**31, 2**63, 2**64, -(2**63), 10**30),
        *(10**300, 10**4000, float("nan"), float("inf"), float("-inf"), 4096, 65_536),
        *(True, False, None),
    ]
)
TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["", "cls", "cuda:0", "cpu", "muon", "\ud800", "\0", "\x1b[2J", "a" * 10_000]),
)
VALUES = st.recursive(
    st.one_of(NUMBERS, TEXTS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(list(SETTINGS)), TEXTS), inner, max_size=4),
    ),
    max_leaves=8,
)
NAMES = st.one_of(st.sampled_from(list(SETTINGS)), st.sampled_from(list(SETTINGS)), TEXTS)
PAIRS = st.lists(st.tuples(NAMES, VALUES), max_size=5)


def written(pairs: list[tuple[str, object]]) -> str:
    """An object in JSON, keeping duplicate names."""
    return (
        "{" + ", ".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in pairs) + "}"
    )


@pytest.fixture
def read(tmp_path):
    path = tmp_path / "config.json"

    def read(raw: bytes, how=check):
        path.write_bytes(raw)
        return how(lambda: parse_arguments(["--config", str(path)], {}).train, tmp_path)

    return read


def test_a_config_with_bytes_changed(read):
    assert read(WHOLE.encode()) == tiny.CONFIG
    attempt(200, lambda raw: read(raw), raw=mutated(WHOLE.encode()))


def test_a_config_with_values_of_any_kind(read):
    def one(pairs):
        found = read(written(pairs).encode())
        if isinstance(found, TrainConfig):
            assert TrainConfig.from_dict(json.loads(json.dumps(found.to_dict()))) == found

    attempt(300, one, pairs=PAIRS)


@pytest.mark.parametrize("name", ENTRIES)
def test_every_known_failure_stays_fixed(read, name):
    assert read(ENTRIES[name](), how=check_apart).startswith("UserError")
