"""metrics.jsonl: a log with bytes changed, with blocks of zeros, and lines of any kind; it is read,
plotted, and truncated for a resumed run."""

import json

import pytest
from fuzz.corpus.metrics import ENTRIES
from fuzz.harness import attempt, check, check_apart, mutated
from hypothesis import strategies as st

from minivit.engine import Run
from minivit.engine.metrics import of_kind
from minivit.viz.training_figures import curves_figure

STEP = {"kind": "step", "step": 3, "seconds": 0.5, "epoch": 0.75, "loss": 1.2, "accuracy": 0.4}
EPOCH = {"kind": "epoch", "step": 4, "seconds": 1.0, "epoch": 1, "train_loss": 1.1}
TEST = {"kind": "test", "step": 12, "seconds": 2.5, "test_accuracy": 0.9, "data": "Tints"}
LINES = [
    STEP | {"lr": 0.001, "rate": 100.0},
    EPOCH | {"train_accuracy": 0.5, "val_loss": 1.0, "val_accuracy": 0.5},
    TEST | {"test_loss": 0.2, "confusion": [[1, 0], [0, 1]]},
]
WHOLE = "".join(json.dumps(line) + "\n" for line in LINES).encode()
VALUES = st.one_of(
    st.sampled_from([None, True, 0, -1, 1.5, 1e308, -1e308, 10**400, float("nan"), float("inf")]),
    st.sampled_from(["", "step", "epoch", "test", "\ud800", [], [1], {}, {"step": 1}]),
)
CHANGED = st.builds(
    lambda line, changes, without: {
        key: value for key, value in (line | changes).items() if key not in without
    },
    st.sampled_from(LINES),
    st.dictionaries(st.sampled_from([*LINES[0], *LINES[1], *LINES[2]]), VALUES, max_size=3),
    st.sets(st.sampled_from([*LINES[0], *LINES[1]]), max_size=2),
)
BLOCKS = st.one_of(
    CHANGED.map(lambda line: json.dumps(line).encode() + b"\n"),
    st.sampled_from([b"\0" * 512, b"\0" * 512 + b"\n", b"\n", b"{", b"\xff\xfe", b"[" * 20_000]),
    st.sampled_from(LINES).map(lambda line: json.dumps(line).encode()[:-9] + b"\n"),
    VALUES.map(lambda value: json.dumps(value).encode() + b"\n"),
)


@pytest.fixture
def read(tmp_path):
    run = Run(tmp_path)

    def all_of_it() -> int:
        metrics = run.metrics()
        curves_figure(metrics)
        run.truncate_after(3)
        assert [line for line in metrics if line["step"] <= 3] == run.metrics()
        return sum(len(of_kind(metrics, kind)) for kind in ("step", "epoch", "test"))

    def read(raw: bytes, how=check):
        run.metrics_file.write_bytes(raw)
        return how(all_of_it, tmp_path)

    return read


def test_a_log_with_bytes_changed(read):
    assert read(WHOLE) == 3
    attempt(60, lambda raw: read(raw), raw=mutated(WHOLE))


def test_a_log_with_lines_of_any_kind(read):
    attempt(60, lambda blocks: read(b"".join(blocks)), blocks=st.lists(BLOCKS, max_size=6))


@pytest.mark.parametrize("name", ENTRIES)
def test_every_known_failure_stays_fixed(read, name):
    assert read(ENTRIES[name](), how=check_apart).startswith("int")
