"""`minivit finetune --from RUN`: start from a trained model."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from minivit.commands.cli import parse, parse_some
from minivit.commands.train import (
    Log,
    choose_dataset,
    fit_to,
    given_flags,
    make_log,
    train_and_test,
)
from minivit.config import overlay
from minivit.data import Augmentation, Dataset, find_source
from minivit.engine import QUICK, Run, TrainConfig, Trainer
from minivit.engine.distributed import SETUP_ADVICE, find_world
from minivit.engine.few_shot import few_shot_curve
from minivit.engine.launch import require_single_process
from minivit.engine.recipes import base_settings
from minivit.engine.trained import Pretrained
from minivit.functional.interpolate import Mode
from minivit.interop import load_start
from minivit.ranges import Range, Ranged
from minivit.viz.few_shot_figure import save_few_shot

RECIPE: Mapping[str, Any] = {
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
"""The paper's fine-tuning recipe: SGD with momentum, cosine schedule, no weight decay, clipping at
1.
"""


SHOTS = Range(1, 1_000_000, "no class has more", "images per class", count=(0, 100))


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig(TrainConfig):
    """A training configuration without --pretext: fine-tuning learns classes."""

    pretext: tyro.conf.Suppress[tyro.conf.Fixed[Literal["none"]]] = "none"


@dataclass(frozen=True)
class Names:
    """The flags that determine the defaults of the others."""

    source: Annotated[str, tyro.conf.arg(name="from")] = ""
    quick: bool = False


@dataclass(frozen=True)
class Arguments(Ranged):
    """Fine-tune a trained model on larger images, other classes, or both.

    --from names the model to start from. With --image-size, images are resized and position
    embeddings interpolated. If the classes differ, the head is replaced and initialized to zero.
    minivit train --resume also resumes fine-tuning.
    """

    source: Annotated[Path, tyro.conf.arg(name="from")]
    """A directory created by minivit train, a .safetensors file from it, or a published Vision
    Transformer (see minivit models)."""
    interpolation: Mode = "bicubic"
    """How position embeddings are interpolated to another grid."""
    few_shot: Annotated[tuple[int, ...], SHOTS] = ()
    """Do not train: fit a linear classifier to frozen features of this many images per class, and
    test it; several numbers give a curve.
    """
    quick: bool = False
    """Train one epoch of 2,000 images, as a quick check."""
    log: Log = "none"
    """Also write the metrics for another program: tensorboard writes event files to the folder
    tensorboard in the run's directory (requires pip install "minivit[tensorboard]").
    """
    runs: Path = Path("runs")
    """Folder in which the run's directory is created."""
    train: FinetuneConfig = field(default_factory=FinetuneConfig)


def run(argv: list[str], prog: str = "minivit finetune") -> int:
    """Parse, transfer the weights, train, test; returns 130 if interrupted."""
    path, world = _source(argv, prog), find_world()
    source = world.from_main(lambda: load_start(path))
    auto = parse_arguments(argv, source, path, {}, prog).train
    world.set_timeout(auto.timeout, SETUP_ADVICE)
    name = world.from_main(lambda: choose_dataset(auto, load=True))
    images = find_source(name)
    arguments = parse_arguments(argv, source, path, base_settings(name, images), prog)
    if arguments.few_shot:
        require_single_process("--few-shot")
    config = dataclasses.replace(TrainConfig.from_dict(arguments.train.to_dict()), dataset=name)
    config = config.resolved()
    dataset = world.in_turn(partial(config.load_data, source=images))
    del images  # it contains a .npz's arrays
    config = _for_classes(fit_to(config, dataset, argv), dataset, source)
    fresh = world.from_main(lambda: Run.fresh(arguments.runs, config))
    log = make_log(arguments.log, fresh)
    trainer = Trainer(config, dataset, fresh, source, arguments.interpolation, on_metrics=log)
    print("\n  ".join([f"from {path}", *trainer.changes]))
    if not arguments.few_shot:
        with trainer.run.locked():
            return train_and_test(trainer)
    rows = few_shot_curve(trainer, arguments.few_shot)
    trainer.run.begin(config)
    save_few_shot(rows, dataset.num_classes, trainer.run.path)
    print(f"{trainer.run.path}: few_shot.json, few_shot.png")
    return 0


def _source(argv: list[str], prog: str) -> Path:
    """The value of --from, which determines the other flags' defaults."""
    found = parse_some(Names, argv, prog).source
    return Path(found) if found else parse(Arguments, argv, prog).source  # reports what is missing


def parse_arguments(
    argv: list[str],
    source: Pretrained,
    path: Path,
    known: Mapping[str, Any],
    prog: str = "minivit finetune",
) -> Arguments:
    """The settings, later ones overriding earlier ones: batches and augmentation from `known`, the
    settings of the data set; `RECIPE`; the model of the source; the flags.
    """
    inherited = {f.name for f in dataclasses.fields(Augmentation)}
    inherited |= {"batch_size", "val_fraction", "stratify"}
    settings = {key: v for key, v in known.items() if key in inherited}
    if "few_shot" in given_flags(argv):  # there are no weights to choose by validation
        settings["val_fraction"] = 0.0
    config = overlay(FinetuneConfig(), {**settings, **RECIPE})
    config = dataclasses.replace(config, vit=source.vit, resize=source.preprocess.resize)
    if parse_some(Names, argv, prog).quick:
        config = overlay(config, QUICK)
    return parse(Arguments, argv, prog, Arguments(source=path, train=config))


def _for_classes(config: TrainConfig, dataset: Dataset, source: Pretrained) -> TrainConfig:
    """The head that the data set needs: for other classes the paper uses a single linear layer."""
    if source.class_names == dataset.class_names:
        return config
    vit = dataclasses.replace(config.vit, representation_size=None)
    return dataclasses.replace(config, vit=vit)
