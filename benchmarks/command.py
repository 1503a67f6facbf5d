"""Flags and main function of `benchmarks.train_step` and `benchmarks.inference`."""

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

from benchmarks import isa, report, sweep
from benchmarks.runner import CONTENDERS, ROUNDS, STEPS, measure, obstacle, table_rows
from benchmarks.shape import Shape
from minivit.data import Augmentation
from minivit.engine import TrainConfig
from minivit.errors import UserError
from minivit.models import ViTConfig
from minivit.ranges import Ranged


@dataclass(frozen=True)
class Options(Ranged):
    """Compare minivit with PyTorch (and JAX, if installed): same model, same batch, alternating."""

    shape: Shape = field(default_factory=Shape)
    model: str | None = None
    """Name of a size, such as B/16, instead of the sizes below."""
    only: tuple[Literal[tuple(CONTENDERS)], ...] = tuple(CONTENDERS)
    """Contenders to measure; minivit is always included."""
    rounds: Annotated[int, ROUNDS] = 7
    """Rounds; each contender is measured once per round."""
    steps: Annotated[int, STEPS] = 3
    """Steps per round, of which the median is used."""
    sweep: Literal["none", "batch", "depth", "dim", "image_size", "threads"] = "none"
    """Vary this size instead, and plot how the cost grows."""
    name: str | None = None
    """Name of the files in benchmarks/results; None for a name that says what was measured."""


def run(options: Options, train: bool, prog: str) -> int:
    """Measure, and print and write the results."""
    shape = shape_of(options)
    names, left_out = contenders(options.only, shape)
    for line in left_out:
        print(line, file=sys.stderr)
    kind = "train_step" if train else "inference"
    command = " ".join([prog, *sys.argv[1:]])
    name = file_name(options, kind)
    if options.sweep != "none":
        sweep.run(name, options.sweep, shape, names, train, options, command, left_out)
        return 0
    results = measure(names, shape, train, options.rounds, options.steps)
    what = "training step" if train else "inference"
    title = f"{what}: {shape.dim} × {shape.depth}, {shape.image_size} px, batch {shape.batch}"
    title = title[0].upper() + title[1:] + ", AVX2" * (shape.isa == "avx2")
    rows = table_rows(results, shape, train)
    report.write(name, title, shape, rows, command, left_out)
    return 0


def contenders(only: Sequence[str], shape: Shape) -> tuple[list[str], list[str]]:
    """minivit and those of `only` that can be measured here, and a line for each that cannot."""
    names = dict.fromkeys(["minivit", *only])
    obstacles = {name: obstacle(name, shape) for name in names}
    left_out = [f"{name} is left out: {why}" for name, why in obstacles.items() if why]
    return [name for name in names if not obstacles[name]], left_out


def shape_of(options: Options) -> Shape:
    """What to measure; raises UserError for sizes that cannot be trained."""
    isa.require(options.shape.isa)
    shape = _named(options)
    vit, augmentation = ViTConfig(**shape.vit), Augmentation(crop=0)
    TrainConfig(vit=vit, augmentation=augmentation, batch_size=shape.batch, threads=shape.threads)
    return shape


def _named(options: Options) -> Shape:
    """The sizes of --model, if given; the activation is that of the flags."""
    if options.model is None:
        return options.shape
    config = ViTConfig.preset(options.model)
    if config.kind != "ViT":
        raise UserError(f"--model {options.model} is a {config.kind}; expected a ViT such as B/16")
    sizes = {name: getattr(config, name) for name in options.shape.vit if name != "activation"}
    return dataclasses.replace(options.shape, **sizes)


def file_name(options: Options, kind: str) -> str:
    """--name, or a name made of the kind of benchmark and the flags that are not defaults."""
    if options.name is not None:
        return options.name
    words = [kind]
    if options.model is not None:
        words.append(options.model.lower().replace("/", ""))
    if options.shape.activation != Shape.activation:
        words.append(options.shape.activation)
    if options.shape.isa != Shape.isa:
        words.append(options.shape.isa)
    if options.sweep != "none":
        words.append(options.sweep)
    return "_".join(words)
