"""Normalization of tokens, with a learned scale."""

import numpy as np

from minivit.backend import Array, RandomStream
from minivit.functional import (
    layernorm_backward,
    layernorm_forward,
    rmsnorm_backward,
    rmsnorm_forward,
)
from minivit.functional.layernorm import LayerNormCache
from minivit.functional.rmsnorm import RMSNormCache
from minivit.layers.layer import Layer, Parameter


class LayerNorm(Layer):
    """See `functional.layernorm`. weight: γ (C,), ones. bias: β (C,), zeros (timm's names)."""

    def __init__(self, dim: int, eps: float = 1e-6):
        self.weight = Parameter(np.ones(dim))
        self.bias = Parameter(np.zeros(dim))
        self.eps = eps

    def forward(self, x: Array, stream: RandomStream | None = None) -> tuple[Array, LayerNormCache]:
        """x (..., C) -> (..., C), cache."""
        return layernorm_forward(x, self.weight.data, self.bias.data, self.eps)

    def backward(self, dy: Array, cache: LayerNormCache) -> Array:
        """dy (..., C) -> dx (..., C)."""
        dx, dgamma, dbeta = layernorm_backward(dy, cache)
        self.weight.grad += dgamma
        self.bias.grad += dbeta
        return dx


class RMSNorm(Layer):
    """See `functional.rmsnorm`. weight: γ (C,), ones (timm's name)."""

    def __init__(self, dim: int, eps: float = 1e-6):
        self.weight = Parameter(np.ones(dim))
        self.eps = eps

    def forward(self, x: Array, stream: RandomStream | None = None) -> tuple[Array, RMSNormCache]:
        """x (..., C) -> (..., C), cache."""
        return rmsnorm_forward(x, self.weight.data, self.eps)

    def backward(self, dy: Array, cache: RMSNormCache) -> Array:
        """dy (..., C) -> dx (..., C)."""
        dx, dgamma = rmsnorm_backward(dy, cache)
        self.weight.grad += dgamma
        return dx
