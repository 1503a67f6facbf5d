"""`minivit train`: train a Vision Transformer."""

import dataclasses
import json
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from minivit.backend.machine import describe_needs, memory_bytes, size
from minivit.commands.class_table import class_sizes, class_table
from minivit.commands.cli import parse, parse_some, tolerate_closed_output
from minivit.config import overlay
from minivit.data import Dataset, Statistics, find_source
from minivit.data.cifar10 import CIFAR10
from minivit.data.locations import folder_of
from minivit.data.registry import is_path
from minivit.engine import QUICK, RECIPES, Run, TensorBoard, TrainConfig, Trainer, recipe_of
from minivit.engine.budget import epochs_within, in_seconds, seconds_per_epoch
from minivit.engine.distributed import SETUP_ADVICE, find_world
from minivit.engine.memory import require_training_memory, training_memory
from minivit.engine.recipes import MEASURED, base_settings, recipe_for
from minivit.engine.trainer import make_objective
from minivit.errors import UserError, pasteable
from minivit.files import read_json
from minivit.models.config import preset_for_data
from minivit.viz import training_figures

Log = Literal["none", "tensorboard"]
"""Where metrics are written in addition to metrics.jsonl."""


@dataclass(frozen=True)
class Names:
    """Flags that set several others."""

    preset: Literal[tuple(RECIPES)] | None = None  # type: ignore[valid-type]
    """Name of a recipe; None: the recipe of the data set."""
    config: Path | None = None
    """A JSON file of settings, such as a run's config.json."""
    model: str | None = None
    """Name of a size: Nano/4, Micro/4, Mini/4, Lite/4, or the paper's Ti, S, B, L, H with any patch
    size after the slash; hybrid-Micro/4 has convolutions instead of the patches; resnet-11,
    resnet-20 and resnet-38 have no Transformer blocks."""
    quick: bool = False
    """One epoch of 2,000 images, to check that everything works."""
    budget: str | None = None
    """Train for about this long, such as 5m, 30m or 1h30m: the speed measured in the first seconds
    determines the number of epochs and, without --preset, --config and --model, the recipe.
    """


@dataclass(frozen=True)
class Arguments(Names):
    """Train a Vision Transformer whose every gradient is written by hand.

    Without flags: CIFAR-10 if it is found or can be downloaded, else the built-in shapes, with the
    recipe of that data set. Any flag overrides what --model sets, which overrides --config, which
    overrides --preset. The recipe of the data set replaces some of the defaults below; --dry-run
    shows the resulting settings.
    """

    resume: Path | None = None
    """Resume the run in this directory, with its own config; of the other flags only --data-dir,
    --data-url, --threads, --micro-batch, --device, --timeout and --log may be given."""
    runs: Path = Path("runs")
    """Folder in which the run's directory is created."""
    log: Log = "none"
    """Also write the metrics for another program: tensorboard writes event files to the folder
    tensorboard in the run's directory (requires pip install "minivit[tensorboard]")."""
    dry_run: bool = False
    """Print what would be done, and do nothing."""
    train: TrainConfig = field(default_factory=TrainConfig)


def run(
    argv: list[str],
    prog: str = "minivit train",
    changes: Mapping[str, Any] | None = None,
    options: type[Arguments] = Arguments,
) -> int:
    """Parse, build, train, test; returns 130 if interrupted.

    changes: what a related command changes in the settings of the data set. options: its flags,
    with its own description.
    """
    arguments, world = parse_arguments(argv, changes or {}, prog, options), find_world()
    budget = in_seconds(arguments.budget) if arguments.budget else None
    if budget is not None:
        _require_free_epochs(argv)
    world.set_timeout(arguments.train.timeout, SETUP_ADVICE)
    if arguments.resume:
        return resume(arguments.resume, arguments.train, argv, arguments.log)
    train, load = arguments.train, not arguments.dry_run
    name = world.from_main(lambda: choose_dataset(train, load))
    source = find_source(name)
    if not arguments.preset and not arguments.config:
        recipe = {**base_settings(name, source), **changes} if changes else recipe_of(name, source)
        arguments = parse_arguments(argv, recipe, prog, options)
    config = dataclasses.replace(arguments.train, dataset=name)
    if arguments.dry_run:
        return describe(config)
    require_training_memory(config)
    config = config.resolved()
    dataset = world.in_turn(partial(config.load_data, source=source))
    del source  # it contains a .npz's arrays
    config = fit_to(config, dataset, argv)
    if budget is not None:
        config = fit_budget(budget, config, dataset, arguments, argv, prog)
    fresh = world.from_main(lambda: Run.fresh(arguments.runs, config))
    trainer = Trainer(config, dataset, fresh, on_metrics=make_log(arguments.log, fresh))
    with trainer.run.locked():
        return train_and_test(trainer)


def parse_arguments(
    argv: list[str],
    recipe: Mapping[str, Any],
    prog: str = "minivit train",
    options: type[Arguments] = Arguments,
) -> Arguments:
    """The settings from names and files, each overriding the one before; then the flags.

    Progressive resizing is adapted to the model that results, unless a flag sets its sizes.
    """
    names = parse_some(Names, argv, prog)
    settings = {**RECIPES.get(names.preset, {}), **recipe}
    train_sizes = settings.pop("train_sizes", ())
    config = overlay(TrainConfig(), settings)
    if names.config:
        found = read_json(names.config)
        config = overlay(config, found, str(names.config))
        if "train_sizes" in found:
            train_sizes = config.train_sizes
        config = dataclasses.replace(config, train_sizes=())
    if names.model:
        config = overlay(config, preset_for_data(names.model))
    if names.quick:
        config = overlay(config, QUICK)
    arguments = parse(options, argv, prog, options(train=config))
    if "train_sizes" in given_flags(argv):
        return arguments
    return dataclasses.replace(arguments, train=arguments.train.adapted(train_sizes))


def _require_free_epochs(argv: list[str]) -> None:
    """Raises UserError if a flag fixes what the budget has to choose, or if nothing is trained."""
    fixed = given_flags(argv) & {"epochs", "quick", "resume", "dry_run"}
    if fixed:
        raise UserError(
            f"--budget chooses the number of epochs; leave out --{min(fixed).replace('_', '-')}"
        )


def fit_budget(
    budget: float,
    config: TrainConfig,
    dataset: Dataset,
    names: Names,
    argv: list[str],
    prog: str,
) -> TrainConfig:
    """The config with as many epochs as fit into `budget` seconds, and with a suitable recipe if no
    flag names one; prints what to expect.
    """
    seconds = seconds_per_epoch(config, dataset)
    name = names.preset
    if config.pretext != "none":
        name = None  # the recipes were measured on classification
    elif not (names.preset or names.config or names.model):
        name = recipe_for(config.dataset, budget / (seconds * config.epochs))
        if name != config.dataset:
            chosen = parse_arguments(argv, RECIPES[name], prog).train
            chosen = dataclasses.replace(chosen, dataset=config.dataset, data_dir=config.data_dir)
            config = fit_to(chosen, dataset, argv)
            seconds = seconds_per_epoch(config, dataset)
    epochs = epochs_within(budget, seconds)
    print(
        f"an epoch takes about {duration(seconds)}, so {duration(budget)} is enough for "
        f"{epochs if budget >= seconds else f'{budget / seconds:.2f}'}; {expected(name)}",
        flush=True,
    )
    images = config.train_images
    if budget < seconds:  # an epoch of fewer images
        images = images or config.available(dataset)
        images = max(config.batch_size, int(images * budget / seconds))
    return dataclasses.replace(config, epochs=epochs, train_images=images)


def expected(recipe: str | None) -> str:
    """The measured result of a recipe."""
    if recipe not in MEASURED:
        return "the accuracy with these settings was not measured"
    return (
        f"the recipe {recipe} reached {MEASURED[recipe].accuracy:.1%} test accuracy in "
        f"{RECIPES[recipe]['epochs']} epochs (docs/experiments.md)"
    )


def duration(seconds: float) -> str:
    """0.25 s, 90 s, 2.5 min, 1.2 h."""
    if seconds < 10:
        return f"{seconds:.2g} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.3g} min" if seconds < 6000 else f"{seconds / 3600:.3g} h"


def fit_to(config: TrainConfig, dataset: Dataset, argv: list[str]) -> TrainConfig:
    """The config, with a model for the data set's classes unless a flag sets their number; --quick
    uses no more images than there are.
    """
    flags = given_flags(argv)
    fitted = config.for_data(dataset)
    changes: dict[str, Any] = {}
    if "num_classes" in flags:
        changes["num_classes"] = config.vit.num_classes
    if "quick" in flags and config.train_images:
        changes["train_images"] = min(config.train_images, config.available(dataset))
    return overlay(fitted, changes)


def given_flags(argv: list[str]) -> set[str]:
    """--data-dir=x -> data_dir: the fields set on a command line."""
    words = (word.partition("=")[0] for word in argv if word.startswith("--"))
    return {word.removeprefix("--").replace("-", "_") for word in words}


def choose_dataset(config: TrainConfig, load: bool) -> str:
    """Decide what "auto" means: "cifar10" or "shapes"; load: whether CIFAR-10 may be downloaded."""
    if config.dataset != "auto":
        return config.dataset
    folder = folder_of(find_source("cifar10"), config.data_dir)
    if CIFAR10.find(folder):
        return "cifar10"
    if load:
        try:
            CIFAR10.load(folder, url=config.data_url)
            return "cifar10"
        except UserError as error:
            reason = str(error)
    else:
        reason = f"CIFAR-10 is not in the folder {folder}; a dry run downloads nothing."
    print(
        box(
            "Training on the built-in SHAPES, not on CIFAR-10.",
            reason,
            "For CIFAR-10: --dataset cifar10, with --data-dir or --data-url for its location.",
        ),
        flush=True,
    )
    return "shapes"


def box(*paragraphs: str, width: int = 88) -> str:
    """Text in a box that is hard to miss."""
    lines = [line for text in paragraphs for line in textwrap.wrap(text, width - 4)]
    rule = "═" * (width - 2)
    body = "\n".join(f"║ {line:{width - 4}} ║" for line in lines)
    return f"╔{rule}╗\n{body}\n╚{rule}╝"


def describe(config: TrainConfig) -> int:
    """--dry-run."""
    require_training_memory(config)
    print(json.dumps(config.to_dict(), indent=2))
    identity = Statistics((0.0,) * config.vit.in_channels, (1.0,) * config.vit.in_channels)
    model = make_objective(config, identity).build(config.vit, config.seed, "cpu")
    print(model.summary())
    needs, has = describe_needs(training_memory(config)), size(memory_bytes(config.device))
    print(f"training needs at least {needs} of {has}")
    return 0


MAX_TABLE_CLASSES = 20
"""With at most this many classes, training ends with a table of them; minivit evaluate always
prints it.
"""


def make_log(log: Log, run: Run) -> TensorBoard | None:
    """The function that --log names. Raises UserError if its package is not installed."""
    return TensorBoard(run.path / "tensorboard") if log == "tensorboard" else None


RESUMABLE = ("data_dir", "data_url", "threads", "micro_batch", "device", "timeout", "log")
"""Flags that may be given with --resume: paths, devices, timeouts and the output of metrics."""


def resume(path: Path, flags: TrainConfig, argv: list[str], log: Log = "none") -> int:
    """--resume RUN: continue from its last checkpoint, with its own config."""
    names = given_flags(argv) - {"resume"}
    others = sorted(names - set(RESUMABLE))
    if others:
        raise UserError(
            "--resume continues with the run's own config; leave out "
            + " ".join("--" + name.replace("_", "-") for name in others)
        )
    world = find_world()
    run = world.from_main(lambda: Run.open(path))
    run = run if world.main else run.silent()
    with run.locked():
        changes = {name: getattr(flags, name) for name in names - {"data_dir", "log"}}
        saved = world.from_main(run.read_config)
        config = dataclasses.replace(saved, **changes).moved(flags.data_dir)
        data = world.in_turn(lambda: config.load_data(download="data_url" in names))
        trainer = Trainer(config, data, run, on_metrics=make_log(log, run))
        notes = trainer.resume()
        if names:
            run.write_config(config.resolved())
        if world.from_main(lambda: trainer.finished and bool(run.test_results())):
            print(f"{path} is finished; minivit evaluate {pasteable(path)} tests it again")
            return 0
        print("\n  ".join([f"resuming at step {trainer.step} of {trainer.total_steps}", *notes]))
        return train_and_test(trainer)


def train_and_test(trainer: Trainer) -> int:
    """Train, draw, test once; if something cannot be written, say how to resume."""
    try:
        with tolerate_closed_output():
            return _train_and_test(trainer)
    except OSError as error:
        if not trainer.run.last.exists():
            raise
        path = trainer.run.path
        raise UserError(
            f"{error.filename or path}: {error.strerror}; the last checkpoint is intact: fix this, "
            f"then resume with minivit train --resume {pasteable(path)}"
        ) from None


def _train_and_test(trainer: Trainer) -> int:
    trainer.run.begin(trainer.config)
    run, dataset = trainer.run, trainer.dataset
    announce(trainer)
    done = trainer.fit()
    if not trainer.world.main:
        return _test_with_main(trainer) if done else 130
    training_figures.save_curves(run)
    if not done:
        print(
            f"stopped and saved at step {trainer.step}; to resume:\n"
            f"  minivit train --resume {pasteable(run.path)}"
        )
        return 130
    found = trainer.test()
    drawn = training_figures.save_test(trainer, found)
    training_figures.save_curves(run)
    chosen = f"best validation {trainer.best_accuracy:.2%}" if len(trainer.val) else "last weights"
    print(
        f"\ntest accuracy {found.accuracy:.2%}{trainer.objective.measures} on {dataset.name} "
        f"({chosen}), trained for {duration(trainer.seconds)}"
    )
    if found.confusion is not None and dataset.num_classes <= MAX_TABLE_CLASSES:
        print(f"\n{class_table(found, dataset.class_names)}\n")
    print(f"{run.path}: curves.png, {drawn}, metrics.jsonl, checkpoints/best.safetensors")
    trainer.world.from_main(lambda: None)  # the others wait for it
    return 0


def _test_with_main(trainer: Trainer) -> int:
    """A rank's part while rank 0 tests and draws."""
    trainer.test()
    trainer.world.from_main(lambda: None)  # a rank that leaves would busy-wait for it
    return 0


def announce(trainer: Trainer) -> None:
    """Describe the model and the data of a run."""
    config, vit = trainer.config, trainer.config.vit
    where = in_ranks(trainer)
    print(
        f"{trainer.run.path}: {vit.kind} {vit.dim} wide, {vit.depth} deep, "
        f"{trainer.model.num_parameters:,} parameters, on {trainer.dataset.name}: "
        f"{len(trainer.batches.split)} training and {len(trainer.val)} validation images, {where}"
    )
    counts = trainer.batches.split.class_counts(trainer.dataset.num_classes)
    if config.pretext == "none" and (_unequal(trainer.dataset) or is_path(config.dataset)):
        print(f"  {class_sizes(counts, trainer.dataset.class_names, config.balance)}")
    sys.stdout.flush()


def in_ranks(trainer: Trainer) -> str:
    """The hardware used: 2 threads, or 4 ranks with 2 threads each, or 4 ranks with a GPU each."""
    threads, ranks = trainer.layout.threads, trainer.world.size
    hardware = f"{threads} thread{'s' * (threads > 1)}"
    if trainer.config.device != "cpu":
        hardware = "a GPU" if ranks > 1 else trainer.config.device
    return f"{ranks} ranks with {hardware} each" if ranks > 1 else hardware


def _unequal(dataset: Dataset) -> bool:
    """Whether some class has more training images than another, before any are held out."""
    return len(set(dataset.train.class_counts(dataset.num_classes))) > 1
