"""`python -m minivit.predict RUN IMAGE…`: what a trained model sees in a picture."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from PIL import Image, ImageOps, UnidentifiedImageError

from minivit.backend import to_device, to_host
from minivit.cli import run_command
from minivit.data import normalize
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


def open_picture(path: Path, size: tuple[int, int]) -> np.ndarray:
    """A picture as uint8 (3, H, W): turned upright, its middle cut to shape, scaled to `size`.

    Raises:
        UserError: no such file, or no picture.
    """
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I;16"):  # 16-bit grey, which convert would cut at 255
                upright = upright.point(lambda level: level * (1 / 257))
            upright = upright.convert("RGB")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (UnidentifiedImageError, IsADirectoryError, Image.DecompressionBombError):
        raise UserError(f"{path}: not a picture that Pillow can open") from None
    except PermissionError:
        raise
    except (OSError, ValueError, SyntaxError) as error:  # what Pillow raises where one is cut
        raise UserError(f"{path}: a damaged picture ({error})") from None
    height, width = size
    fitted = ImageOps.fit(upright, (width, height), Image.Resampling.BICUBIC)
    return np.asarray(fitted).transpose(2, 0, 1)


if __name__ == "__main__":
    sys.exit(run_command(main, Options, "python -m minivit.predict"))
