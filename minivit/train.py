"""`python -m minivit.train`: train a Vision Transformer."""

import argparse
import dataclasses
import json
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from minivit.backend import parse_device
from minivit.cli import as_flags, guarded, parse, read_flags
from minivit.data import cifar10
from minivit.engine import RECIPES, Run, TrainConfig, Trainer, make_trainer
from minivit.engine.parallel import physical_cores
from minivit.engine.pictures import load_pictures
from minivit.errors import UserError
from minivit.models import ViT
from minivit.models.config import preset_fields
from minivit.viz import (
    confusion_figure,
    curves_figure,
    patches_figure,
    restore,
    save_figure,
)

PROG = "python -m minivit.train"


@dataclass(frozen=True)
class Arguments:
    """Train a Vision Transformer whose every gradient is written by hand.

    Without arguments: CIFAR-10 if it is there or can be downloaded, else the embedded shapes, with
    the recipe of that data set. A flag given later overrides one given earlier, and any flag
    overrides what --preset, --config and --model stand for. The defaults below are the bare ones:
    the recipe of the data set replaces some of them; --dry-run shows what holds.
    """

    preset: Literal[tuple(RECIPES)] | None = None
    """A recipe by name; None for that of the data set."""
    config: Path | None = None
    """A JSON file of flags, such as a run's config.json."""
    model: str | None = None
    """A size by name: Nano/4, Micro/4, Mini/4, Lite/4, or the paper's Ti, S, B, L, H with any patch
    size after the slash; hybrid-Micro/4 has convolutions in place of the patches; resnet-11,
    resnet-20 and resnet-38 have nothing else."""
    resume: Path | None = None
    """Go on with the run in this directory, with its own config."""
    runs: Path = Path("runs")
    """Where the run's fresh directory is made."""
    quick: bool = False
    """One pass over 2,000 pictures, to see that it works."""
    dry_run: bool = False
    """Say what would be done, and do nothing."""
    train: TrainConfig = field(default_factory=TrainConfig)


QUICK = {"epochs": 1, "train_images": 2000}


def main(argv: list[str], prog: str = PROG, changes: dict | None = None) -> int:
    """Parse, build, train, test; 130 if interrupted.

    changes: what a kindred command changes of the recipe.
    """
    arguments = parse_arguments(argv, changes, prog)
    if arguments.resume:
        return resume(arguments, argv)
    name = choose_dataset(arguments.train, load=not arguments.dry_run)
    if not arguments.preset and not arguments.config:
        arguments = parse_arguments(argv, {**RECIPES[name], **(changes or {})}, prog)
    config = dataclasses.replace(arguments.train, dataset=name)
    if arguments.dry_run:
        return describe(config)
    dataset = load_pictures(config)
    config = dataclasses.replace(config, data_dir=config.data_dir.resolve())
    trainer = make_trainer(config, dataset, Run(arguments.runs))  # complains before it writes
    trainer.run = Run.create(arguments.runs, config)
    return fit(trainer)


def parse_arguments(argv: list[str], recipe: dict | None = None, prog: str = PROG) -> Arguments:
    """The flags that names and files stand for, then those of the command line; the last counts."""
    names = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for flag in ("--preset", "--config", "--model"):
        names.add_argument(flag)
    given, _ = names.parse_known_args(argv)
    flags = list(as_flags({**RECIPES.get(given.preset, {}), **(recipe or {})}))
    if given.config:
        flags += as_flags(read_flags(Path(given.config)))
    if given.model:
        flags += as_flags(_for_small_pictures(preset_fields(given.model)))
    if "--quick" in argv:
        flags += as_flags(QUICK)
    return parse(Arguments, flags + argv, prog)


def _for_small_pictures(fields: dict) -> dict:
    """A named size says how wide and deep; the pictures and the classes are the data set's."""
    return {key: v for key, v in fields.items() if key not in ("image_size", "num_classes")}


def choose_dataset(config: TrainConfig, load: bool) -> str:
    """Decide what "auto" means: "cifar10" or "shapes"; load: CIFAR-10 may be downloaded for it."""
    if config.dataset != "auto":
        return config.dataset
    if cifar10.find(config.data_dir):
        return "cifar10"
    if load:
        try:
            cifar10.load(config.data_dir, url=config.data_url)
            return "cifar10"
        except UserError as error:
            reason = str(error)
    else:
        reason = f"CIFAR-10 is not in the folder {config.data_dir}; a dry run downloads nothing."
    print(
        box(
            "Training on the embedded SHAPES, not on CIFAR-10.",
            reason,
            "For CIFAR-10: --dataset cifar10, with --data-dir or --data-url where it lies.",
        ),
        flush=True,
    )
    return "shapes"


def box(*paragraphs: str, width: int = 88) -> str:
    """Text that cannot be missed."""
    lines = [line for text in paragraphs for line in textwrap.wrap(text, width - 4)]
    rule = "═" * (width - 2)
    body = "\n".join(f"║ {line:{width - 4}} ║" for line in lines)
    return f"╔{rule}╗\n{body}\n╚{rule}╝"


def describe(config: TrainConfig) -> int:
    """--dry-run."""
    parse_device(config.device)
    print(json.dumps(dataclasses.asdict(config), indent=2, default=str))
    print(ViT(config.vit, config.seed).summary())
    return 0


def resume(arguments: Arguments, argv: list[str]) -> int:
    """--resume RUN: its own config, its last checkpoint."""
    others = [word for word in argv if word.startswith("--") and not word.startswith("--resume")]
    if others:
        raise UserError(f"--resume goes on with the run's own config; leave out {' '.join(others)}")
    run = Run.open(arguments.resume)
    config = run.read_config()
    dataset = load_pictures(config)
    trainer = make_trainer(config, dataset, run)
    trainer.resume()
    if trainer.finished and any(line["kind"] == "test" for line in run.metrics()):
        print(f"{run.path} is finished; python -m minivit.evaluate {run.path} tests it again")
        return 0
    print(f"going on at step {trainer.step} of {trainer.total_steps}")
    return fit(trainer)


def fit(trainer: Trainer) -> int:
    """Train, draw, test once; where something cannot be written, say how to go on."""
    try:
        return _train_and_test(trainer)
    except OSError as error:
        if not trainer.run.last.exists():
            raise
        raise UserError(
            f"{error.filename or trainer.run.path}: {error.strerror}; the last checkpoint is "
            f"whole: mend this, then go on with {PROG} --resume {trainer.run.path}"
        ) from None


def _train_and_test(trainer: Trainer) -> int:
    run, dataset = trainer.run, trainer.dataset
    announce(trainer)
    done = trainer.fit()
    save_figure(curves_figure(run.metrics()), run.path / "curves.png")
    if not done:
        print(f"stopped and saved at step {trainer.step}; to go on:\n  {PROG} --resume {run.path}")
        return 130
    found = trainer.test()
    if found.confusion is None:
        what = "variance" if trainer.config.pretext == "pixels" else "colours told right"
        drawn, what = "patches", f" of the hidden patches' {what}"
        restored = restore(trainer.model, trainer.objective, dataset.test.images[:8])
        figure = patches_figure(restored)
    else:
        drawn, what = "confusion", ""
        title = f"{dataset.name}, test: {found.accuracy:.1%} right"
        figure = confusion_figure(found.confusion, dataset.class_names, title)
    save_figure(figure, run.path / f"{drawn}.png")
    save_figure(curves_figure(run.metrics()), run.path / "curves.png")
    print(
        f"\ntest accuracy {found.accuracy:.2%}{what} on {dataset.name} (best validation "
        f"{trainer.best_accuracy:.2%}), trained for {trainer.seconds / 60:.1f} min\n"
        f"{run.path}: curves.png, {drawn}.png, metrics.jsonl, checkpoints/best.safetensors"
    )
    return 0


def announce(trainer: Trainer) -> None:
    """One line that says what is about to be trained, and on what."""
    config = trainer.config
    threads = config.threads or physical_cores()
    where = f"{threads} thread{'s' * (threads > 1)}" if config.device == "cpu" else config.device
    print(
        f"{trainer.run.path}: {config.vit.kind} {config.vit.dim} wide, {config.vit.depth} deep, "
        f"{config.vit.num_parameters:,} parameters, on {trainer.dataset.name}: "
        f"{len(trainer.batches.split)} images to train, {len(trainer.val)} to validate, {where}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(sys.argv[1:])))
