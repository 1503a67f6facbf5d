"""Figures of a training run: curves, and the confusion matrix or the restored patches."""

from collections.abc import Sequence
from typing import cast

import numpy as np
from matplotlib.colors import PowerNorm

from minivit.engine import Run, Trainer
from minivit.engine.evaluation import Evaluation
from minivit.engine.metrics import KINDS, of_kind
from minivit.engine.patch_prediction import PatchPrediction
from minivit.models import MaskedViT
from minivit.viz.mistakes import save_mistakes
from minivit.viz.restored import patches_figure, restore
from minivit.viz.save import save_figure
from minivit.viz.style import BLUE, GRAY, ORANGE, Figure, percent, shortened

MAX_NUMBERED = 25
MAX_NAMED = 60
MAX_NAME_WIDTH = 20
"""Limits of a confusion matrix: up to how many classes its cells have numbers, how many classes are
named, and how wide a name may be.
"""


def save_curves(run: Run) -> None:
    """Write curves.png of a run."""
    save_figure(curves_figure(run.metrics()), run.path / "curves.png")


def save_test(trainer: Trainer, evaluation: Evaluation) -> str:
    """Write the results of a test to the run's directory: confusion.png and the mistakes, or
    patches.png if the model predicts patches. Returns the files' names.
    """
    dataset = trainer.dataset
    if isinstance(trainer.objective, PatchPrediction):
        model = cast(MaskedViT, trainer.model)
        figure = patches_figure(restore(model, trainer.objective, dataset.test.images[:8]))
        save_figure(figure, trainer.run.path / "patches.png")
        return "patches.png"
    title = f"{dataset.name}, test: {percent(evaluation.accuracy, 1)} correct"
    figure = confusion_figure(cast(np.ndarray, evaluation.confusion), dataset.class_names, title)
    save_figure(figure, trainer.run.path / "confusion.png")
    return f"confusion.png, {save_mistakes(dataset, evaluation, trainer.run.path)}"


def curves_figure(metrics: Sequence[dict]) -> Figure:
    """Loss, accuracy and learning rate per epoch, from the lines of metrics.jsonl."""
    steps, epochs, test = (of_kind(metrics, kind) for kind in KINDS)
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    loss, accuracy, rate = figure.subplots(1, 3)
    for axes, step_key, epoch_key, scale in (
        (loss, "loss", "loss", 1),
        (accuracy, "accuracy", "accuracy", 100),
    ):
        x = [line["epoch"] for line in steps]
        values = [scale * line[step_key] for line in steps]
        axes.plot(x, values, color=BLUE, alpha=0.25, lw=1, label="training, last steps")
        for split, color, name in (("train", BLUE, "training"), ("val", ORANGE, "validation")):
            key = f"{split}_{epoch_key}"  # not every epoch is validated
            x = [line["epoch"] for line in epochs if key in line]
            values = [scale * line[key] for line in epochs if key in line]
            axes.plot(x, values, "o-", ms=3, color=color, label=name)
    accuracy.yaxis.set_major_formatter("{x:.0f} %")
    if test:
        value = 100 * test[-1]["test_accuracy"]
        accuracy.axhline(value, color=GRAY, lw=1, ls="--", label=f"test {percent(value / 100, 2)}")
    rate.plot([line["epoch"] for line in steps], [line["lr"] for line in steps], color=BLUE)
    for axes, title in ((loss, "loss"), (accuracy, "accuracy"), (rate, "learning rate")):
        axes.set_title(title)
        axes.set_xlabel("epoch")
        axes.set_xlim(left=0)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    if epochs:
        loss.legend(frameon=False)
        accuracy.legend(frameon=False, loc="lower right")
    return figure


def confusion_figure(confusion: np.ndarray, class_names: Sequence[str], title: str = "") -> Figure:
    """For each class (row), the percentage that was predicted as each class (column).

    With more than NUMBERED classes, the cells have colors but no numbers, the figure has a fixed
    size, and not every class is named.
    """
    K = len(class_names)
    percentages = 100 * confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    side = max(4.5, 0.62 * min(K, MAX_NUMBERED) + 1.5)
    figure = Figure(figsize=(side, side * 0.95), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(percentages, cmap="Blues", vmin=0, vmax=100, interpolation="nearest")
    named = range(0, K, -(-K // MAX_NAMED))
    names = [shortened(class_names[k], MAX_NAME_WIDTH) for k in named]
    axes.set_xticks(named, names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(named, names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(title)
    axes.spines[:].set_visible(False)
    if K > MAX_NUMBERED:
        image.set_norm(PowerNorm(0.5, 0, 100))  # so that a few percent are visible, too
        figure.colorbar(image, shrink=0.5, format="{x:.0f} %", ticks=[0, 1, 5, 20, 50, 100])
        return figure
    for row, column in np.ndindex(K, K):
        if percentages[row, column] > 0.5:
            color = "white" if percentages[row, column] > 50 else "black"
            text = f"{percentages[row, column]:.0f}"
            axes.text(column, row, text, ha="center", va="center", color=color, fontsize=8)
    return figure
