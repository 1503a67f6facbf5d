"""A picture from a file, as a model takes it."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from minivit.errors import UserError


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
