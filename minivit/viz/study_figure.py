"""A study's results: table and figure."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from minivit.files import write_atomically
from minivit.viz.save import save_figure
from minivit.viz.style import BLUE, GREEN, ORANGE, Figure


def save_study(folder: Path, rows: list[dict[str, Any]], study: str) -> None:
    """Write table.json, table.md and figure.png with the results so far."""
    write_atomically(folder / "table.json", json.dumps(rows, indent=2).encode())
    write_atomically(folder / "table.md", markdown(rows).encode())
    save_figure(study_figure(rows, study), folder / "figure.png")


def markdown(rows: list[dict[str, Any]]) -> str:
    """A row per configuration: mean and standard deviation over the seeds."""
    lines = ["| | | test accuracy | seeds |", "|---|---|---|---|"]
    for row in rows:
        percent = 100 * np.array(row["accuracy"])
        spread = f" ± {percent.std():.2f}" if len(percent) > 1 else ""
        value = f"{percent.mean():.2f}{spread} %"
        lines.append(f"| {row['group']} | {row['value']} | {value} | {len(percent)} |")
    return "\n".join(lines) + "\n"


def study_figure(rows: list[dict[str, Any]], study: str) -> Figure:
    """Accuracy against what was varied: a curve per group if that is a number, else a row per
    configuration.
    """
    curves = study in ("data-size", "pooling")
    height = 3.6 if curves else max(2.4, 0.8 + 0.28 * len(rows))
    figure = Figure(figsize=(5.6, height), layout="constrained")
    axes = figure.subplots()
    groups = list(dict.fromkeys(row["group"] for row in rows))
    for group, color in zip(groups, (BLUE, GREEN, ORANGE), strict=False):
        group_rows = [row for row in rows if row["group"] == group]
        values = [row["value"] for row in group_rows]
        means = [100 * np.mean(row["accuracy"]) for row in group_rows]
        if curves:
            positions = [float(value) for value in values]
            axes.plot(positions, means, "-", color=color, label=group)
            for x, row in zip(positions, group_rows, strict=True):
                axes.plot([x] * len(row["accuracy"]), 100 * np.array(row["accuracy"]), "o",
                          color=color, ms=3, alpha=0.6)  # fmt: skip
            axes.set_xscale("log")
            axes.set_xticks(positions, values)
            axes.minorticks_off()
            axes.set_xlabel("training images" if study == "data-size" else "learning rate")
            axes.set_ylabel("test accuracy (%)")
            axes.legend(frameon=False, fontsize=8)
            continue
        heights = np.arange(len(group_rows))[::-1]
        axes.plot(means, heights, "|", color="black", ms=14)
        for y, row in zip(heights, group_rows, strict=True):
            percent = 100 * np.array(row["accuracy"])
            axes.plot(percent, [y] * len(percent), "o", color=color, ms=4, alpha=0.6)
        axes.set_yticks(heights, values)
        axes.set_xlabel("test accuracy (%)")
    axes.set_title(f"Study: {study}", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    return figure
