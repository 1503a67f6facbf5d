"""`python -m minivit.trace RUN IMAGE`: every tensor of a forward and a backward pass, in order.

In Python it is `minivit.trace(model, image)`; see `minivit.models.trace`.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from minivit.cli import run_command
from minivit.data import normalize, open_picture
from minivit.engine.run import load_model
from minivit.errors import UserError
from minivit.models import trace


@dataclass(frozen=True)
class Options:
    """Step through a trained model: names, shapes, numbers, equations, places in the code."""

    run: Annotated[Path, tyro.conf.Positional]
    """A directory that minivit.train made."""
    image: Annotated[Path, tyro.conf.Positional]
    """A picture in any format that Pillow opens."""
    label: str | None = None
    """The right class, for the loss; None for the one that the model thinks best."""
    only: str = ""
    """Only steps that have this in their names, as blocks.0.attn."""


def main(options: Options) -> int:
    """Print the table."""
    model, state = load_model(options.run)
    names = list(state["class_names"])
    if options.label is not None and options.label not in names:
        raise UserError(f"--label {options.label}: this model knows {', '.join(names)}")
    label = None if options.label is None else names.index(options.label)
    pixels = open_picture(options.image, model.config.image_hw)
    steps = trace(model, normalize(pixels[None], state["mean"], state["std"]), label)
    found = steps.only(options.only)
    if not len(found):
        raise UserError(f"--only {options.only} is in no name; leave it out to see them all")
    print(found)
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main, Options, "python -m minivit.trace"))
