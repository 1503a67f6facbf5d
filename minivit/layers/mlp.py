"""The two-layer perceptron of an encoder block."""

from typing import NamedTuple

import numpy as np

from minivit.backend import Array, RandomStream
from minivit.functional import (
    gelu_backward,
    gelu_forward,
    gelu_tanh_backward,
    gelu_tanh_forward,
)
from minivit.functional.gelu import GeluCache
from minivit.layers.dropout import Dropout
from minivit.layers.layer import Layer
from minivit.layers.linear import Linear

ACTIVATIONS = {
    "gelu": (gelu_forward, gelu_backward),
    "gelu_tanh": (gelu_tanh_forward, gelu_tanh_backward),
}


class MlpCache(NamedTuple):
    """What each step cached, in the order of forward."""

    fc1: tuple
    act: GeluCache
    drop: Array | None
    fc2: tuple


class Mlp(Layer):
    """C -> F -> C with a GELU, and dropout after it, between (paper, section 3.1)."""

    def __init__(
        self,
        rng: np.random.Generator,
        dim: int,
        hidden: int,
        activation: str = "gelu",
        dropout: float = 0.0,
    ):
        self.fc1 = Linear(rng, dim, hidden)
        self.fc2 = Linear(rng, hidden, dim)
        self.drop = Dropout(dropout)
        self.activation = activation

    def forward(self, x: Array, stream: RandomStream | None = None) -> tuple[Array, MlpCache]:
        """x (B, T, C) -> (B, T, C), cache."""
        act_forward, _ = ACTIVATIONS[self.activation]
        h, fc1 = self.fc1.forward(x)
        h, act = act_forward(h)
        h, drop = self.drop.forward(h, stream)
        y, fc2 = self.fc2.forward(h)
        return y, MlpCache(fc1, act, drop, fc2)

    def backward(self, dy: Array, cache: MlpCache) -> Array:
        """dy (B, T, C) -> dx (B, T, C)."""
        _, act_backward = ACTIVATIONS[self.activation]
        dh = self.fc2.backward(dy, cache.fc2)
        dh = self.drop.backward(dh, cache.drop)
        dh = act_backward(dh, cache.act)
        return self.fc1.backward(dh, cache.fc1)
