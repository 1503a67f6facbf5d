"""Checks gradients against finite differences, along random directions and element by element.

An output array is reduced to one number L = Σ w·out with random weights w; then ∂L/∂out = w is
passed to backward. Along a direction v, the derivative of L is estimated from five points,

    L'(0) ≈ (8·[L(h) - L(-h)] - [L(2h) - L(-2h)]) / 12h,        error O(h⁴) + rounding/h,

and compared with Σ gradient·v. A random direction tests all elements of a tensor at once; single
elements show where an error is.
"""

import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from minivit.backend import Array, RandomStream
from minivit.errors import UserError
from minivit.layers import Layer

TOLERANCE = 1e-6
"""The largest relative error that a correct gradient may have."""

STEP = 1e-3
STEP_AT_KINKS = 5e-6
"""Step for models with ReLU or a maximum: a longer step would cross one of their many kinks, where
there is no derivative to compare with.
"""

FLOOR = 1e-3


@dataclass(frozen=True)
class Result:
    """The largest error found in one tensor.

    error: `|analytic - numeric|` divided by the larger of the two, or by a thousandth of the
    largest gradient in the check if both are smaller: a gradient that is exactly zero (such as that
    of the key bias, to which softmax is invariant) can only be measured up to rounding.
    where: the index of the element, or "direction k".
    """

    tensor: str
    error: float
    where: str
    analytic: float
    numeric: float

    @property
    def passed(self) -> bool:
        return self.error <= TOLERANCE


def check_gradients(
    objective: Callable[[], float],
    gradients: dict[str, np.ndarray],
    tensors: dict[str, np.ndarray],
    *,
    directions: int = 2,
    max_elements: int | None = 40,
    seed: int = 0,
    step: float = STEP,
) -> list[Result]:
    """The largest error of each tensor's gradient.

    Args:
        objective: computes L from the current contents of `tensors`.
        gradients: ∂L/∂tensor by name, to be checked.
        tensors: float64 arrays by name; changed temporarily.
        directions: random directions per tensor. max_elements: single elements per tensor, drawn at
        random if there are more; None for all. step: how far to move.

    Raises:
        UserError: a gradient is missing, or its shape or dtype differs from its tensor's.
    """
    rng = np.random.default_rng(seed)
    for name, tensor in tensors.items():
        _require_match(name, tensor, gradients.get(name))
    floor = FLOOR * max(np.abs(gradient).max() for gradient in gradients.values())
    results = []
    for name, tensor in tensors.items():
        found = []
        for where, direction in _probes(tensor, rng, directions, max_elements):
            analytic = float((gradients[name] * direction).sum())
            numeric = _slope(objective, tensor, direction, step)
            scale = max(abs(analytic), abs(numeric), floor, np.finfo(float).tiny)
            error = abs(analytic - numeric) / scale
            error = math.inf if math.isnan(error) else error
            found.append(Result(name, error, where, analytic, numeric))
        results.append(max(found, key=_severity))
    return results


def _severity(result: Result) -> tuple[bool, float]:
    """Sort key: a wrong element ranks above a wrong direction, as it shows where the error is."""
    return not result.passed and result.where.startswith("["), result.error


def _require_match(name: str, tensor: np.ndarray, gradient: np.ndarray | None) -> None:
    if gradient is None:
        raise UserError(f"backward returned no gradient for {name}")
    found, expected = (gradient.shape, gradient.dtype), (tensor.shape, np.dtype(np.float64))
    if found != expected:
        raise UserError(f"the gradient of {name} has shape and dtype {found}; expected {expected}")
    if tensor.dtype != np.float64:
        raise UserError(f"{name} is {tensor.dtype}; gradients are checked in float64")


def _probes(
    tensor: np.ndarray, rng: np.random.Generator, directions: int, max_elements: int | None
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (where, direction): random unit directions first, then single elements."""
    for k in range(directions):
        direction = rng.standard_normal(tensor.shape)
        yield f"direction {k}", direction / np.linalg.norm(direction)
    elements = np.arange(tensor.size)
    if max_elements is not None and tensor.size > max_elements:
        elements = rng.choice(tensor.size, max_elements, replace=False)
    for element in elements:
        index = tuple(int(i) for i in np.unravel_index(element, tensor.shape))
        direction = np.zeros_like(tensor)
        direction[index] = 1.0
        yield str(list(index)), direction


def _slope(
    objective: Callable[[], float], tensor: np.ndarray, direction: np.ndarray, step: float
) -> float:
    """The derivative of `objective` as `tensor` moves along `direction`."""
    saved = tensor.copy()

    def at(distance: float) -> float:
        tensor[...] = saved + distance * direction
        return objective()

    near = at(step) - at(-step)
    far = at(2 * step) - at(-2 * step)
    tensor[...] = saved
    return (8.0 * near - far) / (12.0 * step)


def check_pair(
    forward: Callable,
    backward: Callable,
    inputs: dict[str, np.ndarray],
    *options: Any,
    seed: int = 0,
    **budget: Any,
) -> list[Result]:
    """Check a forward/backward pair of `functional/`: `forward(*inputs, *options) -> out, cache`.

    Args:
        inputs: float64 arrays by name, in the order of forward's arguments and of what
            `backward(dout, cache)` returns. options: forward's further arguments.
        budget: `directions`, `max_elements` and `step` of `check_gradients`.
    """
    inputs = {name: np.array(array) for name, array in inputs.items()}
    out, cache = forward(*inputs.values(), *options)
    weights = np.random.default_rng(seed).standard_normal(np.shape(out))
    returned = backward(weights if np.ndim(out) else float(weights), cache)
    returned = returned if isinstance(returned, tuple) else (returned,)
    gradients = dict(zip(inputs, returned, strict=False))

    def objective() -> float:
        return float((forward(*inputs.values(), *options)[0] * weights).sum())

    return check_gradients(objective, gradients, inputs, seed=seed, **budget)


def check_layer(
    layer: Layer, x: Array, *, seed: int = 0, randomize: bool = True, **budget: Any
) -> list[Result]:
    """Check a layer or a model: the gradients of its input and of every parameter.

    Args:
        layer: has `forward(x[, stream]) -> out, cache` and `backward`; float64.
        x: float64, the input. randomize: give all parameters random values first, since initial
        ones (γ = 1, bias = 0, a zero head) would hide errors. budget: `directions`, `max_elements`
        and `step` of `check_gradients`.

    Dropout is active if the layer has a dropout rate; every evaluation draws the same masks.
    """
    rng = np.random.default_rng(seed)
    parameters = dict(layer.named_parameters())
    for parameter in parameters.values():
        if randomize:
            parameter.data[...] = 0.5 * rng.standard_normal(parameter.data.shape)
        parameter.grad[...] = 0.0
    x = np.array(x)
    run = _forward_of(layer, seed)
    out, cache = run(x)
    weights = rng.standard_normal(out.shape)
    gradients = {"input": layer.backward(weights, cache)}
    gradients.update((name, parameter.grad.copy()) for name, parameter in parameters.items())
    tensors = {"input": x, **{name: parameter.data for name, parameter in parameters.items()}}
    return check_gradients(
        lambda: float((run(x)[0] * weights).sum()), gradients, tensors, seed=seed, **budget
    )


def _forward_of(layer: Any, seed: int) -> Callable:
    """The layer's forward in training mode, with the same masks at every call."""
    arguments = inspect.signature(layer.forward).parameters

    def run(x: np.ndarray) -> tuple[Array, Any]:
        if "train" in arguments:
            return layer.forward(x, train=True, stream=RandomStream(seed))
        return layer.forward(x, RandomStream(seed)) if "stream" in arguments else layer.forward(x)

    return run
