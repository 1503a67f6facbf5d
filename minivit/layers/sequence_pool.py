"""A weighted mean of all tokens."""

import numpy as np

from minivit.backend import Array, RandomStream
from minivit.functional import sequence_pool_backward, sequence_pool_forward
from minivit.layers.initialize import xavier_uniform
from minivit.layers.layer import Layer, Parameter


class SequencePool(Layer):
    """A mean with learned weights; see `functional.pooling`. weight: (C, 1)."""

    def __init__(self, rng: np.random.Generator, dim: int):
        self.weight = Parameter(xavier_uniform(rng, dim, 1))

    def forward(self, x: Array, stream: RandomStream | None = None) -> tuple[Array, tuple]:
        """x (B, T, C) -> (B, C), cache."""
        return sequence_pool_forward(x, self.weight.data)

    def backward(self, dy: Array, cache: tuple) -> Array:
        """dy (B, C) -> dx (B, T, C)."""
        dx, dweight = sequence_pool_backward(dy, cache)
        self.weight.grad += dweight
        return dx
