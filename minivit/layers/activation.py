"""Activations as layers: they own no parameter."""

from minivit.backend import Array, RandomStream
from minivit.functional import (
    gelu_backward,
    gelu_forward,
    gelu_tanh_backward,
    gelu_tanh_forward,
)
from minivit.functional.gelu import GeluCache
from minivit.layers.layer import Layer


class Gelu(Layer):
    """GELU by its definition, x Φ(x); see `functional.gelu`."""

    def forward(self, x: Array, stream: RandomStream | None = None) -> tuple[Array, GeluCache]:
        """x of any shape -> the same shape, cache."""
        return gelu_forward(x)

    def backward(self, dout: Array, cache: GeluCache) -> Array:
        """dout -> dx, both of the shape of x."""
        return gelu_backward(dout, cache)


class GeluTanh(Layer):
    """GELU in its tanh form, as in the paper's code; see `functional.gelu`."""

    def forward(self, x: Array, stream: RandomStream | None = None) -> tuple[Array, GeluCache]:
        """x of any shape -> the same shape, cache."""
        return gelu_tanh_forward(x)

    def backward(self, dout: Array, cache: GeluCache) -> Array:
        """dout -> dx, both of the shape of x."""
        return gelu_tanh_backward(dout, cache)
