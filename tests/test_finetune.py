"""`minivit.finetune`: what it starts from, what it changes, and that its runs can be resumed."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import tiny

from minivit.commands import finetune
from minivit.commands.cli import guarded
from minivit.commands.train import run as train
from minivit.data import Dataset
from minivit.engine import Run, Trainer, load_model, recipe_of
from minivit.engine.checkpoint import load_checkpoint
from minivit.engine.few_shot import DRAWS
from minivit.engine.trained import load_pretrained


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A finished run."""
    root = tmp_path_factory.mktemp("source")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minivit.data.shapes.load", tiny.dataset)
        assert train([*tiny.FLAGS, "--runs", str(root)]) == 0
    (path,) = root.iterdir()
    return path


@pytest.fixture
def tune(source, tmp_path, monkeypatch, capsys):
    """Run it on the tinted images with flags; returns status, output, errors and the run."""
    monkeypatch.setattr("minivit.data.shapes.load", tiny.dataset)
    monkeypatch.chdir(tmp_path)

    def run(*flags, start=source):
        capsys.readouterr()
        same = ["--dataset", "shapes", "--crop", "0", "--flip", "0", "--threads", "1"]
        argv = ["--from", str(start), *same, "--batch-size", "16", "--epochs", "1", *flags]
        status = guarded(lambda: finetune.run(argv))
        captured = capsys.readouterr()
        runs = sorted(Path("runs").iterdir()) if Path("runs").exists() else []
        return status, captured.out, captured.err, Run(runs[-1]) if runs else None

    return run


def test_without_a_step_the_model_equals_the_source(tune, source):
    status, _, _, run = tune("--lr", "0")
    assert status == 0
    before, after = load_checkpoint(Run(source).best), load_checkpoint(run.best)
    assert {**before.weights}.keys() == after.weights.keys()
    for name, array in before.weights.items():
        np.testing.assert_array_equal(array, after.weights[name])
    assert (before.state["mean"], before.state["std"]) == (after.state["mean"], after.state["std"])
    last = [line for line in Run(source).metrics() if line["kind"] == "test"][-1]
    assert run.metrics()[-1]["test_accuracy"] == last["test_accuracy"]


def test_the_augmentation_suits_the_data_set(source):
    start = load_pretrained(source)
    for name, crop in (("shapes", 0), ("cifar10", 4)):
        flags, recipe = ["--from", str(source)], recipe_of(name)
        found = finetune.parse_arguments(flags, start, source, recipe).train
        assert found.augmentation.crop == crop
    flags = ["--from", "x", "--crop", "2"]
    config = finetune.parse_arguments(flags, start, source, recipe_of("shapes")).train
    assert config.augmentation.crop == 2


def test_fine_tuning_on_larger_images(tune):
    status, out, _, run = tune("--image-size", "12", "--interpolation", "bilinear")
    assert status == 0
    assert "position embeddings: 2×2 -> 3×3, bilinear" in out
    model = load_model(run.path).model
    assert model.config.image_hw == (12, 12)
    assert (run.path / "curves.png").exists()


def test_fine_tuning_on_other_classes(tune, monkeypatch):
    data = tiny.dataset()
    other = Dataset("Others", data.train, data.test, ("w", "x", "y", "z"))
    monkeypatch.setattr("minivit.data.shapes.load", lambda: other)
    status, out, _, run = tune("--lr", "0")
    assert status == 0
    assert "head: new, zero, for 4 other classes" in out
    assert not load_checkpoint(run.last).weights["head.weight"].any()


def test_only_the_head_can_be_trained(tune, source):
    _, _, _, run = tune("--trainable", "head", "--lr", "0.1")
    before, after = load_checkpoint(Run(source).best).weights, load_checkpoint(run.last).weights
    changed = {name for name in before if (before[name] != after[name]).any()}
    assert changed == {"head.weight", "head.bias"}


def test_fine_tuning_on_few_images(tune):
    _, out, _, run = tune("--train-images", "20")
    assert "20 training and " in out
    assert run.metrics()[-1]["kind"] == "test"


def test_quick_trains_for_one_epoch(tune, monkeypatch):
    monkeypatch.setitem(finetune.QUICK, "train_images", 32)
    status, out, _, _ = tune("--quick")
    assert status == 0
    assert "32 training and " in out


def test_an_interrupted_fine_tuning_run_is_resumed_bit_for_bit(tune, monkeypatch, capsys):
    flags = ("--epochs", "2", "--image-size", "12", "--trainable", "attention", "--lr", "0.05")
    *_, whole = tune(*flags)
    expected = load_checkpoint(whole.last).weights
    train_step = Trainer._train_step

    def stop_after(self, *args):
        train_step(self, *args)
        if self.step == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "_train_step", stop_after)
    status, _, _, run = tune(*flags)
    assert status == 130
    monkeypatch.setattr(Trainer, "_train_step", train_step)
    assert train(["--resume", str(run.path)]) == 0
    found = load_checkpoint(run.last)
    for name, array in expected.items():
        np.testing.assert_array_equal(array, found.weights[name])
    assert found.state["mean"] == load_checkpoint(whole.last).state["mean"]


def test_more_images_per_class_than_available_are_refused(tune):
    """80 images in four classes; none is held out, as there are no weights to choose between."""
    status, out, error, run = tune("--few-shot", "1", "100000")
    assert status == 2
    assert re.fullmatch(
        r"error: few_shot is 100000; expected at most 20 images per class: class "
        r"(red|green|blue|plain) has no more training images\n",
        error,
    )
    assert "per class:" not in out
    assert run is None


def test_few_shot_evaluation(tune):
    status, out, _, run = tune("--few-shot", "1", "5")
    assert status == 0
    rows = json.loads((run.path / "few_shot.json").read_text(encoding="utf-8"))
    assert [row["shots"] for row in rows] == [1, 5]
    for row in rows:
        assert len(row["accuracy"]) == DRAWS
        assert len(row["neighbours"]) == DRAWS
        assert all(0 <= value <= 1 for value in row["accuracy"] + row["neighbours"])
        assert f"{np.mean(row['accuracy']):.2%}" in out
    assert np.mean(rows[1]["accuracy"]) > 0.4, "a linear classifier recognizes the tints"
    assert np.mean(rows[1]["neighbours"]) > 0.4, "and by their neighbors"
    assert (run.path / "few_shot.png").exists()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--dim 32", "dim is 32, but 16 in the run to start from"),
        ("--image-size 10", "patch_size 4 does not divide"),
        ("--train-images 1000", "1000 images requested"),
    ],
)
def test_user_errors_are_reported(tune, flags, words):
    status, _, err, run = tune(*flags.split())
    assert status == 2
    assert words in err
    assert re.fullmatch(r"error: .+\n", err)
    assert run is None


def test_a_missing_run_is_reported(tune, tmp_path):
    status, _, err, _ = tune(start=tmp_path / "nowhere")
    assert status == 2
    assert "no such directory" in err


@pytest.mark.parametrize("flags", [[], ["--from"], ["--from=x", "--from"]])
def test_the_flag_from_is_required(capsys, flags):
    with pytest.raises(SystemExit) as stop:
        finetune.run(flags)
    assert stop.value.code == 2
    printed = capsys.readouterr().err
    assert "--from" in printed
    assert "minivit finetune --help" in printed
