"""What a layer and its parameters are, and how all of a model's parameters become one array."""

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from minivit.backend import Array, RandomStream, blocks, get_xp, to_device, to_host

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

    @cached_property
    def grad(self) -> Array:
        """Made when it is first asked for: a model binds its own before."""
        return get_xp(self.data).zeros(self.data.shape, self.data.dtype)

    def __repr__(self) -> str:
        return f"Parameter(shape={self.data.shape}, dtype={self.data.dtype})"


def data_of(parameter: Parameter | None) -> Array | None:
    """Its numbers; None where a layer does without it."""
    return None if parameter is None else parameter.data


class Layer:
    """Base of all layers: finds the parameters among its attributes."""

    def forward(self, x: Array, /, stream: RandomStream | None = None) -> tuple[Array, Any]:
        """x -> out, cache. stream: what dropout masks are drawn from; None at rest."""
        raise NotImplementedError

    def __init_subclass__(cls, **options: Any) -> None:
        """A class that has a forward of its own has no use for its parent's `__call__`."""
        super().__init_subclass__(**options)
        if "forward" in vars(cls) and "__call__" not in vars(cls):
            cls.__call__ = Layer.__call__  # type: ignore[method-assign]

    def __call__(self, x: Array) -> Array:
        """x -> what `forward` gives at rest, without a cache: less memory, and less to write."""
        return self.forward(x)[0]

    def backward(self, dout: Array, cache: Any, /) -> Array:
        """dout -> dx; adds the parameters' gradients to their `.grad`."""
        raise NotImplementedError

    def members(self) -> Iterator[tuple[str, "Layer | Parameter"]]:
        """Its parameters and layers by name, in order of definition; those of a list numbered."""
        for name, value in vars(self).items():
            if isinstance(value, Parameter | Layer):
                yield name, value
            elif isinstance(value, list):
                for i, layer in enumerate(value):
                    yield f"{name}.{i}", layer

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Parameter]]:
        """Yield ("blocks.0.attn.qkv.weight", Parameter), timm's names, in order of definition."""
        for name, member in self.members():
            if isinstance(member, Parameter):
                yield prefix + name, member
            else:
                yield from member.named_parameters(f"{prefix}{name}.")

    def named_layers(self, path: str = "") -> "Iterator[tuple[str, Layer]]":
        """Yield ("blocks.0.attn", Layer) of this layer, whose path is `path`, and all inside it."""
        yield path, self
        for name, member in self.members():
            if isinstance(member, Layer):
                yield from member.named_layers(f"{path}.{name}" if path else name)


class Identity(Layer):
    """Passes its input through: the place of a layer that a model leaves out."""

    def forward(self, x: Array, stream: RandomStream | None = None) -> tuple[Array, None]:
        """x -> x, no cache."""
        return x, None

    def backward(self, dout: Array, cache: None) -> Array:
        """dout -> dout."""
        return dout


def run(
    layers: Iterable[Layer], x: Array, stream: RandomStream | None = None
) -> tuple[Array, list[Any]]:
    """Forward through layers, one after the other: -> out, their caches in that order."""
    caches = []
    for layer in layers:
        x, cache = layer.forward(x, stream)
        caches.append(cache)
    return x, caches


def run_at_rest(layers: Iterable[Layer], x: Array) -> Array:
    """`run` without caches: what a layer gave is let go when the next one has read it."""
    for layer in layers:
        x = layer(x)
    return x


def run_backward(layers: Sequence[Layer], dout: Array, caches: Sequence[Any]) -> Array:
    """Backward through the layers of `run`, the last one first: -> dx."""
    for layer, cache in zip(reversed(layers), reversed(caches), strict=True):
        dout = layer.backward(dout, cache)
    return dout


class FlatParameters:
    """All parameters of a layer as views into one flat array, their gradients into another.

    So the optimizer is a few lines over vectors, the gradient's norm one dot product, and a sum
    over workers one addition. Parameters with two or more axes come first: they are the ones that
    weight decay applies to, `data[:num_decayed]`.

    Args:
        layer: its parameters are bound to the new arrays; their values stay.
        dtype, device: of the new arrays.

    frozen: names of the parameters that no optimizer may change; a set to be filled.
    """

    def __init__(self, layer: Layer, dtype: str = "float32", device: str = "cpu"):
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
        host = np.zeros(size, dtype)
        for place, array in zip(self.places.values(), arrays, strict=True):
            if array.any():  # zeros that nobody writes take no memory
                host[place] = to_host(array).ravel()
        self.data = data = to_device(host, device)
        self.grad = get_xp(data).zeros(data.shape, data.dtype)
        self._bind(layer)

    def _bind(self, layer: Layer) -> None:
        """Make the layer's parameters views of these arrays."""
        data, grad = self.views(self.data), self.views(self.grad)
        for name, parameter in layer.named_parameters():
            parameter.data, parameter.grad = data[name], grad[name]

    def part(self, layer: Layer) -> "FlatParameters":
        """The same arrays, as those of a layer inside this one whose parameters' names are the same
        in both."""
        twin = copy.copy(self)
        names = [name for name, _ in layer.named_parameters()]
        twin.shapes = {name: self.shapes[name] for name in self.shapes if name in names}
        twin.places = {name: self.places[name] for name in twin.shapes}
        return twin

    def replica(self, layer: Layer) -> "FlatParameters":
        """The same data with gradients of its own, bound to a copy of the layer."""
        twin = copy.copy(self)
        twin.grad = get_xp(self.data).zeros(self.data.shape, self.data.dtype)
        twin._bind(layer)
        return twin

    def copy(self, layer: Layer) -> "FlatParameters":
        """The same numbers in arrays of their own, bound to a copy of the layer."""
        twin = copy.copy(self)
        twin.data = self.data.copy()
        return twin.replica(layer)

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
