"""Dropout and drop path as layers: they own no parameter, but a rate.

In training a layer gets a `RandomStream` to draw its mask from; without one it is at rest and
passes its input through.
"""

from minivit.backend import Array, RandomStream, get_xp
from minivit.functional import (
    drop_path_backward,
    drop_path_forward,
    dropout_backward,
    dropout_forward,
    dropout_mask,
)
from minivit.layers.layer import Layer


class Dropout(Layer):
    """Each number is dropped with probability `rate`; see `functional.dropout`."""

    def __init__(self, rate: float):
        self.rate = rate

    def mask(
        self, shape: tuple[int, ...], like: Array, stream: RandomStream | None
    ) -> Array | None:
        """A mask of `shape` in the dtype and on the device of `like`; None at rest."""
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
    """A residual branch is dropped as a whole, image by image; see `functional.drop_path`."""

    def forward(self, x: Array, stream: RandomStream | None = None) -> tuple[Array, Array | None]:
        """x (B, T, C) -> (B, T, C), cache (the mask (B,), or None)."""
        mask = self.mask(x.shape[:1], x, stream)
        return (x, None) if mask is None else drop_path_forward(x, mask)

    def backward(self, dout: Array, cache: Array | None) -> Array:
        """dout (B, T, C) -> dx (B, T, C)."""
        return dout if cache is None else drop_path_backward(dout, cache)
