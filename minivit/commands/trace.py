"""`minivit trace RUN IMAGE`: every tensor of a forward and a backward pass, in order.

In Python it is `minivit.trace(model, image)`; see `minivit.models.tracing`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from minivit.commands.cli import parse
from minivit.commands.weights import load_any
from minivit.data import FORMATS, read_image
from minivit.errors import UserError
from minivit.models import trace


@dataclass(frozen=True)
class Options:
    """Step through a trained model: names, shapes, values, equations, places in the code."""

    run: Annotated[Path, tyro.conf.Positional]
    """A directory created by minivit train, or published weights (see minivit models)."""
    image: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(help=f"An image file: {FORMATS}.")]
    label: str | None = None
    """The true class, for the loss; None: the most probable class."""
    only: str = ""
    """Show only steps whose names contain this, for example blocks.0.attn."""


def main(options: Options) -> int:
    """Print the table."""
    trained = load_any(options.run)
    if not trained.class_names:
        raise UserError(
            "this model has no head, so there is no loss to trace; minivit finetune adds one"
        )
    names = trained.class_names
    if options.label is not None and options.label not in names:
        raise UserError(f"--label {options.label}: the model's classes are {', '.join(names)}")
    label = None if options.label is None else names.index(options.label)
    pixels = read_image(options.image, trained.preprocess)
    steps = trace(trained.model, trained.statistics.normalize(pixels[None]), label)
    found = steps.only(options.only)
    if not len(found):
        raise UserError(f"--only {options.only} matches no name; leave it out to see all steps")
    print(found)
    return 0


def run(argv: list[str], prog: str = "minivit trace") -> int:
    """Parse the flags and run."""
    return main(parse(Options, argv, prog))
