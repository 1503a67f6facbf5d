"""Galleries: images with a model's predictions. Images are uint8 (channels, H, W)."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from minivit.viz.style import (
    GRAY,
    Figure,
    bare,
    headline,
    panels,
    prediction_color,
    prediction_text,
    shortened,
    show_image,
)

COLUMNS = 8
SIDE = 1.35
"""Size of an image in inches."""
MAX_LETTERS, MAX_LETTERS_BELOW = 22, 28
"""Number of letters that fit above an image and, in a smaller font, below it."""


def gallery_figure(
    images: np.ndarray,
    probs: np.ndarray,
    class_names: Sequence[str],
    labels: Sequence[int] | np.ndarray | None = None,
) -> Figure:
    """Images with the model's predictions, in blue if right, in orange with a cross if wrong.

    Args:
        probs: (N, K). labels: (N,), or None if unknown.
    """
    columns = min(len(images), COLUMNS)
    rows = -(-len(images) // columns)
    figure, axes = panels(rows, columns, SIDE, top=0.3 + 0.4 * rows)
    for i, ax in enumerate(axes.flat[: len(images)]):
        show_image(ax, images[i])
        best = int(probs[i].argmax())
        correct = None if labels is None else bool(best == labels[i])
        text = prediction_text(class_names[best], probs[i, best], correct, MAX_LETTERS)
        if labels is not None and not correct:
            text += f"\n{_true_class(class_names[labels[i]])}"
        ax.set_title(text, fontsize=8, color=prediction_color(correct), pad=3)
    headline(figure, "Predictions and their probabilities")
    return figure


class Judged(NamedTuple):
    """Images (N, channels, H, W), their names and labels (N,), and the two most probable classes
    with their probabilities (N, 2), as in `engine.evaluation.Predictions`.
    """

    images: np.ndarray
    names: Sequence[str]
    labels: np.ndarray
    classes: np.ndarray
    probs: np.ndarray


def judged_figure(groups: Mapping[str, Judged], class_names: Sequence[str]) -> Figure:
    """Images with their two most probable classes, in blue if the prediction is right; if not, in
    orange with a cross and the true class. Each image's name is below it.

    groups: heading -> images; at least one group.
    """
    rows = [-(-len(one.labels) // COLUMNS) for one in groups.values()]
    height, width = next(iter(groups.values())).images.shape[-2:]
    heights = [0.35 + count * (SIDE * height / width + 0.65) for count in rows]
    figure = Figure(figsize=(COLUMNS * (SIDE + 0.1), sum(heights)))
    figure.set_layout_engine("constrained", w_pad=0.03, h_pad=0.03, wspace=0.02, hspace=0.0)
    parts = figure.subfigures(len(groups), 1, squeeze=False, height_ratios=heights)[:, 0]
    for part, count, (title, judged) in zip(parts, rows, groups.items(), strict=True):
        part.suptitle(title, fontsize=10, x=0.01, ha="left")
        axes = part.subplots(count, COLUMNS, squeeze=False)
        for one in axes.flat:
            bare(one)
        for i, one in enumerate(axes.flat[: len(judged.labels)]):
            _show_judged(one, judged, i, class_names)
    return figure


def _show_judged(axes: Any, judged: Judged, i: int, class_names: Sequence[str]) -> None:
    show_image(axes, judged.images[i])
    label = judged.labels[i]
    correct = bool(judged.classes[i, 0] == label)
    lines = [
        prediction_text(class_names[k], p, None if rank else correct, MAX_LETTERS)
        for rank, (k, p) in enumerate(zip(judged.classes[i], judged.probs[i], strict=True))
    ]
    lines += [] if correct else [_true_class(class_names[label])]
    axes.set_title("\n".join(lines), fontsize=8, color=prediction_color(correct), pad=3)
    name = shortened(judged.names[i], MAX_LETTERS_BELOW, end=1.0)
    axes.set_xlabel(name, fontsize=6, color=GRAY, labelpad=2)


def _true_class(name: str) -> str:
    return f"true: {shortened(name, MAX_LETTERS - 6)}"
