"""The predicted gain from more ranks, computed from measurements, against known answers."""

import json

import pytest

from benchmarks import report, scaling
from benchmarks.scaling import Options, main
from benchmarks.scaling_model import (
    Cost,
    Network,
    all_reduce_seconds,
    cost_of,
    exposed_seconds,
    network_of,
    speed_ups,
    step_seconds,
)
from benchmarks.scaling_report import Result, figure
from minivit.engine.world import World
from minivit.errors import UserError

COST = Cost(per_image=0.01, fixed=0.2, prepare=0.001, bytes=1_000_000, pieces=5, shared=False)
FREE = Network(0.0, 1e30)


@pytest.mark.parametrize(
    ("ranks", "network", "expected"),
    [
        (1, Network(1.0, 1.0), 0.0),
        (2, Network(0.0, 1e6), 1.0),  # a ring: half in each phase
        (4, Network(0.0, 1e6), 1.5),
        (1024, Network(1.0, 1e12), 20.0),  # a tree: ten levels up, ten down
    ],
)
def test_an_all_reduce_of_a_megabyte(ranks, network, expected):
    assert all_reduce_seconds(ranks, 1e6, network) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("whole", "backward", "expected"),
    [
        (1.0, 100.0, 0.2),  # the last of five chunks has no computation left to overlap with
        (1.0, 0.5, 0.6),  # four fifths of backward overlap with as much communication
        (1.0, 0.0, 1.0),
        (0.0, 1.0, 0.0),
    ],
)
def test_communication_not_hidden_behind_backward(whole, backward, expected):
    assert exposed_seconds(whole, backward, 5) == pytest.approx(expected)


def test_a_step_takes_the_sum_of_its_parts():
    assert step_seconds(1, 64, COST, FREE) == pytest.approx(0.64 + 0.2 + 0.064)
    assert step_seconds(3, 64, COST, FREE) == pytest.approx(0.22 + 0.2 + 0.064)
    slow = Network(0.0, 1e6)  # 4/3 s of all-reduce behind 0.22 · 2/3 · 4/5 s of backward
    exposed = 4 / 3 - 0.22 * 2 / 3 * 0.8
    assert step_seconds(3, 64, COST, slow) == pytest.approx(0.22 + 0.2 + 0.064 + exposed)
    shared = COST._replace(shared=True)  # a third of the optimizer; directions do not overlap
    expected = 0.22 + 0.2 / 3 + 0.064 + exposed + 4 / 3
    assert step_seconds(3, 64, shared, slow) == pytest.approx(expected)


def test_with_a_free_network_the_speed_up_is_the_number_of_ranks():
    cost = COST._replace(fixed=0.0, prepare=0.0)
    assert speed_ups([1, 2, 64], 64, cost, FREE) == pytest.approx([1, 2, 64])


def test_costs_are_fitted_from_two_step_times():
    whole = {"step": 1.0, "images": 80, "prepare": 0.4, "bytes": 7, "pieces": 3, "shared": True}
    assert cost_of(whole, {"step": 0.3, "images": 10}) == pytest.approx(
        (0.01, 0.2, 0.005, 7, 3, True)
    )
    assert cost_of(whole, {"step": 2.0, "images": 10}).per_image == 0  # noise


def test_the_network_between_two_ranks():
    timings = {"shortest": 20e-6, "all_reduce": 1020e-6, "bytes": 1_000_000}
    assert network_of(timings) == pytest.approx((10e-6, 1e9))


def test_two_real_ranks_can_be_timed():
    pytest.importorskip("mpi4py")
    try:
        found = scaling.run_ranks("Nano/4", images=8, ranks=2, threads=1, steps=1)
    except UserError as error:
        pytest.skip(str(error))
    assert found["ranks"] == 2
    assert 0 < found["exposed"] < found["step"]
    assert 0 < found["shortest"] < found["step"]
    assert found["bytes"] > 4 * 300_000
    assert found["pieces"] > 1


def test_a_clock_counts_each_sum_once():
    class Slow(World):
        def all_reduce(self, array):
            pass

        def start_all_reduce(self, array):
            return lambda: self.all_reduce(array)

    world = Slow()
    clock = scaling.Clock(world)
    world.all_reduce(0)
    first = clock.seconds
    world.start_all_reduce(0)()
    assert 0 < first < clock.seconds
    assert world.start_all_reduce(0)() is None


def measured(model, images, ranks, threads, steps):
    """Times computed by a formula."""
    step = 0.1 + 0.005 * images / (ranks * threads)
    return {
        "ranks": ranks,
        "images": images,
        "step": step,
        "exposed": 0.02 * (ranks - 1),
        "prepare": 1e-4 * images,
        "all_reduce": 0.05,
        "shortest": 1e-5,
        "bytes": 3_200_000,
        "pieces": 7,
        "shared": True,
    }


def test_tables_and_figure_distinguish_measured_from_computed(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(scaling, "run_ranks", measured)
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    monkeypatch.setattr(scaling.scaling_report, "RESULTS", tmp_path)
    options = Options(models=("Micro/4",), images=(128,), batches=(256,), write="here")
    assert main(options) == 0
    table = capsys.readouterr().out.split("## ")[-1]
    timings = (tmp_path / "here.md").read_text(encoding="utf-8")
    row = "| Micro/4 | 128 | 740.0 ms | 180.0 ms | 420.0 ms | 50.0 ms | 20.0 ms, 4.8% | 60% | 1.00"
    assert row in timings.split("## Computed")[0]
    assert "Computed: Micro/4, batch 256, 3.2 MB" in table
    assert "| ranks | 1 | 2 | 4 | 8 | 16 | 32 | 64 | 128 | 256 |" in table
    content = json.loads((tmp_path / "here.json").read_text(encoding="utf-8"))
    assert content["results"][0]["cost"]["per_image"] == pytest.approx(0.005)
    assert set(content["results"][0]["computed"]) == set(table_names(table))
    assert (tmp_path / "here.png").stat().st_size > 10_000


def table_names(table):
    """The names of the networks that have a row."""
    return [line.split(" | ")[0][2:] for line in table.splitlines() if "| " in line][1:]


def test_points_are_measured_and_lines_are_computed():
    measurements = {
        name: measured("", images, ranks, threads, 1)
        for name, (images, ranks, threads) in {
            "one": (128, 1, 1),
            "part": (16, 1, 1),
            "two": (128, 2, 1),
            "threads": (128, 1, 2),
        }.items()
    }
    (axes,) = figure([Result("Micro/4", 1024, 1, measurements)]).axes
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert [line.get_label() for line in dots] == ["measured, one machine"]
    assert list(dots[0].get_xdata()) == [1, 2]
    assert dots[0].get_ydata()[1] == pytest.approx(0.74 / 0.42)
    others = [line.get_label() for line in axes.lines if line not in dots]
    assert others[0] == "ideal"
    assert all(name.startswith("computed, ") for name in others[1:])
    assert all(max(line.get_xdata()) == 1024 for line in axes.lines if line not in dots)


def test_the_number_of_batches_must_match_the_number_of_models():
    with pytest.raises(
        UserError, match="2 --models, 1 --images, 1 --batches; give the same number"
    ):
        Options(models=("Nano/4", "Micro/4"), images=(8,), batches=(8,))
