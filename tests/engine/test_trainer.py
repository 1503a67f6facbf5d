"""The training loop: reproducible, correct in its use of validation and test sets, and able to
learn."""

import dataclasses
import math

import numpy as np
import pytest
import tiny

from minivit.data import Dataset, Split
from minivit.engine import load_checkpoint
from minivit.engine.evaluation import Evaluation
from minivit.errors import UserError
from minivit.viz import curves_figure

CLOCK = ("seconds", "rate")


def untimed(run):
    """The metrics of a run without those that depend on the clock."""
    return [{k: v for k, v in line.items() if k not in CLOCK} for line in run.metrics()]


def record_batches(training):
    """Records the (images, targets) of each step of a run."""
    batches, train_step = [], training._train_step

    def step(stepper, batch):
        batches.append(batch)
        train_step(stepper, batch)

    training._train_step = step
    return batches


def weights(training):
    flat = training.model.flat
    return {name: view.copy() for name, view in flat.views(flat.data).items()}


NOISY = {
    "vit": {"dropout": 0.1, "drop_path": 0.1},
    "augmentation": {"crop": 1, "flip": 0.5, "mixup": 0.5},
    "ema_decay": 0.9,
    "threads": 2,
}


@pytest.mark.parametrize("changes", [{}, NOISY])
def test_the_same_seed_repeats_a_run_and_another_seed_changes_it(tmp_path, changes):
    runs = [tiny.trainer(tmp_path, seed=seed, **changes) for seed in (5, 5, 6)]
    tests = [(run.fit(), run.test())[1] for run in runs]
    bits = [run.model.flat.data.tobytes() for run in runs]
    assert bits[0] == bits[1] != bits[2]
    assert untimed(runs[0].run) == untimed(runs[1].run) != untimed(runs[2].run)
    assert tests[0].loss == tests[1].loss != tests[2].loss


def test_on_metrics_gets_the_same_values_as_metrics_jsonl(tmp_path):
    lines = []
    training = tiny.trainer(tmp_path)
    training.on_metrics = lines.append
    training.fit()
    training.test()
    assert [line["kind"] for line in lines].count("epoch") == 3
    assert lines == training.run.metrics()


def test_32_images_are_memorized(tmp_path):
    """The labels are unrelated to the images."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (33, 3, 8, 8), dtype=np.uint8)
    noise = Split(images, np.arange(33) % 4)
    data = Dataset("Noise", noise, noise, tiny.NAMES)
    training = tiny.trainer(
        tmp_path, data, val_fraction=0.0, batch_size=32, epochs=80, lr=1e-2, warmup=5, threads=2
    )
    assert len(training.val) == 0
    training.fit()
    last = training.run.metrics()[-1]
    assert last["kind"] == "epoch"
    assert last["train_accuracy"] == 1.0
    assert last["train_loss"] < 0.1


def test_every_parameter_learns(tmp_path):
    """Each moves by more than a rounding error, and the class token starts from zero."""
    training = tiny.trainer(tmp_path, weight_decay=0.0)
    before = weights(training)
    assert not before["cls_token"].any()
    training.fit()
    for name, after in weights(training).items():
        assert np.abs(after - before[name]).max() > 1e-3, name


def test_the_validation_images_are_never_trained_on(tmp_path):
    labels = np.arange(80) % 4
    images = (
        np.arange(80, dtype=np.uint8)[:, None, None, None].repeat(3, 1).repeat(8, 2).repeat(8, 3)
    )
    data = Dataset("Numbered", Split(images, labels), tiny.split(4, 0), tiny.NAMES)
    training = tiny.trainer(tmp_path, data)
    batches = record_batches(training)
    training.fit()
    mean, std = (
        np.reshape(v, (3, 1, 1)) for v in (training.statistics.mean, training.statistics.std)
    )
    trained = {round(float(p)) for x, _ in batches for p in ((x * std + mean) * 255)[:, 0, 0, 0]}
    held_out = set(training.val.images[:, 0, 0, 0].tolist())
    assert len(held_out) == 16
    assert trained == set(range(80)) - held_out
    np.testing.assert_allclose(training.statistics.mean, np.mean(sorted(trained)) / 255, rtol=1e-9)


def test_another_seed_holds_out_other_images(tmp_path):
    one, same, other = (tiny.trainer(tmp_path, seed=seed).val.images for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_the_validation_split_keeps_class_proportions_on_request(tmp_path):
    options = {"val_fraction": 0.25, "stratify": True}
    for seed in range(3):
        held_out = tiny.trainer(tmp_path, seed=seed, **options).val
        assert held_out.class_counts(4).tolist() == [5, 5, 5, 5]


class CountingSplit(Split):
    """Counts how often its images are read."""

    reads = 0

    def __getattribute__(self, name):
        if name == "images":
            CountingSplit.reads += 1
        return super().__getattribute__(name)


def test_the_test_split_is_read_once_at_the_end(tmp_path):
    whole = tiny.dataset()
    watched = CountingSplit(whole.test.images, whole.test.labels)
    training = tiny.trainer(tmp_path, Dataset("Watched", whole.train, watched, tiny.NAMES))
    assert training.dataset.digest  # of all bytes, and cached: says nothing about a model
    CountingSplit.reads = 0
    training.fit()
    assert CountingSplit.reads == 0
    assert {line["kind"] for line in training.run.metrics()} == {"step", "epoch"}
    training.test()
    assert CountingSplit.reads == 1
    assert [line["kind"] for line in training.run.metrics()].count("test") == 1


def mock_accuracies(monkeypatch, accuracies):
    """Make validation return these accuracies; returns the weights that were evaluated."""
    remaining, evaluated = iter(accuracies), []

    def evaluate(logits_of, split, statistics, num_classes):
        evaluated.append(logits_of.__self__.replicas[0].flat.data.copy())
        return Evaluation(next(remaining), 1.0, np.zeros((4, 4), int))

    monkeypatch.setattr("minivit.engine.objective.evaluate", evaluate)
    return evaluated


def flat_weights(training, path):
    flat = training.model.flat
    found = np.zeros_like(flat.data)
    for name, view in flat.views(found).items():
        view[...] = load_checkpoint(path).weights[name]
    return found


def test_the_best_weights_are_chosen_by_validation(tmp_path, monkeypatch):
    training = tiny.trainer(tmp_path, epochs=4)
    evaluated = mock_accuracies(monkeypatch, [0.2, 0.9, 0.5, 0.9, 0.1])
    training.fit()
    assert training.best_accuracy == 0.9
    np.testing.assert_array_equal(flat_weights(training, training.run.best), evaluated[3])
    training.test()
    np.testing.assert_array_equal(evaluated[4], evaluated[3])


def test_worse_weights_are_not_kept(tmp_path, monkeypatch):
    training = tiny.trainer(tmp_path, epochs=4)
    evaluated = mock_accuracies(monkeypatch, [0.2, 0.9, 0.5, 0.8, 0.1])
    training.fit()
    np.testing.assert_array_equal(flat_weights(training, training.run.best), evaluated[1])
    np.testing.assert_array_equal(flat_weights(training, training.run.last), evaluated[3])
    training.test()
    np.testing.assert_array_equal(evaluated[4], evaluated[1])


@pytest.mark.parametrize("changes", [{}, {"ema_decay": 0.5}])
def test_without_validation_the_last_weights_are_used(tmp_path, changes):
    training = tiny.trainer(tmp_path, val_fraction=0.0, **changes)
    assert (len(training.batches.split), len(training.val)) == (80, 0)
    training.fit()
    last = load_checkpoint(training.run.last)
    expected = last.groups.get("ema", last.weights)
    for name, array in load_checkpoint(training.run.best).weights.items():
        np.testing.assert_array_equal(array, expected[name])
    assert not [line for line in training.run.metrics() if "val_loss" in line]
    assert curves_figure(training.run.metrics())
    training.test()
    assert training.run.metrics()[-1]["kind"] == "test"


def test_with_an_average_the_best_weights_are_averaged_ones(tmp_path, monkeypatch):
    training = tiny.trainer(tmp_path, epochs=1, ema_decay=0.5)
    evaluated = mock_accuracies(monkeypatch, [0.5, 0.5])
    trained, train_step = [training.model.flat.data.copy()], training._train_step

    def step(*args):
        train_step(*args)
        trained.append(training.model.flat.data.copy())

    training._train_step = step
    training.fit()
    average = trained[0].astype(np.float64)
    for t, current in enumerate(trained[1:], 1):
        decay = min(0.5, (1 + t) / (10 + t))
        average = decay * average + (1 - decay) * current
    np.testing.assert_allclose(evaluated[0], average, rtol=1e-4, atol=1e-7)
    np.testing.assert_array_equal(flat_weights(training, training.run.best), evaluated[0])
    np.testing.assert_array_equal(flat_weights(training, training.run.last), trained[-1])
    np.testing.assert_array_equal(training.model.flat.data, trained[-1])
    assert not np.allclose(evaluated[0], trained[-1])
    training.test()
    np.testing.assert_array_equal(evaluated[1], evaluated[0])


def test_the_optimizer_gets_the_schedules_learning_rate(tmp_path):
    training = tiny.trainer(
        tmp_path, lr=0.1, final_lr=0.01, warmup=0.5, schedule="cosine", log_every=1, clip_norm=None
    )
    rates, optimizer_step = [], training.optimizer.step
    training.optimizer.step = lambda lr, run: (rates.append(lr), optimizer_step(lr, run))
    training.fit()
    falling = [0.01 + 0.09 * (1 + math.cos(math.pi * t / 10)) / 2 for t in range(10)]
    np.testing.assert_allclose(rates, [0.05, 0.1, *falling])
    logged = [line["lr"] for line in training.run.metrics() if line["kind"] == "step"]
    assert logged == rates


@pytest.mark.parametrize(("clip", "low", "high"), [(0.1, 0.0999, 0.1001), (None, 0.2, math.inf)])
def test_gradients_are_clipped_before_the_step(tmp_path, clip, low, high):
    training = tiny.trainer(tmp_path, epochs=1, clip_norm=clip)
    norms, optimizer_step = [], training.optimizer.step

    def step(lr, run):
        norms.append(float(np.linalg.norm(training.model.flat.grad)))
        optimizer_step(lr, run)

    training.optimizer.step = step
    training.fit()
    assert low <= norms[0] <= high


def test_metrics_contain_a_line_per_log_step_and_per_epoch(tmp_path):
    training = tiny.trainer(tmp_path, epochs=2, log_every=3)
    losses, read = [], training._read_losses

    def spy():
        losses.extend((float(r.loss), int(r.correct)) for r in training.meter._pending)
        read()

    training._read_losses = spy
    training.fit()
    lines = training.run.metrics()
    assert [(line["kind"], line["step"]) for line in lines] == [
        ("step", 3),
        ("epoch", 4),
        ("step", 6),
        ("epoch", 8),
    ]
    means = [np.mean(losses[start:stop], 0) for start, stop in ((0, 3), (0, 4), (3, 6), (4, 8))]
    for line, (loss, correct) in zip(lines, means, strict=True):
        prefix = "train_" if line["kind"] == "epoch" else ""
        assert line[f"{prefix}loss"] == pytest.approx(loss)
        assert line[f"{prefix}accuracy"] == pytest.approx(correct / 16)
    assert lines[0]["epoch"] == 0.75
    assert lines[3]["epoch"] == 2
    assert 0 <= lines[3]["val_accuracy"] <= 1
    assert lines[3]["val_loss"] > 0


def test_the_model_generalizes_to_unseen_images(tmp_path):
    training = tiny.trainer(tmp_path, epochs=15, lr=1e-2, threads=2)
    training.fit()
    assert training.test().accuracy >= 0.9


@pytest.mark.parametrize(
    ("vit", "words"),
    [
        ({"image_size": 16}, r"image_size \(height\) is 16, but Tints has 8"),
        ({"image_size": (8, 16)}, r"image_size \(width\) is 16, but Tints has 8"),
        ({"num_classes": 5}, "num_classes is 5, but Tints has 4; set it to 4"),
        ({"in_channels": 1}, "in_channels is 1, but Tints has 3"),
    ],
)
def test_a_model_that_does_not_fit_the_images_is_refused(tmp_path, vit, words):
    with pytest.raises(UserError, match=words) as error:
        tiny.trainer(tmp_path, vit=vit)
    assert "\n" not in str(error.value)


def test_a_validation_split_that_takes_all_images_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"val_fraction 0\.99 leaves none of the"):
        tiny.trainer(tmp_path, tiny.dataset(num_train=20), val_fraction=0.99)


def test_between_validations_only_training_metrics_are_logged(tmp_path):
    training = tiny.trainer(tmp_path, epochs=5, eval_every=2)
    assert training.fit()
    epochs = [line for line in training.run.metrics() if line["kind"] == "epoch"]
    assert [line["epoch"] for line in epochs if "val_accuracy" in line] == [2, 4, 5]
    assert all("train_loss" in line for line in epochs)
    assert training.best_accuracy == max(line.get("val_accuracy", 0) for line in epochs)
    curves_figure(training.run.metrics())


def test_balance_is_applied_to_the_batches(tmp_path):
    data = tiny.dataset()
    rows = np.flatnonzero((data.train.labels != 0) | (np.arange(80) < 20))
    data = dataclasses.replace(data, train=data.train[rows])
    for balance in (False, True):
        batches = tiny.trainer(tmp_path, data, balance=balance).batches
        drawn = [batches.split.labels[batches.rows(step)] for step in range(batches.per_epoch)]
        assert (np.ptp(np.bincount(np.concatenate(drawn))) <= 1) == balance
