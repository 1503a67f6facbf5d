"""What more machines could gain follows from what was measured, by formulas with known answers."""

import pytest

from benchmarks import scaling
from benchmarks.scaling import Network, Options, all_reduce_seconds, main, step_seconds
from minivit.errors import UserError


@pytest.mark.parametrize(
    ("ranks", "network", "expected"),
    [
        (1, Network(1.0, 1.0), 0.0),
        (2, Network(0.0, 1e6), 1.0),  # a ring: a half there, a half back
        (4, Network(0.0, 1e6), 1.5),
        (1024, Network(1.0, 1e12), 20.0),  # a tree: ten levels up, ten down
    ],
)
def test_an_all_reduce_of_a_megabyte(ranks, network, expected):
    assert all_reduce_seconds(ranks, 1e6, network) == pytest.approx(expected, rel=1e-3)


def test_steps_of_a_part_of_the_batch_lie_on_a_line():
    seconds = [step_seconds(ranks, 64, whole=10.0, part=3.0) for ranks in (1, 2, 8, 64)]
    assert seconds == pytest.approx([10.0, 10 - 4, 3.0, 10 - 7 / 56 * 63])
    assert step_seconds(8, 64, whole=1.0, part=2.0) == 1.0  # noise: more ranks are never slower


def test_two_real_ranks_are_timed():
    pytest.importorskip("mpi4py")
    try:
        found = scaling.started(Options(model="Nano/4", steps=1), ranks=2, threads=1, batch=8)
    except UserError as error:
        pytest.skip(str(error))
    assert 0 < found["all_reduce"] < found["step"]
    assert found["bytes"] > 4 * 300_000


def test_the_tables_tell_measured_from_computed(monkeypatch, capsys):
    times = {(1, 128): 0.8, (2, 128): 0.4, (1, 16): 0.1}
    monkeypatch.setattr(
        scaling,
        "started",
        lambda options, ranks, threads, batch: {
            "step": times[ranks, batch],
            "all_reduce": 0.02 * (ranks - 1),
            "bytes": 3_200_000,
        },
    )
    assert main(Options(threads=2)) == 0
    told = capsys.readouterr().out
    measured, computed = told.split("computed:")
    assert "2 ranks, 1 thread each                       400.0 ms     20.0 ms (5.0%)" in measured
    assert "ranks over threads 0.500 (0.500–0.500)" in measured
    assert "128 machines" not in measured
    assert computed.splitlines()[1].split() == ["1", "2", "4", "8", "16", "32", "64", "128"]
    (slow,) = (line for line in computed.splitlines() if line.startswith("1 GbE"))
    assert slow.split()[2] == "1.00"
