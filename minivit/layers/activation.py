"""Activations as layers, without parameters."""

from minivit.backend import Array, RandomStream
from minivit.functional import (
    gelu_backward,
    gelu_forward,
    gelu_tanh_backward,
    gelu_tanh_forward,
    quick_gelu_backward,
    quick_gelu_forward,
    swiglu_backward,
    swiglu_forward,
)
from minivit.functional.gelu import GeluCache, gelu, gelu_tanh, quick_gelu
from minivit.functional.swiglu import SwigluCache
from minivit.layers.layer import Layer


class Gelu(Layer):
    """Exact GELU, x Φ(x); see `functional.gelu`."""

    def forward(self, x: Array, stream: RandomStream | None = None) -> tuple[Array, GeluCache]:
        """x of any shape -> the same shape, cache."""
        return gelu_forward(x)

    def __call__(self, x: Array) -> Array:
        """x of any shape -> the same shape, no cache."""
        return gelu(x)

    def backward(self, dout: Array, cache: GeluCache) -> Array:
        """dout -> dx, both of the shape of x."""
        return gelu_backward(dout, cache)


class GeluTanh(Layer):
    """GELU in its tanh form, as in the paper's code; see `functional.gelu`."""

    def forward(self, x: Array, stream: RandomStream | None = None) -> tuple[Array, GeluCache]:
        """x of any shape -> the same shape, cache."""
        return gelu_tanh_forward(x)

    def __call__(self, x: Array) -> Array:
        """x of any shape -> the same shape, no cache."""
        return gelu_tanh(x)

    def backward(self, dout: Array, cache: GeluCache) -> Array:
        """dout -> dx, both of the shape of x."""
        return gelu_tanh_backward(dout, cache)


class QuickGelu(Layer):
    """GELU with a logistic function instead of Φ, as in CLIP; see `functional.gelu`."""

    def forward(self, x: Array, stream: RandomStream | None = None) -> tuple[Array, GeluCache]:
        """x of any shape -> the same shape, cache."""
        return quick_gelu_forward(x)

    def __call__(self, x: Array) -> Array:
        """x of any shape -> the same shape, no cache."""
        return quick_gelu(x)

    def backward(self, dout: Array, cache: GeluCache) -> Array:
        """dout -> dx, both of the shape of x."""
        return quick_gelu_backward(dout, cache)


class Swiglu(Layer):
    """The gate of SwiGLU, which halves the width; see `functional.swiglu`."""

    def forward(self, x: Array, stream: RandomStream | None = None) -> tuple[Array, SwigluCache]:
        """x (..., 2F) -> (..., F), cache."""
        return swiglu_forward(x)

    def backward(self, dout: Array, cache: SwigluCache) -> Array:
        """dout (..., F) -> dx (..., 2F)."""
        return swiglu_backward(dout, cache)
