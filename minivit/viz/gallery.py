"""Galleries: pictures with what a model says of them. Pictures are uint8 (channels, H, W)."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from minivit.viz.style import BLUE, GREY, ORANGE, Figure, bare, panels, shortened, show_picture

COLUMNS = 8
SIDE = 1.35
"""Inches of a picture."""
LONGEST, LONGEST_BELOW = 22, 28
"""Letters that fit above a picture and, smaller, below it."""


def gallery_figure(
    pictures: np.ndarray,
    probs: np.ndarray,
    class_names: Sequence[str],
    labels: Sequence[int] | np.ndarray | None = None,
) -> Figure:
    """Pictures with what the model says of them, in blue where it is right and orange where not.

    Args:
        probs: (N, K). labels: (N,), or None where nobody knows.
    """
    columns = min(len(pictures), COLUMNS)
    rows = -(-len(pictures) // columns)
    figure, axes = panels(rows, columns, SIDE, above=0.4 * rows)
    for i, one in enumerate(axes.flat[: len(pictures)]):
        show_picture(one, pictures[i])
        best = int(probs[i].argmax())
        text, colour = f"{class_names[best]} {probs[i, best]:.0%}", "black"
        if labels is not None:
            right = best == labels[i]
            colour = BLUE if right else ORANGE
            text += "" if right else f"\n({class_names[labels[i]]})"
        one.set_title(text, fontsize=8, color=colour, pad=3)
    return figure


class Judged(NamedTuple):
    """Pictures (N, channels, H, W), their names and labels (N,), and the two most probable classes
    with their probabilities (N, 2), as `engine.evaluation.Answers` has them."""

    pictures: np.ndarray
    names: Sequence[str]
    labels: np.ndarray
    classes: np.ndarray
    probs: np.ndarray


def judged_figure(groups: Mapping[str, Judged], class_names: Sequence[str]) -> Figure:
    """Pictures with their two most probable classes, in blue where the model is right; where it is
    not, in orange and with the true class. Below each its name.

    groups: by what to write above them; at least one.
    """
    rows = [-(-len(one.labels) // COLUMNS) for one in groups.values()]
    height, width = next(iter(groups.values())).pictures.shape[-2:]
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
    show_picture(axes, judged.pictures[i])
    lines = [
        f"{shortened(class_names[k], LONGEST - 5)} {p:.0%}"
        for k, p in zip(judged.classes[i], judged.probs[i], strict=True)
    ]
    label = judged.labels[i]
    right = judged.classes[i, 0] == label
    lines += [] if right else [f"true: {shortened(class_names[label], LONGEST - 6)}"]
    axes.set_title("\n".join(lines), fontsize=8, color=BLUE if right else ORANGE, pad=3)
    name = shortened(judged.names[i], LONGEST_BELOW, end=1.0)
    axes.set_xlabel(name, fontsize=6, color=GREY, labelpad=2)
