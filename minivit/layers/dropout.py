"""Dropout, drop path and PatchDropout as layers: they have a rate but no parameters.

In training a layer gets a `RandomStream` to draw its mask from; without one it passes its input
through.
"""

import numpy as np

from minivit.backend import Array, RandomStream, get_xp
from minivit.functional import (
    drop_path_backward,
    drop_path_forward,
    dropout_backward,
    dropout_forward,
    dropout_mask,
    take_tokens_backward,
    take_tokens_forward,
)
from minivit.layers.layer import Layer


class Dropout(Layer):
    """Each number is dropped with probability `rate`; see `functional.dropout`."""

    def __init__(self, rate: float):
        self.rate = rate

    def mask(
        self, shape: tuple[int, ...], like: Array, stream: RandomStream | None
    ) -> Array | None:
        """A mask of `shape` with the dtype and device of `like`; None if inactive."""
        if self.rate == 0.0 or stream is None:
            return None
        uniform = get_xp(like).asarray(stream.uniform(shape), like.dtype)
        return dropout_mask(uniform, self.rate)

    def forward(self, x: Array, stream: RandomStream | None = None) -> tuple[Array, Array | None]:
        """x of any shape, first axis the batch -> the same shape, cache (the mask, or None)."""
        mask = self.mask(x.shape, x, stream)
        return (x, None) if mask is None else dropout_forward(x, mask)

    def backward(self, dout: Array, cache: Array | None) -> Array:
        """dout -> dx, both of the shape of x."""
        return dout if cache is None else dropout_backward(dout, cache)


class DropPath(Dropout):
    """A residual branch is dropped as a whole, per image; see `functional.drop_path`."""

    def forward(self, x: Array, stream: RandomStream | None = None) -> tuple[Array, Array | None]:
        """x (B, T, C) -> (B, T, C), cache (the mask (B,), or None)."""
        mask = self.mask(x.shape[:1], x, stream)
        return (x, None) if mask is None else drop_path_forward(x, mask)

    def backward(self, dout: Array, cache: Array | None) -> Array:
        """dout (B, T, C) -> dx (B, T, C)."""
        return dout if cache is None else drop_path_backward(dout, cache)


class PatchDropout(Layer):
    """In training, each image keeps a random part of its patches (Liu et al., 2023).

    Dropped patches are never computed: at a rate of 0.5, a step costs about half as much, so the
    model sees twice as many images in the same time. The patches are drawn for each image
    separately. The number kept, round((1 - rate) · N), is the same for all images, so that a batch
    remains one array.

    Args:
        rate: fraction of the patches to drop. prefix: number of tokens before the patches, which
        all stay.
    """

    def __init__(self, rate: float, prefix: int):
        self.rate, self.prefix = rate, prefix

    def forward(self, x: Array, stream: RandomStream | None = None) -> tuple[Array, tuple | None]:
        """x (B, T, C) -> (B, T', C), the kept tokens in order; cache (None if inactive)."""
        if self.rate == 0.0 or stream is None:
            return x, None
        keep_indices = self.keep_indices(stream.uniform((len(x), x.shape[1] - self.prefix)))
        return take_tokens_forward(x, get_xp(x).asarray(keep_indices))

    def keep_indices(self, uniform: np.ndarray) -> np.ndarray:
        """uniform (B, N), in [0, 1) -> int64 (B, T'): the tokens that stay, in ascending order:
        all before the patches, and the patches with the smallest numbers.
        """
        B, N = uniform.shape
        count = max(1, round(N * (1.0 - self.rate)))
        patches = np.sort(uniform.argsort(1, kind="stable")[:, :count], 1) + self.prefix
        return np.concatenate([np.tile(np.arange(self.prefix), (B, 1)), patches], 1)

    def backward(self, dout: Array, cache: tuple | None) -> Array:
        """dout (B, T', C) -> dx (B, T, C)."""
        return dout if cache is None else take_tokens_backward(dout, cache)
