"""`minivit.study`: its members, its table, and that nothing is trained twice."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny

from minivit.commands import study
from minivit.commands.cli import guarded
from minivit.data import Dataset, Split
from minivit.engine import Run, Trainer
from minivit.engine import study as engine_study
from minivit.engine.study import STUDIES, Member, Plan
from minivit.models import ViT
from minivit.models.summary import rows as layers
from minivit.viz.study_figure import study_figure


def make_plan(name, dataset, quick=False):
    return Plan(name, dataset, 100_000, quick, Path("data"))


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run a study of two members on the tinted images; returns status, output and the study's
    folder."""
    monkeypatch.setattr("minivit.data.shapes.load", tiny.dataset)
    monkeypatch.chdir(tmp_path)
    small = {
        **{"patch_size": 16, "num_classes": 4, "dim": 16, "depth": 1, "num_heads": 2},
        **{"batch_size": 16, "val_fraction": 0.2, "threads": 1},
    }

    def members():
        for kind in ("none", "learned"):
            yield Member("positions", kind, {**small, "pos_embed": kind})

    monkeypatch.setitem(STUDIES, "position", members)
    monkeypatch.setattr(Plan, "available", lambda self: 64)

    def call(*flags):
        capsys.readouterr()
        argv = ["study", "position", "--dataset", "shapes", "--images", "128", *flags]
        monkeypatch.setattr(sys, "argv", argv)
        status = guarded(lambda: study.run(sys.argv[1:]))
        captured = capsys.readouterr()
        return status, captured.out + captured.err, Path("runs/study-position-shapes")

    return call


def test_each_member_has_a_row_with_all_its_seeds(run):
    status, out, folder = run("--seeds", "0", "1")
    assert status == 0
    table = json.loads((folder / "table.json").read_text(encoding="utf-8"))
    assert [row["value"] for row in table] == ["none", "learned"]
    for row in table:
        for seed, accuracy in enumerate(row["accuracy"]):
            member = Run(folder / f"positions-{row['value']}-seed{seed}")
            assert member.metrics()[-1]["test_accuracy"] == accuracy
            config = member.read_config()
            assert (config.seed, config.epochs) == (seed, 2), "128 images are two passes over 64"
            assert config.vit.pos_embed == row["value"]
        mean = 100 * np.mean(row["accuracy"])
        assert f"| {row['value']} | {mean:.2f} ±" in (folder / "table.md").read_text(
            encoding="utf-8"
        )
    assert (folder / "figure.png").exists()
    assert "learned" in out


def test_finished_runs_are_not_trained_again(run, monkeypatch):
    _, _, folder = run("--seeds", "0")
    before = (folder / "table.json").read_text(encoding="utf-8")
    monkeypatch.setattr(Trainer, "fit", lambda self: pytest.fail("trained again"))
    assert run("--seeds", "0")[0] == 0
    assert (folder / "table.json").read_text(encoding="utf-8") == before


def test_an_interrupted_study_is_resumed_to_the_same_result(run, monkeypatch):
    _, _, folder = run("--seeds", "0")
    expected = json.loads((folder / "table.json").read_text(encoding="utf-8"))
    folder.rename("whole")
    train_step = Trainer._train_step

    def stop_after(self, *args):
        train_step(self, *args)
        if self.step == 6 and self.config.vit.pos_embed == "learned":
            raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "_train_step", stop_after)
    assert run("--seeds", "0")[0] == 130
    assert len(json.loads((folder / "table.json").read_text(encoding="utf-8"))) == 1, (
        "the table so far"
    )
    monkeypatch.setattr(Trainer, "_train_step", train_step)
    assert run("--seeds", "0")[0] == 0
    assert json.loads((folder / "table.json").read_text(encoding="utf-8")) == expected


def test_at_equal_time_a_slow_member_trains_fewer_epochs(run, monkeypatch):
    seconds = {"none": 7.0, "learned": 15.0}
    monkeypatch.setattr(
        engine_study, "seconds_per_epoch", lambda config, _: seconds[config.vit.pos_embed]
    )
    _, _, folder = run("--seeds", "0", "--budget", "30s")
    monkeypatch.setattr(engine_study, "seconds_per_epoch", lambda *_: pytest.fail("timed again"))
    assert run("--seeds", "0", "--budget", "30s")[0] == 0
    epochs = {
        kind: Run(folder / f"positions-{kind}-seed0").read_config().epochs for kind in seconds
    }
    assert epochs == {"none": 4, "learned": 2}


@pytest.mark.parametrize("name", STUDIES)
def test_quick_is_four_steps_for_each_member(name, tmp_path, monkeypatch):
    """And if members differ in the number of images, there is one for each curve."""
    trained = []
    monkeypatch.setattr(
        engine_study, "train_once", lambda _, config, data: trained.append((config, data))
    )
    monkeypatch.setattr("minivit.data.shapes.load", lambda: Dataset("", many, many, ("a", "b")))
    blank = np.zeros((20_000, 3, 1, 1), np.uint8)
    many = Split(blank, np.arange(20_000) % 2)
    plan = make_plan(name, "shapes", quick=True)
    members = plan.members(plan.available())
    for member in members:
        plan.train(tmp_path, member, 0, 19_000)
    counts = {
        "data-size": 3,
        "position": 4,
        "pooling": 12,
        "shape": 5,
        "regularisation": 9,
        "recipe": 28,
    }
    assert len(members) == counts[name]
    for config, data in trained:
        assert config.epochs * config.train_images / config.batch_size == 4
        assert data.train.num_held_out(config.val_fraction) + len(data.test) <= 200
        assert data is trained[0][1], "the data are read once"


@pytest.mark.parametrize("dataset", ["cifar10", "shapes", "mnist"])
@pytest.mark.parametrize("name", STUDIES)
@pytest.mark.parametrize("quick", [False, True])
def test_every_member_is_a_valid_run(name, dataset, quick):
    plan = make_plan(name, dataset, quick)
    names, members = set(), list(STUDIES[name]())
    assert plan.members(19_000)
    if dataset == "mnist":  # 28 pixels are not divisible into patches of 8
        members = [member for member in members if member.changes["patch_size"] != 8]
        assert quick or name == "data-size" or plan.members(45_000) == members
    for member in members:
        config = plan.config(member, 3)
        ViT(config.vit)
        assert config.seed == 3
        assert config.dataset == dataset
        names.add((member.group, member.value))
    assert len(names) == len(members)


def test_the_budget_does_not_depend_on_the_data(tmp_path, monkeypatch):
    trained = []
    monkeypatch.setattr(engine_study, "train_once", lambda _, config, data: trained.append(config))
    monkeypatch.setattr(Plan, "data", tiny.dataset())
    plan = make_plan("data-size", "cifar10")
    for member in plan.members(47_500):
        plan.train(tmp_path, member, 0, 47_500)
    assert len(trained) == 18
    for config in trained:
        assert config.epochs * config.train_images == pytest.approx(100_000, rel=0.12)


def test_model_shapes_have_the_same_cost():
    plan = make_plan("shape", "cifar10")
    costs = [
        sum(row.flops for row in layers(ViT(plan.config(member, 0).vit)))
        for member in engine_study.shape()
    ]
    assert max(costs) / min(costs) < 1.06


def test_each_regularization_differs_from_none_in_one_setting():
    members = {member.value: member.changes for member in engine_study.regularisation()}
    none = members.pop("none")
    for changes in members.values():
        different = {key for key in changes if changes[key] != none.get(key)}
        assert 1 <= len(different) <= 2


@pytest.mark.parametrize("name", STUDIES)
def test_figures_show_each_run(name):
    rows = [
        {"group": member.group, "value": member.value, "accuracy": [0.1 * (i % 7), 0.5]}
        for i, member in enumerate(STUDIES[name]())
    ]
    (axes,) = study_figure(rows, name).axes
    curve = name in ("data-size", "pooling")
    dots = [line for line in axes.get_lines() if line.get_marker() == "o"]
    assert len(dots) == len(rows)
    for line, row in zip(dots, rows, strict=True):
        shown = line.get_ydata() if curve else line.get_xdata()
        np.testing.assert_allclose(shown, 100 * np.array(row["accuracy"]))
