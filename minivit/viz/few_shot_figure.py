"""A few-shot curve, as a figure and a file."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from minivit.files import write_atomically
from minivit.viz.save import save_figure
from minivit.viz.style import BLUE, ORANGE, Figure


def save_few_shot(rows: list[dict[str, Any]], num_classes: int, folder: Path) -> None:
    """Write few_shot.json and few_shot.png; rows: from `engine.few_shot.few_shot_curve`."""
    write_atomically(folder / "few_shot.json", json.dumps(rows, indent=2).encode())
    save_figure(few_shot_figure(rows, num_classes), folder / "few_shot.png")


def few_shot_figure(rows: list[dict[str, Any]], num_classes: int) -> Figure:
    """Test accuracy against images per class, of the linear classifier and of nearest neighbors:
    one dot per random choice of images, and their mean.
    """
    figure = Figure(figsize=(4.8, 3.4), layout="constrained")
    axes = figure.subplots()
    shots = [row["shots"] for row in rows]
    for name, color, label in (
        ("accuracy", BLUE, "linear classifier"),
        ("neighbours", ORANGE, "nearest neighbors"),
    ):
        for row in rows:
            percent = [100 * value for value in row[name]]
            axes.plot([row["shots"]] * len(percent), percent, "o", color=color, ms=3, alpha=0.5)
        axes.plot(shots, [100 * np.mean(row[name]) for row in rows], color=color, label=label)
    axes.axhline(100 / num_classes, color="0.6", ls="--", lw=1, label="chance")
    axes.set_xscale("log")
    axes.set_xticks(shots, [str(count) for count in shots])
    axes.set_xlabel("images per class")
    axes.set_ylabel("test accuracy")
    axes.yaxis.set_major_formatter("{x:.0f} %")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    return figure
