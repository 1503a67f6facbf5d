"""Normalization of pixels: mean 0 and standard deviation 1 per channel."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from minivit.data.stored import Images, blocks
from minivit.errors import UserError


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of each channel, over pixels scaled to 0…1.

    Raises:
        UserError: a mean is not finite, or a deviation is not finite and positive.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        finite = all(map(math.isfinite, (*self.mean, *self.std)))
        if len(self.mean) != len(self.std) or not finite or not all(s > 0 for s in self.std):
            raise UserError(
                f"mean {list(self.mean)} and std {list(self.std)}: expected a mean and a positive "
                "deviation per channel"
            )

    @classmethod
    def of(cls, images: Images) -> "Statistics":
        """Statistics of uint8 (N, C, H, W); a constant channel gets std 1."""
        # counts of the 256 levels: exact, and without a float copy of the whole set
        counts = sum(map(_count_levels, blocks(images)), np.zeros((images.shape[1], 256), np.int64))
        level, pixels = np.arange(256) / 255.0, counts.sum(1)
        mean = counts @ level / pixels
        variance = counts @ level**2 / pixels - mean**2
        std = np.sqrt(np.maximum(variance, 0.0))
        return cls(tuple(mean.tolist()), tuple(np.where(std > 1e-6, std, 1.0).tolist()))

    def normalize(self, images: np.ndarray, dtype: DTypeLike = np.float32) -> np.ndarray:
        """uint8 (N, C, H, W) -> dtype (N, C, H, W); see the function `normalize`."""
        return normalize(images, self.mean, self.std, dtype)

    def denormalize(self, x: np.ndarray) -> np.ndarray:
        """float (N, C, H, W) -> uint8 (N, C, H, W); see the function `denormalize`."""
        return denormalize(x, self.mean, self.std)

    def scale_and_offset(self) -> tuple[np.ndarray, np.ndarray]:
        """float32 (C,), (C,); see the function `scale_and_offset`."""
        return scale_and_offset(self.mean, self.std, len(self.mean))


def _count_levels(images: np.ndarray) -> np.ndarray:
    """uint8 (N, C, H, W) -> int64 (C, 256)."""
    channels = np.moveaxis(images, 1, 0).reshape(images.shape[1], -1)
    return np.stack([np.bincount(channel, minlength=256) for channel in channels])


def normalize(
    images: np.ndarray,
    mean: ArrayLike,
    std: ArrayLike,
    dtype: DTypeLike = np.float32,
) -> np.ndarray:
    """(images / 255 - mean) / std by channel: uint8 (B, C, H, W), (C,), (C,) -> dtype (B, C, H, W).

    Raises UserError unless there is one mean and one positive deviation per channel, and for images
    that are not uint8, which may already be normalized.
    """
    if images.dtype != np.uint8:
        raise UserError(f"images of {images.dtype}: normalize expects uint8, 0 to 255")
    scale, offset = scale_and_offset(mean, std, images.shape[1], dtype)
    out = images * scale[:, None, None]
    out -= offset[:, None, None]
    return out


def scale_and_offset(
    mean: ArrayLike, std: ArrayLike, channels: int, dtype: DTypeLike = np.float32
) -> tuple[np.ndarray, np.ndarray]:
    """`normalize` as one product and one sum, x · scale - offset: dtype (C,), (C,).

    Raises UserError unless there is one mean and one positive deviation per channel.
    """
    mean, std = _by_channel(mean, std, channels)
    return (1 / (255 * std)).astype(dtype), (mean / std).astype(dtype)


def denormalize(x: np.ndarray, mean: ArrayLike, std: ArrayLike) -> np.ndarray:
    """The inverse of `normalize`, rounded and clipped: float (B, C, H, W) -> uint8 (B, C, H, W)."""
    mean, std = _by_channel(mean, std, x.shape[1])
    pixels = (x * std[:, None, None] + mean[:, None, None]) * 255
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def _by_channel(mean: ArrayLike, std: ArrayLike, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Check that mean and std have this many channels: float64 (C,), (C,)."""
    mean, std = np.asarray(mean, np.float64), np.asarray(std, np.float64)
    if mean.shape != (channels,) or std.shape != (channels,) or not np.all(std > 0):
        raise UserError(
            f"mean {mean.tolist()} and std {std.tolist()}: expected a mean and a positive "
            f"deviation for each of the images' {channels} channels"
        )
    return mean, std
