"""Position embeddings that are added to the tokens."""

import numpy as np

from minivit.backend import Array, RandomStream
from minivit.functional import (
    position_backward,
    position_forward,
    resize_positions_backward,
    resize_positions_forward,
)
from minivit.layers.initialize import normal
from minivit.layers.layer import Layer, Parameter


class LearnedPositions(Layer):
    """One learned vector per position (paper, eq. 1): pos_embed (1, T, C)."""

    def __init__(self, rng: np.random.Generator, num_positions: int, dim: int):
        self.pos_embed = Parameter(normal(rng, (1, num_positions, dim), 0.02))

    def forward(self, x: Array, stream: RandomStream | None = None) -> tuple[Array, None]:
        """x (B, T, C) -> (B, T, C), cache."""
        return position_forward(x, self.pos_embed.data)

    def backward(self, dout: Array, cache: None) -> Array:
        """dout -> dx."""
        dx, dpos_embed = position_backward(dout, cache)
        self.pos_embed.grad += dpos_embed
        return dx


class ResizedPositions(Layer):
    """The learned positions of another layer, interpolated to another grid (paper, section 3.2).

    It has no parameters: its gradients are added to those of the other layer.

    Args:
        positions: the other layer. prefix: number of tokens before the patches, whose positions
        stay unchanged.
        old, new: rows and columns of the grids.
    """

    def __init__(
        self, positions: LearnedPositions, prefix: int, old: tuple[int, int], new: tuple[int, int]
    ):
        self.positions, self.prefix, self.old, self.new = positions, prefix, old, new

    def forward(self, x: Array, stream: RandomStream | None = None) -> tuple[Array, tuple]:
        """x (B, T', C) -> (B, T', C), cache."""
        pos_embed, cache = resize_positions_forward(
            self.positions.pos_embed.data, self.prefix, self.old, self.new
        )
        out, _ = position_forward(x, pos_embed)
        return out, cache

    def backward(self, dout: Array, cache: tuple) -> Array:
        """dout -> dx."""
        dx, dpos_embed = position_backward(dout, None)
        self.positions.pos_embed.grad += resize_positions_backward(dpos_embed, cache)
        return dx


class FixedPositions(Layer):
    """One fixed vector per position: table (1, T, C)."""

    def __init__(self, table: Array):
        self.table = table

    def resized(self, prefix: int, old: tuple[int, int], new: tuple[int, int]) -> "FixedPositions":
        """Interpolated to another grid; arguments as in `ResizedPositions`."""
        return FixedPositions(resize_positions_forward(self.table, prefix, old, new)[0])

    def forward(self, x: Array, stream: RandomStream | None = None) -> tuple[Array, None]:
        """x (B, N, C) -> (B, N, C), cache; for N < T tokens, the last N positions."""
        return position_forward(x, self.table[:, -x.shape[1] :])

    def backward(self, dout: Array, cache: None) -> Array:
        """dout -> dx."""
        return dout
