"""`python -m minivit.study NAME`: trainings that differ in one thing, as the paper's studies.

Each member is a run of its own, in a directory that its name gives; what is finished is not run
again, and what was stopped goes on where it was. A table grows as the members end. They are of the
size of Nano/4, 0.3 million parameters, so that a study takes an hour and not a day.
"""

import dataclasses
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
from matplotlib.figure import Figure

from minivit.cli import as_flags, run_command
from minivit.engine import RECIPES, TrainConfig, train_once
from minivit.engine.checkpoint import write_atomically
from minivit.models.config import preset_fields
from minivit.train import parse_arguments
from minivit.viz import save_figure
from minivit.viz.style import BLUE, GREEN, ORANGE

Study = Literal["data-size", "position", "pooling", "shape", "regularisation"]


@dataclass(frozen=True)
class Options:
    """Train the members of a study one after the other; call it again to go on."""

    study: Annotated[Study, tyro.conf.Positional]
    """data-size: ViT, hybrid and ResNet on more and more pictures (fig. 3). position: none,
    learned, sines, relative (table 8). pooling: class token, mean, sequence, each with several
    learning rates (fig. 9). shape: depth, width and patch size at equal cost (fig. 8).
    regularisation: one at a time."""
    dataset: Literal["cifar10", "shapes"]
    """The pictures."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """A training each."""
    images: int = 100_000
    """Pictures that each training sees, the same for all: passes over the data times its size."""
    quick: bool = False
    """The smallest members, one seed, 4,000 pictures, to see that it works."""
    data_dir: Path = Path("data")
    """Where CIFAR-10 lies or is downloaded to."""
    runs: Path = Path("runs")
    """Where the study's directory is made."""


@dataclass(frozen=True)
class Member:
    """One row of the table: a curve's name and where on the curve, and what it changes."""

    group: str
    value: str
    changes: dict


def data_size() -> Iterator[Member]:
    """The paper's figure 3: which needs how much data?"""
    for model in ("Nano/4", "hybrid-Nano/4", "resnet-11"):
        for count in (1_000, 2_000, 5_000, 10_000, 20_000, 45_000):
            yield Member(model, f"{count}", {"train_images": count, **_sizes(model)})


def position() -> Iterator[Member]:
    """The paper's table 8."""
    for kind in ("none", "learned", "sincos2d", "relative"):
        yield Member("positions", kind, {**_sizes("Nano/4"), "pos_embed": kind})


def pooling() -> Iterator[Member]:
    """The paper's figure 9: each with learning rates of its own."""
    for pool in ("cls", "mean", "seq"):
        for lr in (6e-4, 1.25e-3, 2.5e-3, 5e-3):
            yield Member(pool, f"{lr:g}", {**_sizes("Nano/4"), "pool": pool, "lr": lr})


def shape() -> Iterator[Member]:
    """The paper's figure 8, at about the cost of Nano/4 each (45 MFLOP a picture)."""
    for name, changes in {
        "as it is: 96 × 4, patch 4": {},
        "deeper: 64 × 8": {"dim": 64, "depth": 8},
        "wider: 136 × 2": {"dim": 136, "depth": 2},
        "larger patches: 204 × 4, patch 8": {"dim": 204, "patch_size": 8},
        "smaller patches: 48 × 2, patch 2": {"dim": 48, "depth": 2, "patch_size": 2},
    }.items():
        yield Member("shape", name, {**_sizes("Nano/4"), **changes})


def regularisation() -> Iterator[Member]:
    """One at a time, on the recipe without any, and on few pictures, seen often."""
    none = {**_sizes("Nano/4"), "train_images": 5_000}
    none |= {"crop": 0, "flip": 0.0, "label_smoothing": 0.0, "weight_decay": 0.0}
    for name, changes in {
        "none": {},
        "weight decay": {"weight_decay": 0.05},
        "dropout": {"dropout": 0.1},
        "drop path": {"drop_path": 0.1},
        "label smoothing": {"label_smoothing": 0.1},
        "crop and flip": {"crop": 4, "flip": 0.5},
        "MixUp": {"mixup": 0.8},
        "CutMix": {"cutmix": 1.0},
        "RandAugment": {"rand_augment": 2},
    }.items():
        yield Member("regularisation", name, {**none, **changes})


LOOKS = 5
"""How often a member is validated: after each of hundreds of short passes it would take longer than
training."""

AVAILABLE = {"cifar10": 47_500, "shapes": 19_000}
"""Training pictures, what is held out to validate apart."""

STUDIES = {
    "data-size": data_size,
    "position": position,
    "pooling": pooling,
    "shape": shape,
    "regularisation": regularisation,
}


def _sizes(model: str) -> dict:
    """A size by name, for the pictures and classes of the data set."""
    fields = preset_fields(model)
    return {key: v for key, v in fields.items() if key not in ("image_size", "num_classes")}


def main(options: Options) -> int:
    """Train what is missing, then write table.json, table.md and the figure."""
    folder = options.runs / f"study-{options.study}-{options.dataset}{'-quick' * options.quick}"
    most = 1_000 if options.quick else AVAILABLE[options.dataset]
    seeds = options.seeds[:1] if options.quick else options.seeds
    members = [m for m in STUDIES[options.study]() if m.changes.get("train_images", 0) <= most]
    rows = [{"group": m.group, "value": m.value, "accuracy": []} for m in members]
    for seed in seeds:  # outside: a study that is stopped has all members once before one twice
        for member, row in zip(members, rows, strict=True):
            accuracy = train_member(folder, member, seed, options)
            row["accuracy"].append(accuracy)
            print(f"{member.group:14} {member.value:34} seed {seed} {accuracy:.2%}", flush=True)
            write_tables(folder, [row for row in rows if row["accuracy"]], options.study)
    print(f"\n{markdown(rows)}\n{folder}: table.md, table.json, figure.png")
    return 0


def write_tables(folder: Path, rows: list[dict], study: str) -> None:
    """What is known so far."""
    write_atomically(folder / "table.json", json.dumps(rows, indent=2).encode())
    write_atomically(folder / "table.md", markdown(rows).encode())
    save_figure(study_figure(rows, study), folder / "figure.png")


def train_member(folder: Path, member: Member, seed: int, options: Options) -> float:
    """Test accuracy of one training; trained, gone on with, or read from where it ended."""
    name = f"{member.group}-{member.value}-seed{seed}".replace("/", "_").replace(" ", "_")
    return train_once(folder / name, member_config(member, seed, options))


def member_config(member: Member, seed: int, options: Options) -> TrainConfig:
    """The recipe of the data set, the member's changes, as many passes as the pictures give."""
    few = {"train_images": 1_000} if options.quick else {}
    own = {**RECIPES[options.dataset], **member.changes, **few, "seed": seed}
    own["data_dir"] = options.data_dir.resolve()
    config = parse_arguments(list(as_flags(own))).train
    images = 4_000 if options.quick else options.images
    passes = max(1, round(images / (config.train_images or AVAILABLE[options.dataset])))
    return dataclasses.replace(config, epochs=passes, eval_every=math.ceil(passes / LOOKS))


def markdown(rows: list[dict]) -> str:
    """A row a member: mean and spread over the seeds."""
    lines = ["| | | test accuracy | seeds |", "|---|---|---|---|"]
    for row in rows:
        percent = 100 * np.array(row["accuracy"])
        spread = f" ± {percent.std():.2f}" if len(percent) > 1 else ""
        told = f"{percent.mean():.2f}{spread} %"
        lines.append(f"| {row['group']} | {row['value']} | {told} | {len(percent)} |")
    return "\n".join(lines) + "\n"


def study_figure(rows: list[dict], study: str) -> Figure:
    """Accuracy over what was varied: a curve a group where it is a number, else a row a member."""
    figure = Figure(figsize=(5.6, 3.6), layout="constrained")
    axes = figure.subplots()
    groups = list(dict.fromkeys(row["group"] for row in rows))
    for group, colour in zip(groups, (BLUE, GREEN, ORANGE), strict=False):
        own = [row for row in rows if row["group"] == group]
        values = [row["value"] for row in own]
        means = [100 * np.mean(row["accuracy"]) for row in own]
        if study in ("data-size", "pooling"):
            at = [float(value) for value in values]
            axes.plot(at, means, "-", color=colour, label=group)
            for x, row in zip(at, own, strict=True):
                axes.plot([x] * len(row["accuracy"]), 100 * np.array(row["accuracy"]), "o",
                          color=colour, ms=3, alpha=0.6)  # fmt: skip
            axes.set_xscale("log")
            axes.set_xticks(at, values)
            axes.minorticks_off()
            axes.set_xlabel("training pictures" if study == "data-size" else "learning rate")
            axes.set_ylabel("test accuracy (%)")
            axes.legend(frameon=False, fontsize=8)
            continue
        places = np.arange(len(own))[::-1]
        axes.plot(means, places, "|", color="black", ms=14)
        for y, row in zip(places, own, strict=True):
            percent = 100 * np.array(row["accuracy"])
            axes.plot(percent, [y] * len(percent), "o", color=colour, ms=4, alpha=0.6)
        axes.set_yticks(places, values)
        axes.set_xlabel("test accuracy (%)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    return figure


if __name__ == "__main__":
    sys.exit(run_command(main, Options, "python -m minivit.study"))
