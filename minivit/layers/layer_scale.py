"""LayerScale with its learned scale."""

import numpy as np

from minivit.backend import Array, RandomStream
from minivit.functional import layer_scale_backward, layer_scale_forward
from minivit.layers.layer import Layer, Parameter


class LayerScale(Layer):
    """See `functional.layer_scale`. gamma: (C,), all `value` at first (timm's name).

    Args:
        value: 1e-5 in the paper for deep models, so that a new block is close to the identity.
    """

    def __init__(self, dim: int, value: float):
        self.gamma = Parameter(np.full(dim, value))

    def forward(self, x: Array, stream: RandomStream | None = None) -> tuple[Array, tuple]:
        """x (..., C) -> (..., C), cache."""
        return layer_scale_forward(x, self.gamma.data)

    def backward(self, dout: Array, cache: tuple) -> Array:
        """dout (..., C) -> dx (..., C)."""
        dx, dgamma = layer_scale_backward(dout, cache)
        self.gamma.grad += dgamma
        return dx
