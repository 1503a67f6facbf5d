"""An interrupted run is resumed bit for bit; a diverging run leaves a good checkpoint."""

import dataclasses
import errno
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
import tiny

from minivit.commands.train import RESUMABLE
from minivit.engine import TrainConfig, Trainer, load_checkpoint
from minivit.engine.checkpoint import save_checkpoint
from minivit.engine.parallel import Layout
from minivit.engine.trainer import MAY_CHANGE
from minivit.errors import UserError
from minivit.functional import cross_entropy_forward

STEPS = 12  # of a complete run
RECIPES = {
    "adamw": {},
    "adam": {"optimizer": "adam", "threads": 2, "micro_batch": 3},
    "sgd": {"optimizer": "sgd", "nesterov": True, "lr": 0.05},
    "RMSNorm, LayerScale": {"vit": {"norm": "rmsnorm", "layer_scale": 0.1}},
    "balance": {"balance": True},
    "everything": {
        "vit": {"dropout": 0.1, "attn_dropout": 0.1, "drop_path": 0.1},
        "augmentation": {"crop": 1, "flip": 0.5, "mixup": 0.5, "erasing": 0.3},
        "ema_decay": 0.9,
    },
}


def halt_after(training, step, action):
    """Call `action` once, right after a step."""
    train_step = training._train_step

    def wrapped(*args):
        train_step(*args)
        if training.step == step:
            action()

    training._train_step = wrapped


class PowerCutError(Exception):
    """Simulates a power cut."""


def crash():
    raise PowerCutError


def final_state(training):
    """Everything that must be equal: weights, moments, average, metrics."""
    arrays = [training.model.flat.data, *training.optimizer.moments.values()]
    arrays += [training.ema.average] if training.ema else []
    lines = [
        {k: v for k, v in line.items() if k not in ("seconds", "rate")}
        for line in training.run.metrics()
    ]
    return [array.tobytes() for array in arrays], lines, training.optimizer.steps


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize(("crash_at", "saved_at"), [(9, 8), (7, 6), (5, 4), (11, 10)])
def test_a_resumed_run_ends_with_the_same_bits(tmp_path, recipe, crash_at, saved_at):
    """Saved at the end of an epoch (4, 8) or in the middle (2, 6, 10), with the run continuing past
    that."""
    changes = {"save_every": 2, **RECIPES[recipe]}
    uninterrupted = tiny.trainer(tmp_path, **changes)
    uninterrupted.fit()
    assert uninterrupted.step == STEPS

    interrupted = tiny.trainer(tmp_path, **changes)
    halt_after(interrupted, crash_at, crash)
    with pytest.raises(PowerCutError):
        interrupted.fit()
    resumed = Trainer(interrupted.config, tiny.dataset(), interrupted.run)
    resumed.resume()
    assert resumed.step == saved_at
    assert resumed.fit()
    assert final_state(resumed) == final_state(uninterrupted)
    assert resumed.best_accuracy == uninterrupted.best_accuracy
    for name in ("last", "best"):
        one, other = (load_checkpoint(getattr(t.run, name)) for t in (uninterrupted, resumed))
        assert {k: v.tobytes() for k, v in one.weights.items()} == {
            k: v.tobytes() for k, v in other.weights.items()
        }
    assert resumed.test().loss == uninterrupted.test().loss


def test_resuming_does_not_count_the_time_in_between(tmp_path):
    training = tiny.trainer(tmp_path)
    training.fit()
    resumed = Trainer(training.config, tiny.dataset(), training.run)
    resumed.resume()
    assert resumed.finished
    assert resumed.seconds == pytest.approx(training.seconds, abs=0.1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_run_after_the_step_and_saves(tmp_path, number):
    before = signal.getsignal(number)
    training = tiny.trainer(tmp_path)
    halt_after(training, 6, lambda: signal.raise_signal(number))
    assert training.fit() is False
    assert training.step == 6
    assert load_checkpoint(training.run.last).state["step"] == 6
    assert signal.getsignal(number) == before


def test_a_second_signal_ends_at_once(tmp_path):
    training = tiny.trainer(tmp_path)
    # a process that a shell starts in the background ignores Ctrl-C, and so would this one
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def twice():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    halt_after(training, 6, twice)
    try:
        with pytest.raises(KeyboardInterrupt):
            training.fit()
    finally:
        signal.signal(signal.SIGINT, before)
    assert load_checkpoint(training.run.last).state["step"] == 4


def test_a_signal_in_the_last_step_lets_the_run_finish(tmp_path):
    training = tiny.trainer(tmp_path)
    halt_after(training, STEPS, lambda: signal.raise_signal(signal.SIGINT))
    assert training.fit() is True


def test_a_resumed_run_must_have_the_same_length(tmp_path):
    training = tiny.trainer(tmp_path)
    training.fit()
    longer = Trainer(tiny.config(epochs=4), tiny.dataset(), training.run)
    with pytest.raises(UserError, match="epochs is 4, the run began with 3"):
        longer.resume()
    remove_keys(training.run, "config")
    with pytest.raises(UserError, match="run of 12 steps, this one has 16"):
        longer.resume()


def remove_keys(run, *names):
    """Rewrite the checkpoint as older versions did, without these keys."""
    checkpoint = load_checkpoint(run.last)
    for name in names:
        del checkpoint.state[name]
    save_checkpoint(run.last, checkpoint)


def test_a_resumed_run_must_have_the_same_model_and_optimizer(tmp_path):
    training = tiny.trainer(tmp_path)
    training.fit()
    remove_keys(training.run, "config")
    for changes, word in (({"vit": {"depth": 3}}, "blocks.2"), ({"optimizer": "sgd"}, "lacks")):
        other = Trainer(tiny.config(**changes), tiny.dataset(), training.run)
        with pytest.raises(UserError, match=word):
            other.resume()


def assert_valid(training, step):
    """Both checkpoints can be read and contain only finite numbers."""
    for path in (training.run.last, training.run.best):
        checkpoint = load_checkpoint(path)
        for arrays in (checkpoint.weights, *checkpoint.groups.values()):
            assert all(np.isfinite(array).all() for array in arrays.values())
    assert load_checkpoint(training.run.last).state["step"] == step
    assert [p.name for p in training.run.last.parent.iterdir() if "part" in p.name] == []


@pytest.mark.parametrize("save_every", [None, 3])
def test_a_nan_loss_stops_the_run_and_names_the_step(tmp_path, monkeypatch, save_every):
    training = tiny.trainer(tmp_path, save_every=save_every)

    def diverging(logits, targets, smoothing=0.0):
        loss, cache = cross_entropy_forward(logits, targets, smoothing)
        return (loss * np.float32("nan") if training.step == 6 else loss), cache

    monkeypatch.setattr("minivit.engine.objective.cross_entropy_forward", diverging)
    with pytest.raises(UserError, match=r"loss became nan at step 7 \(epoch 2") as error:
        training.fit()
    assert "\n" not in str(error.value)
    assert "--lr" in str(error.value)
    assert str(training.run.path) in str(error.value)
    assert_valid(training, step=save_every * 2 if save_every else 4)


@pytest.mark.parametrize("save_every", [None, 1])
@pytest.mark.parametrize("ema_decay", [None, 0.9])
def test_nan_weights_are_never_saved(tmp_path, save_every, ema_decay):
    """The loss of a step belongs to the weights before it; its update may already have corrupted
    them."""
    training = tiny.trainer(tmp_path, save_every=save_every, ema_decay=ema_decay)
    poisoned = 6 if save_every else 8  # in the middle of an epoch, or its last step
    step = training.optimizer.step

    def poison(lr, run):
        if training.step == poisoned - 1:
            training.model.flat.grad[3] = np.nan
        step(lr, run)

    training.optimizer.step = poison
    with pytest.raises(UserError, match=rf"step {poisoned} \(epoch 2"):
        training.fit()
    assert_valid(training, step=5 if save_every else 4)


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value", "ignore:divide by zero")
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("batch_size", [16, 64])
def test_a_huge_learning_rate_stops_the_run_with_one_line(tmp_path, optimizer, batch_size):
    """Even if the first epoch is a single step, whose own loss is finite."""
    training = tiny.trainer(tmp_path, warmup=0.0, optimizer=optimizer, batch_size=batch_size)
    training.schedule = dataclasses.replace(training.schedule, peak=1e30)
    with pytest.raises(UserError, match=r"became .* at step \d+ ") as error:
        training.fit()
    assert "\n" not in str(error.value)
    if training.run.last.exists():
        assert_valid(training, step=1)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_last_checkpoint_intact(tmp_path, monkeypatch, call):
    training = tiny.trainer(tmp_path)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    halt_after(training, 7, lambda: monkeypatch.setattr(os, call, full))
    with pytest.raises(OSError, match="No space"):
        training.fit()
    monkeypatch.undo()
    assert_valid(training, step=4)
    resumed = Trainer(training.config, tiny.dataset(), training.run)
    resumed.resume()
    assert resumed.fit()


def resumed_after_one_epoch(tmp_path, data=None, **changes):
    """A run stopped after its first epoch, and a trainer that resumes it with changes."""
    interrupted = tiny.trainer(tmp_path, threads=2, micro_batch=3)
    halt_after(interrupted, 5, crash)
    with pytest.raises(PowerCutError):
        interrupted.fit()
    return Trainer(tiny.config(**changes), data or tiny.dataset(), interrupted.run)


def test_workers_and_micro_batch_stay_as_the_run_began(tmp_path, monkeypatch):
    """Even on a machine with a different number of cores and a different cache size."""
    monkeypatch.setattr("minivit.engine.parallel.physical_cores", lambda: 5)
    resumed = resumed_after_one_epoch(tmp_path, threads=None)
    assert resumed.layout == Layout(5, Layout.of(resumed.config.vit).micro_batch)
    assert resumed.resume() == []
    assert resumed.layout == Layout(2, 3)


def test_changes_that_affect_the_last_bits_are_reported(tmp_path, monkeypatch):
    monkeypatch.setattr("minivit.engine.trainer.describe_arithmetic", lambda _: "an abacus")
    resumed = resumed_after_one_epoch(tmp_path, threads=1, micro_batch=4)
    monkeypatch.undo()
    threads, micro_batch, arithmetic = resumed.resume()
    assert threads.startswith("threads was 2, is 1")
    assert micro_batch.startswith("micro_batch was 3, is 4")
    assert arithmetic.startswith("it began with an abacus, this is NumPy")
    assert resumed.layout == Layout(1, 4)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lr": 1e-3}, "lr is 0.001, the run began with 0.003"),
        ({"augmentation": {"flip": 0.5}}, "flip is 0.5, the run began with 0.0"),
        ({"vit": {"dropout": 0.1}}, "dropout is 0.1, the run began with 0.0"),
        ({"eval_every": 2}, "eval_every is 2"),
    ],
)
def test_another_config_is_refused(tmp_path, changes, words):
    with pytest.raises(UserError, match=re.escape(words)):
        resumed_after_one_epoch(tmp_path, **changes).resume()


def test_every_setting_is_fixed_or_says_why_it_may_change():
    fields = {field.name for field in dataclasses.fields(TrainConfig)}
    assert set(RESUMABLE) - {"log"} <= set(MAY_CHANGE) <= fields
    assert not set(MAY_CHANGE) & {"seed", "batch_size", "optimizer", "vit", "augmentation"}


def inverted(data):
    train = dataclasses.replace(data.train, images=255 - data.train.images)
    return dataclasses.replace(data, train=train)


def relabelled(data):
    labels = data.test.labels.copy()
    labels[:2] = labels[1::-1]
    return dataclasses.replace(data, test=dataclasses.replace(data.test, labels=labels))


@pytest.mark.parametrize("swap", [inverted, relabelled])
def test_other_images_or_labels_are_refused(tmp_path, swap):
    other = swap(tiny.dataset())
    assert other.digest != tiny.dataset().digest
    with pytest.raises(UserError, match="not those that the run began with"):
        resumed_after_one_epoch(tmp_path, other).resume()


def test_a_second_run_in_the_same_directory_is_refused(tmp_path):
    run = tiny.trainer(tmp_path).run
    with run.locked():
        script = f"""
from pathlib import Path
from minivit.engine import Run
with Run(Path({str(run.path)!r})).locked():
    print("in")
"""
        second = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, encoding="utf-8"
        )
    assert "another process is training there" in second.stderr
    assert second.stdout == ""
    (run.path / ".config.json.1.part").write_bytes(b"half")
    with run.locked():  # unlocked again; the remains of a killed writer are removed
        assert not list(run.path.glob(".*.part"))
