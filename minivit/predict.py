"""`python -m minivit.predict RUN IMAGE…`: what a trained model sees in a picture."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from minivit.backend import to_device, to_host
from minivit.cli import run_command
from minivit.data import normalize, open_picture
from minivit.engine.run import load_model
from minivit.errors import UserError
from minivit.functional import softmax_forward


@dataclass(frozen=True)
class Options:
    """Name the most probable classes of pictures."""

    run: Annotated[Path, tyro.conf.Positional]
    """A directory that minivit.train made."""
    images: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Pictures in any format that Pillow opens."""
    top: int = 5
    """How many classes to name."""
    device: str = "cpu"
    """cpu, cuda, or cuda:N."""


def main(options: Options) -> int:
    """Print the top classes of each picture with their probabilities."""
    if options.top < 1:
        raise UserError(f"--top is {options.top}; expected at least 1")
    if not options.images:
        raise UserError("no picture given; expected RUN IMAGE [IMAGE …]")
    model, state = load_model(options.run, options.device)
    pictures = np.stack([open_picture(path, model.config.image_hw) for path in options.images])
    images = to_device(normalize(pictures, state["mean"], state["std"]), options.device)
    probs = to_host(softmax_forward(model(images))[0])
    for path, row in zip(options.images, probs, strict=True):
        print(path)
        for k in np.argsort(-row)[: options.top]:
            print(f"{row[k]:7.1%}  {state['class_names'][k]}")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main, Options, "python -m minivit.predict"))
