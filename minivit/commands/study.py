"""`minivit study NAME`: runs that differ in one setting, like the paper's studies."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from minivit.commands.cli import parse
from minivit.engine.budget import in_seconds
from minivit.engine.config import IMAGES, SEED
from minivit.engine.study import STUDIES, Plan
from minivit.ranges import Ranged
from minivit.viz.study_figure import markdown, save_study

SEEDS = replace(SEED, count=(1, 100))  # at least one, and a study of 100 takes weeks


@dataclass(frozen=True)
class Options(Ranged):
    """Train the members of a study one after the other; run the command again to resume.

    The table is updated as each member finishes.
    """

    study: Annotated[Literal[tuple(STUDIES)], tyro.conf.Positional]  # type: ignore[valid-type]
    """data-size: ViT, hybrid and ResNet for increasing numbers of images (fig. 3). position: none,
    learned, sines, relative (table 8). pooling: class token, mean, sequence, each with several
    learning rates (fig. 9). shape: depth, width and patch size at equal cost (fig. 8).
    regularisation: each kind alone. recipe: each part of a recipe alone, best with a --budget."""
    dataset: str
    """Name of a data set, such as cifar10, mnist or shapes, or a path to your own images."""
    seeds: Annotated[tuple[int, ...], SEEDS] = (0, 1, 2)
    """Random seeds; one run per seed."""
    images: Annotated[int, IMAGES] = 100_000
    """Number of images that each run sees, the same for all: epochs times training images."""
    budget: str | None = None
    """Give each run the same time, such as 10m, instead of the same number of images: as many
    epochs as fit, at the speed measured in its first seconds.
    """
    quick: bool = False
    """One seed and four steps for each member, to check that it works; the accuracies mean
    nothing.
    """
    data_dir: Path | None = None
    """Folder where data sets are found or downloaded to. None: as in minivit train."""
    runs: Path = Path("runs")
    """Folder in which the study's directory is created."""


def main(options: Options) -> int:
    """Train what is missing, then write table.json, table.md and the figure."""
    budget = in_seconds(options.budget) if options.budget else None
    plan = Plan(
        options.study, options.dataset, options.images, options.quick, options.data_dir, budget
    )
    folder = options.runs / f"study-{options.study}-{plan.data_name}{'-quick' * options.quick}"
    available = plan.available()
    members = plan.members(available)
    rows: list[dict] = [{"group": m.group, "value": m.value, "accuracy": []} for m in members]
    for seed in options.seeds[:1] if options.quick else options.seeds:
        # seeds in the outer loop: a stopped study has all members once before any twice
        for member, row in zip(members, rows, strict=True):
            accuracy = plan.train(folder, member, seed, available)
            row["accuracy"].append(accuracy)
            print(f"{member.group:14} {member.value:34} seed {seed} {accuracy:.2%}", flush=True)
            save_study(folder, [row for row in rows if row["accuracy"]], options.study)
    print(f"\n{markdown(rows)}\n{folder}: table.md, table.json, figure.png")
    return 0


def run(argv: list[str], prog: str = "minivit study") -> int:
    """Parse the flags and run."""
    return main(parse(Options, argv, prog))
