"""Layers, their parameters, and all of a model's parameters in one array."""

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from minivit.backend import Array, RandomStream, blocks, get_xp, to_device, to_host

ALIGNMENT = 16
"""Each parameter begins at a multiple of this many numbers: for float32 that is a cache line; a
GPU's 16-byte loads and matrix products require alignment. The gaps stay zero.
"""


class Parameter:
    """A learned array and its gradient, of the same shape and dtype.

    A layer creates its parameters in float64; a model binds them to arrays of its own dtype.
    Several backward passes accumulate in `grad`; `FlatParameters.zero_grad` resets it.
    """

    def __init__(self, data: Array):
        self.data = data

    @cached_property
    def grad(self) -> Array:
        """Created on first use, unless a model has bound its own array before."""
        return get_xp(self.data).zeros(self.data.shape, self.data.dtype)

    def __repr__(self) -> str:
        return f"Parameter(shape={self.data.shape}, dtype={self.data.dtype})"


def data_of(parameter: Parameter | None) -> Array | None:
    """A parameter's numbers; None if the layer does not have it."""
    return None if parameter is None else parameter.data


class Layer:
    """Base of all layers: finds parameters among its attributes."""

    def forward(self, x: Array, /, stream: RandomStream | None = None) -> tuple[Array, Any]:
        """x -> out, cache. stream: the source of dropout masks; None for no dropout."""
        raise NotImplementedError

    def __init_subclass__(cls, **options: Any) -> None:
        """A class with its own forward must not inherit its parent's `__call__`."""
        super().__init_subclass__(**options)
        if "forward" in vars(cls) and "__call__" not in vars(cls):
            cls.__call__ = Layer.__call__  # type: ignore[method-assign]

    def __call__(self, x: Array) -> Array:
        """x -> the output of `forward` without dropout and without a cache, which saves memory."""
        return self.forward(x)[0]

    def backward(self, dout: Array, cache: Any, /) -> Array:
        """dout -> dx; adds the parameters' gradients to their `.grad`."""
        raise NotImplementedError

    def members(self) -> Iterator[tuple[str, "Layer | Parameter"]]:
        """Its parameters and layers by name, in order of definition; list members are numbered."""
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
        """Yield ("blocks.0.attn", Layer) for this layer, whose path is `path`, and all layers
        inside it.
        """
        yield path, self
        for name, member in self.members():
            if isinstance(member, Layer):
                yield from member.named_layers(f"{path}.{name}" if path else name)


class Identity(Layer):
    """Passes its input through; used where a model does not have an optional layer."""

    def forward(self, x: Array, stream: RandomStream | None = None) -> tuple[Array, None]:
        """x -> x, no cache."""
        return x, None

    def backward(self, dout: Array, cache: None) -> Array:
        """dout -> dout."""
        return dout


def run(
    layers: Iterable[Layer], x: Array, stream: RandomStream | None = None
) -> tuple[Array, list[Any]]:
    """Forward through layers, one after another: -> out, their caches in the same order."""
    caches = []
    for layer in layers:
        x, cache = layer.forward(x, stream)
        caches.append(cache)
    return x, caches


def run_inference(layers: Iterable[Layer], x: Array) -> Array:
    """`run` without caches: a layer's output is freed once the next layer has used it."""
    for layer in layers:
        x = layer(x)
    return x


def run_backward(layers: Sequence[Layer], dout: Array, caches: Sequence[Any]) -> Array:
    """Backward through the layers of `run`, in reverse order: -> dx."""
    for layer, cache in zip(reversed(layers), reversed(caches), strict=True):
        dout = layer.backward(dout, cache)
    return dout


class FlatParameters:
    """All parameters of a layer as views into one flat array, their gradients into another.

    This reduces the optimizer to a few vector operations, the gradient's norm to one dot product,
    and a sum over workers to one addition. Parameters with two or more axes come first: weight
    decay applies to these, `data[:num_decayed]`.

    Args:
        layer: its parameters are bound to the new arrays and keep their values.
        dtype, device: of the new arrays.

    frozen: names of parameters that optimizers must not change; a set for the caller to fill.
    """

    def __init__(self, layer: Layer, dtype: str = "float32", device: str = "cpu"):
        named = sorted(layer.named_parameters(), key=lambda item: item[1].data.ndim < 2)  # stable
        arrays = [parameter.data for _, parameter in named]
        self.shapes = {name: parameter.data.shape for name, parameter in named}
        self.frozen: set[str] = set()
        self.num_decayed = 0
        self.slices, size = {}, 0
        for name, shape in self.shapes.items():
            self.slices[name] = slice(size, size + math.prod(shape))
            size += -(-math.prod(shape) // ALIGNMENT) * ALIGNMENT
            if len(shape) >= 2:
                self.num_decayed = size
        host = np.zeros(size, dtype)
        for slice_, array in zip(self.slices.values(), arrays, strict=True):
            if array.any():  # zeros that are never written take no memory
                host[slice_] = to_host(array).ravel()
        self.data = data = to_device(host, device)
        self.grad = get_xp(data).zeros(data.shape, data.dtype)
        self._bind(layer)

    def _bind(self, layer: Layer) -> None:
        """Make the layer's parameters views of these arrays."""
        data, grad = self.views(self.data), self.views(self.grad)
        for name, parameter in layer.named_parameters():
            parameter.data, parameter.grad = data[name], grad[name]

    def part(self, layer: Layer) -> "FlatParameters":
        """The same arrays, for a layer inside this one that has the same parameter names."""
        twin = copy.copy(self)
        names = [name for name, _ in layer.named_parameters()]
        twin.shapes = {name: self.shapes[name] for name in self.shapes if name in names}
        twin.slices = {name: self.slices[name] for name in twin.shapes}
        return twin

    def replica(self, layer: Layer) -> "FlatParameters":
        """The same data with new gradients, bound to a copy of the layer."""
        twin = copy.copy(self)
        twin.grad = get_xp(self.data).zeros(self.data.shape, self.data.dtype)
        twin._bind(layer)
        return twin

    def copy(self, layer: Layer) -> "FlatParameters":
        """The same numbers in new arrays, bound to a copy of the layer."""
        twin = copy.copy(self)
        twin.data = self.data.copy()
        return twin.replica(layer)

    @property
    def num_parameters(self) -> int:
        return sum(math.prod(shape) for shape in self.shapes.values())

    def views(self, flat: Array) -> dict[str, Array]:
        """A flat array of this layout (weights, moments, an average) as named, shaped views."""
        return {
            name: flat[slice_].reshape(self.shapes[name]) for name, slice_ in self.slices.items()
        }

    def host_views(self, flat: Array) -> dict[str, np.ndarray]:
        """`views` of a copy on the host, for a file."""
        return self.views(to_host(flat))

    def spans(self, selected: Callable[[str], bool]) -> Iterator[slice]:
        """The slices of the parameters whose names are `selected`, with adjacent ones merged."""
        start = stop = 0
        for name, slice_ in self.slices.items():
            if not selected(name):
                if stop > start:
                    yield slice(start, stop)
                start = slice_.stop
            elif start == stop:
                start = slice_.start
            stop = slice_.stop
        if stop > start:
            yield slice(start, stop)

    def pieces(self, selected: Callable[[str], bool]) -> Iterator[slice]:
        """`spans`, divided into pieces that fit in a CPU's cache."""
        for span in self.spans(selected):
            yield from blocks(self.data, span)

    def zero_grad(self) -> None:
        self.grad[...] = 0

    def zero_frozen_grad(self) -> None:
        """Zero the gradients of frozen parameters, so that the norm includes only trained ones."""
        for rows in self.spans(self.frozen.__contains__):
            self.grad[rows] = 0
