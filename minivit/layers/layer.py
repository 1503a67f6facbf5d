"""What a layer and its parameters are, and how all of a model's parameters become one array."""

import math
from collections.abc import Callable, Iterator

import numpy as np

from minivit.backend import Array, blocks, get_xp, to_device, to_host

ALIGNMENT = 16
"""Each parameter begins at a multiple of so many numbers: of float32 that is a cache line; a GPU's
loads of 16 bytes and its matrix products need it. What lies between two stays zero."""


class Parameter:
    """A learned array and its gradient, of the same shape and dtype.

    A layer makes its parameters in float64; a model binds them to arrays of its own dtype.
    Several backward passes add up in `grad`; `FlatParameters.zero_grad` starts anew.
    """

    def __init__(self, data: Array):
        self.data = data
        self.grad = get_xp(data).zeros(data.shape, data.dtype)  # untouched memory costs nothing

    def __repr__(self) -> str:
        return f"Parameter(shape={self.data.shape}, dtype={self.data.dtype})"


class Layer:
    """Base of all layers: finds the parameters among its attributes."""

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Parameter]]:
        """Yield ("blocks.0.attn.qkv.weight", Parameter), timm's names, in order of definition."""
        for name, value in vars(self).items():
            if isinstance(value, Parameter):
                yield prefix + name, value
            elif isinstance(value, Layer):
                yield from value.named_parameters(f"{prefix}{name}.")
            elif isinstance(value, list):
                for i, layer in enumerate(value):
                    yield from layer.named_parameters(f"{prefix}{name}.{i}.")


class FlatParameters:
    """All parameters of a layer as views into one flat array, their gradients into another.

    So the optimizer is a few lines over vectors, the gradient's norm one dot product, and a sum
    over workers one addition. Parameters with two or more axes come first: they are the ones that
    weight decay applies to, `data[:num_decayed]`.

    Args:
        layer: its parameters are bound to the new arrays; their values stay.
        dtype, device: of the new arrays.
        data: a flat array that holds the values already (a replica shares its model's), or None.

    frozen: names of the parameters that no optimizer may change; a set to be filled.
    """

    def __init__(
        self, layer: Layer, dtype: str = "float32", device: str = "cpu", data: Array | None = None
    ):
        named = sorted(layer.named_parameters(), key=lambda item: item[1].data.ndim < 2)  # stable
        arrays = [parameter.data for _, parameter in named]
        self.shapes = {name: parameter.data.shape for name, parameter in named}
        self.frozen: set[str] = set()
        self.num_decayed = 0
        self.places, size = {}, 0
        for name, shape in self.shapes.items():
            self.places[name] = slice(size, size + math.prod(shape))
            size += -(-math.prod(shape) // ALIGNMENT) * ALIGNMENT
            if len(shape) >= 2:
                self.num_decayed = size
        if data is None:
            host = np.zeros(size, dtype)
            for place, array in zip(self.places.values(), arrays, strict=True):
                host[place] = array.ravel()
            data = to_device(host, device)
        self.data, self.grad = data, get_xp(data).zeros(data.shape, data.dtype)
        data_views, grad_views = self.views(self.data), self.views(self.grad)
        for name, parameter in named:
            parameter.data, parameter.grad = data_views[name], grad_views[name]

    @property
    def num_parameters(self) -> int:
        return sum(math.prod(shape) for shape in self.shapes.values())

    def views(self, flat: Array) -> dict[str, Array]:
        """A flat array of this layout (weights, moments, an average) as named, shaped views."""
        return {name: flat[place].reshape(self.shapes[name]) for name, place in self.places.items()}

    def host_views(self, flat: Array) -> dict[str, np.ndarray]:
        """`views` of a copy on the host, for a file."""
        return self.views(to_host(flat))

    def stretches(self, wanted: Callable[[str], bool]) -> Iterator[slice]:
        """Where the parameters lie whose names are `wanted`, neighbours joined to one slice."""
        start = stop = 0
        for name, place in self.places.items():
            if not wanted(name):
                if stop > start:
                    yield slice(start, stop)
                start = place.stop
            elif start == stop:
                start = place.start
            stop = place.stop
        if stop > start:
            yield slice(start, stop)

    def pieces(self, wanted: Callable[[str], bool]) -> Iterator[slice]:
        """The same in pieces that fit in a CPU's cache."""
        for stretch in self.stretches(wanted):
            yield from blocks(self.data, stretch)

    def zero_grad(self) -> None:
        self.grad[...] = 0

    def zero_frozen_grad(self) -> None:
        """So that the gradient's norm is that of what learns."""
        for rows in self.stretches(self.frozen.__contains__):
            self.grad[rows] = 0
