"""Conversion between grayscale and RGB images."""

import numpy as np

from minivit.data.stored import Images, blocks
from minivit.errors import UserError


def luma(images: np.ndarray) -> np.ndarray:
    """ITU-R 601-2 luma in Pillow's integer arithmetic: uint8 (B, 3, H, W) -> int32 (B, 1, H, W)."""
    red, green, blue = np.moveaxis(images.astype(np.int32), 1, 0)
    return ((19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16)[:, None]


def with_channels(images: Images, channels: int) -> Images:
    """Grayscale images as RGB, or RGB images as grayscale, as Pillow converts them: uint8 (N,
    channels, H, W).

    Raises UserError unless the numbers of channels are 1 or 3.
    """
    have = images.shape[1]
    if have == channels:
        return images
    if (have, channels) == (1, 3):
        return np.asarray(images).repeat(3, axis=1)
    if (have, channels) == (3, 1):
        return np.concatenate([luma(block).astype(np.uint8) for block in blocks(images)])
    raise UserError(
        f"in_channels is {channels}, the images have {have}; expected {have}"
        + {1: ", or 3", 3: ", or 1 for grayscale"}.get(have, "")
    )
