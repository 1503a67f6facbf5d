"""`python -m minivit.finetune --from RUN`: go on from a trained model."""

import argparse
import dataclasses
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from matplotlib.figure import Figure

from minivit.backend.random import Purpose, generator
from minivit.cli import as_flags, guarded, parse
from minivit.data import Augmentation, Dataset, Statistics, normalize
from minivit.engine import RECIPES, DataParallel, Run, TrainConfig, Trainer
from minivit.engine.checkpoint import Checkpoint, load_checkpoint, write_atomically
from minivit.engine.few_shot import ridge_regression
from minivit.engine.pictures import load_pictures
from minivit.engine.run import best_checkpoint
from minivit.functional.interpolate import Mode
from minivit.train import QUICK, choose_dataset, fit
from minivit.viz import save_figure
from minivit.viz.style import BLUE

PROG = "python -m minivit.finetune"

RECIPE = {
    "epochs": 5,
    "optimizer": "sgd",
    "lr": 0.03,
    "momentum": 0.9,
    "schedule": "cosine",
    "warmup": 0.5,
    "weight_decay": 0.0,
    "clip_norm": 1.0,
    "label_smoothing": 0.0,
}
"""As the paper fine-tunes: SGD with momentum, cosine, no weight decay, clipped at 1."""

DRAWS = 5  # few-shot: how often the shots are drawn anew


@dataclass(frozen=True)
class Arguments:
    """Fine-tune a trained model on larger pictures, other classes, or both.

    The model is that of --from. With --image-size, pictures are scaled and position embeddings
    interpolated. Where the classes are other ones, the head begins anew, at zero. What begins here
    goes on with python -m minivit.train --resume.
    """

    source: Annotated[Path, tyro.conf.arg(name="from")]
    """A directory that minivit.train made, or a .safetensors file of it."""
    interpolation: Mode = "bicubic"
    """How position embeddings get to another grid."""
    few_shot: tuple[int, ...] = ()
    """Train nothing: fit a linear classifier to frozen features of so many pictures a class, and
    test it; several numbers make a curve."""
    quick: bool = False
    """One pass over 2,000 pictures, to see that it works."""
    runs: Path = Path("runs")
    """Where the run's fresh directory is made."""
    train: TrainConfig = field(default_factory=TrainConfig)


def main(argv: list[str]) -> int:
    """Parse, take the weights over, train, test; 130 if interrupted."""
    source = load_checkpoint(best_checkpoint(_source(argv)))
    name = choose_dataset(parse_arguments(argv, source).train, load=True)
    arguments = parse_arguments(argv, source, name)
    config = dataclasses.replace(arguments.train, dataset=name)
    dataset = load_pictures(config)
    config = _for_classes(config, dataset, source)
    trainer = Trainer(config, dataset, Run(arguments.runs))
    changes = trainer.begin_from(source, arguments.interpolation)
    trainer.run = Run.create(arguments.runs, config)
    print(f"from {arguments.source}")
    for change in changes:
        print(f"  {change}")
    if arguments.few_shot:
        return few_shot(trainer, arguments.few_shot)
    return fit(trainer)


def _source(argv: list[str]) -> Path | None:
    """The value of --from, which decides what the other flags' defaults are."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--from", type=Path)
    found = vars(first.parse_known_args(argv)[0])["from"]
    if found is None:
        parse(Arguments, argv, PROG)  # --help, or says that --from is missing
    return found


def parse_arguments(argv: list[str], source: Checkpoint, dataset: str = "auto") -> Arguments:
    """How the data set's recipe varies its pictures, the recipe, the model of the source, then the
    command line; the last counts."""
    varied = {field.name for field in dataclasses.fields(Augmentation)}
    own = {key: v for key, v in RECIPES.get(dataset, {}).items() if key in varied}
    flags = [*as_flags(own), *as_flags(RECIPE), *as_flags(source.state["vit"])]
    if "--quick" in argv:
        flags += as_flags(QUICK)
    return parse(Arguments, flags + argv, PROG)


def _for_classes(config: TrainConfig, dataset: Dataset, source: Checkpoint) -> TrainConfig:
    """The head that the data set needs: the paper puts a single layer there for other classes."""
    changes = {"num_classes": dataset.num_classes}
    if tuple(source.state["class_names"]) != tuple(dataset.class_names):
        changes["representation_size"] = None
    vit = dataclasses.replace(config.vit, **changes)
    return dataclasses.replace(config, vit=vit, data_dir=config.data_dir.resolve())


def few_shot(trainer: Trainer, shots: tuple[int, ...]) -> int:
    """Accuracy on the test pictures over pictures a class: printed, few_shot.json and .png."""
    train, test = trainer.batches.split, trainer.dataset.test
    with DataParallel(trainer.model, trainer.config.threads) as workers:
        features, test_features = (
            workers.features(_inputs(part.images, trainer.statistics)) for part in (train, test)
        )
    K, rows = trainer.dataset.num_classes, []
    print(f"{trainer.dataset.name}, {len(test)} test images, {DRAWS} draws each")
    for count in shots:
        found = []
        for draw in range(DRAWS):
            rng = generator(trainer.config.seed, Purpose.SAMPLE, count, draw)
            chosen = _shots(train.labels, count, K, rng)
            weight, bias = ridge_regression(features[chosen], train.labels[chosen], K)
            right = (test_features @ weight + bias).argmax(-1) == test.labels
            found.append(float(right.mean()))
        rows.append({"shots": count, "accuracy": found})
        print(f"{count:6} a class: {np.mean(found):.2%} ± {np.std(found):.2%}")
    path = trainer.run.path
    write_atomically(path / "few_shot.json", json.dumps(rows, indent=2).encode())
    save_figure(few_shot_figure(rows, K), path / "few_shot.png")
    print(f"{path}: few_shot.json, few_shot.png")
    return 0


def _inputs(images: np.ndarray, statistics: Statistics) -> np.ndarray:
    return normalize(images, statistics.mean, statistics.std)


def _shots(labels: np.ndarray, count: int, K: int, rng: np.random.Generator) -> np.ndarray:
    """Rows of `count` pictures of each class, or of all there are."""
    order = rng.permutation(len(labels))
    return np.concatenate([order[labels[order] == k][:count] for k in range(K)])


def few_shot_figure(rows: list[dict], num_classes: int) -> Figure:
    """Test accuracy over pictures a class, each draw a dot, with their mean."""
    figure = Figure(figsize=(4.8, 3.4), layout="constrained")
    axes = figure.subplots()
    shots = [row["shots"] for row in rows]
    for row in rows:
        percent = [100 * value for value in row["accuracy"]]
        axes.plot([row["shots"]] * len(percent), percent, "o", color=BLUE, ms=3, alpha=0.5)
    axes.plot(shots, [100 * np.mean(row["accuracy"]) for row in rows], color=BLUE)
    axes.axhline(100 / num_classes, color="0.6", ls="--", lw=1, label="chance")
    axes.set_xscale("log")
    axes.set_xticks(shots, [str(count) for count in shots])
    axes.set_xlabel("pictures a class")
    axes.set_ylabel("test accuracy")
    axes.yaxis.set_major_formatter("{x:.0f} %")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    return figure


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(sys.argv[1:])))
