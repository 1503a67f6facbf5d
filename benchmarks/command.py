"""What `benchmarks.train_step` and `benchmarks.inference` share: the flags and the run."""

import dataclasses
import sys
from dataclasses import dataclass, field
from typing import Literal

from benchmarks import report, sweep
from benchmarks.runner import CONTENDERS, installed, measure, table_rows
from benchmarks.shape import Shape
from minivit.models import ViTConfig


@dataclass(frozen=True)
class Options:
    """Measure minivit beside PyTorch (and JAX, if installed): same model, same batch, in turn."""

    shape: Shape = field(default_factory=Shape)
    model: str | None = None
    """A size by name, e.g. B/16, in place of the sizes below."""
    only: tuple[str, ...] = tuple(CONTENDERS)
    """Contenders."""
    rounds: int = 7
    """Rounds in which all take turns."""
    steps: int = 3
    """Steps a round; the median of them counts."""
    sweep: Literal["none", "batch", "depth", "dim", "image_size", "threads"] = "none"
    """Vary one size instead, and plot how the cost grows."""
    name: str | None = None
    """Of the files in benchmarks/results; None for one that says what was measured."""


def run(options: Options, train: bool, prog: str) -> int:
    """Measure, print, write."""
    shape = _shape(options)
    names = [name for name in options.only if installed(name)]
    for name in set(options.only) - set(names):
        print(f"{name} is not installed and left out", file=sys.stderr)
    kind = "train_step" if train else "inference"
    command = " ".join([prog, *sys.argv[1:]])
    if options.sweep != "none":
        name = options.name or f"{kind}_{options.sweep}"
        sweep.run(name, options.sweep, shape, names, train, options, command)
        return 0
    results = measure(names, shape, train, options.rounds, options.steps)
    what = "training step" if train else "inference"
    title = f"{what}: {shape.dim} × {shape.depth}, {shape.image_size} px, batch {shape.batch}"
    title = title[0].upper() + title[1:]
    rows = table_rows(results, shape, train)
    report.write(options.name or kind, title, shape, rows, command)
    return 0


def _shape(options: Options) -> Shape:
    if options.model is None:
        return options.shape
    config = ViTConfig.preset(options.model)
    names = {field.name for field in dataclasses.fields(Shape)} - {"batch", "threads", "activation"}
    return dataclasses.replace(options.shape, **{name: getattr(config, name) for name in names})
