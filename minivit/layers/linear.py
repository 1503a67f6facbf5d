"""The linear layer."""

import numpy as np

from minivit.backend import Array, RandomStream
from minivit.functional import linear_backward, linear_forward
from minivit.layers.initialize import xavier_uniform
from minivit.layers.layer import Layer, Parameter, data_of


class Linear(Layer):
    """y = x W + b; see `functional.linear`.

    weight: (in, out), Xavier-uniform. bias: (out,), zero; or None.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        fan_in: int,
        fan_out: int,
        copies: int = 1,
        bias: bool = True,
    ):
        self.weight = Parameter(xavier_uniform(rng, fan_in, fan_out, copies))
        self.bias = Parameter(np.zeros(copies * fan_out)) if bias else None

    def forward(self, x: Array, stream: RandomStream | None = None) -> tuple[Array, tuple]:
        """x (..., in) -> (..., out), cache."""
        return linear_forward(x, self.weight.data, data_of(self.bias))

    def backward(self, dy: Array, cache: tuple) -> Array:
        """dy (..., out) -> dx (..., in)."""
        dx, dweight, dbias = linear_backward(dy, cache)
        self.weight.grad += dweight
        if self.bias is not None:
            self.bias.grad += dbias
        return dx
