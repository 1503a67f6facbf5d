"""The two-layer perceptron of an encoder block."""

from typing import Any, NamedTuple

import numpy as np

from minivit.backend import Array, RandomStream
from minivit.layers.activation import Gelu, Swiglu
from minivit.layers.dropout import Dropout
from minivit.layers.layer import Layer, run, run_backward, run_inference
from minivit.layers.linear import Linear


class MlpCache(NamedTuple):
    """What each step cached, in the order of forward."""

    fc1: tuple
    act: Any
    drop: Array | None
    fc2: tuple


class Mlp(Layer):
    """fc2(drop(act(fc1(x)))): C -> F -> C (paper, section 3.1).

    Args:
        act: the activation, a layer; None for GELU. For a `Swiglu`, fc1 has 2F outputs, which it
        reduces to F. dropout: after the activation.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        dim: int,
        hidden: int,
        act: Layer | None = None,
        dropout: float = 0.0,
    ):
        self.fc1 = Linear(rng, dim, hidden, copies=2 if isinstance(act, Swiglu) else 1)
        self.act = act or Gelu()
        self.drop = Dropout(dropout)
        self.fc2 = Linear(rng, hidden, dim)

    def forward(self, x: Array, stream: RandomStream | None = None) -> tuple[Array, MlpCache]:
        """x (B, T, C) -> (B, T, C), cache."""
        y, caches = run((self.fc1, self.act, self.drop, self.fc2), x, stream)
        return y, MlpCache(*caches)

    def __call__(self, x: Array) -> Array:
        """x (B, T, C) -> (B, T, C), no cache."""
        return run_inference((self.fc1, self.act, self.drop, self.fc2), x)

    def backward(self, dout: Array, cache: MlpCache) -> Array:
        """dout (B, T, C) -> dx (B, T, C)."""
        return run_backward((self.fc1, self.act, self.drop, self.fc2), dout, cache)
