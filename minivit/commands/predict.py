"""`minivit predict RUN IMAGE…`: the most probable classes of images."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from minivit.backend import to_device, to_host
from minivit.commands.cli import parse
from minivit.data import open_picture
from minivit.engine import load_model
from minivit.errors import UserError
from minivit.functional import softmax_forward


@dataclass(frozen=True)
class Options:
    """Name the most probable classes of images."""

    run: Annotated[Path, tyro.conf.Positional]
    """A directory that minivit train made."""
    images: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Image files: JPEG, PNG, GIF, BMP, TIFF, WebP or PPM."""
    top: int = 5
    """How many classes to name."""
    device: str = "cpu"
    """cpu, cuda, or cuda:N."""


def main(options: Options) -> int:
    """Print the top classes of each image with their probabilities."""
    if options.top < 1:
        raise UserError(f"--top is {options.top}; expected at least 1")
    if not options.images:
        raise UserError("no image given; expected RUN IMAGE [IMAGE …]")
    trained = load_model(options.run, options.device)
    size = trained.model.config.image_hw
    pixels = np.stack([open_picture(path, size) for path in options.images])
    images = to_device(trained.statistics.normalize(pixels), options.device)
    probs = to_host(softmax_forward(trained.model(images))[0])
    for path, row in zip(options.images, probs, strict=True):
        print(path)
        for k in np.argsort(-row)[: options.top]:
            print(f"{row[k]:7.1%}  {trained.class_names[k]}")
    return 0


def run(argv: list[str], prog: str = "minivit predict") -> int:
    """Parse the flags and run."""
    return main(parse(Options, argv, prog))
