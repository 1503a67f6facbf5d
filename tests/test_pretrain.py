"""`minivit.pretrain`: it learns, resumes, draws figures, and its result can be fine-tuned."""

from pathlib import Path

import numpy as np
import pytest
import tiny

from minivit.commands import finetune, pretrain
from minivit.commands.cli import guarded
from minivit.commands.train import run as train
from minivit.data import Dataset, Split
from minivit.engine import Run, Trainer, load_model
from minivit.engine.checkpoint import load_checkpoint
from minivit.errors import UserError


def stripes(num_train=96, num_test=16):
    """Each image has a single color, so a hidden patch looks like its neighbors."""
    rng = np.random.default_rng(0)

    def split(count):
        colors = 40 * rng.integers(0, 2, (count, 3, 1, 1)) + 60
        return Split(np.broadcast_to(colors, (count, 3, 8, 8)).astype(np.uint8),
                     np.arange(count) % 4)  # fmt: skip

    return Dataset("Stripes", split(num_train), split(num_test), tiny.NAMES)


@pytest.fixture
def learn(tmp_path, monkeypatch, capsys):
    """Run it on the stripes; returns status, output and the run."""
    monkeypatch.setattr("minivit.data.shapes.load", stripes)
    monkeypatch.chdir(tmp_path)

    def run(*flags):
        capsys.readouterr()
        pretext = [] if "--pretext" in flags else ["--pretext", "colour"]
        argv = [*tiny.FLAGS, *pretext, *flags]
        status = guarded(lambda: pretrain.run(argv))
        captured = capsys.readouterr()
        runs = sorted(Path("runs").iterdir()) if Path("runs").exists() else []
        return status, captured.out + captured.err, Run(runs[-1]) if runs else None

    return run


@pytest.mark.parametrize("pretext", ["colour", "colours", "pixels"])
def test_it_learns_and_draws(learn, pretext):
    status, out, run = learn("--pretext", pretext, "--epochs", "12", "--lr", "1e-2")
    assert status == 0
    losses = [line["val_loss"] for line in run.metrics() if line["kind"] == "epoch"]
    assert losses[-1] < 0.7 * losses[0]
    assert (run.path / "patches.png").exists()
    assert not (run.path / "confusion.png").exists()
    assert ("variance" if pretext == "pixels" else "hidden patches' colors") in out
    found = load_checkpoint(run.best)
    assert not found.weights["head.weight"].any(), "the labels were not looked at"


def test_the_default_is_the_papers_task_with_the_recipe_of_the_data_set(learn, monkeypatch):
    monkeypatch.setattr(Trainer, "fit", lambda self: False)
    flags = ["--dataset", "shapes", "--image-size", "8", "--num-classes", "4", "--batch-size", "16"]
    assert pretrain.run(flags) == 130
    (path,) = Path("runs").iterdir()
    config = Run(path).read_config()
    assert (config.pretext, config.epochs, config.optimizer) == ("colour", 10, "muon")
    assert pretrain.run([*flags, "--quick"]) == 130
    assert Run(sorted(Path("runs").iterdir())[-1]).read_config().epochs == 1


def test_an_interrupted_run_is_resumed_bit_for_bit(learn, monkeypatch):
    *_, whole = learn()
    train_step = Trainer._train_step

    def stop_after(self, *args):
        train_step(self, *args)
        if self.step == 6:
            raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "_train_step", stop_after)
    status, _, run = learn()
    assert status == 130
    monkeypatch.setattr(Trainer, "_train_step", train_step)
    assert train(["--resume", str(run.path)]) == 0
    expected = load_checkpoint(whole.last).weights
    for name, array in load_checkpoint(run.last).weights.items():
        np.testing.assert_array_equal(array, expected[name])


def test_fine_tuning_uses_the_encoder(learn):
    *_, run = learn("--epochs", "1")
    flags = ["--from", str(run.path), "--dataset", "shapes", "--lr", "0", "--epochs", "1"]
    assert finetune.run([*flags, "--batch-size", "16", "--threads", "1"]) == 0
    tuned = Run(sorted(Path("runs").iterdir())[-1])
    before, after = load_checkpoint(run.best).weights, load_checkpoint(tuned.last).weights
    assert set(before) - set(after) == {"mask_token", "decoder.weight", "decoder.bias"}
    for name, array in after.items():
        np.testing.assert_array_equal(array, before[name])


def test_a_model_without_classes_is_refused(learn):
    *_, run = learn("--epochs", "1")
    with pytest.raises(UserError, match=r"minivit finetune --from"):
        load_model(run.path)
