"""Compiled twins of the pairs; see `backend.twins`."""

import copy
import functools
import importlib
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from minivit.backend.twins import unavailable_reason
from minivit.functional import flash_attention, gelu, layernorm, pooling, softmax

TOLERANCE = 1e-5
"""Tolerance of a twin's result, relative to the largest number in its pair's result."""


@functools.cache
def find_twins() -> Mapping[str, Callable]:
    """The twins by the names of their pairs; empty if Numba is not installed, cannot be imported,
    or is switched off (`MINIVIT_NUMBA=0`).

    Each is first compared with its pair. A twin with a different result is left out, with a
    warning, so that a change to a formula in `functional/` always takes effect.
    """
    if unavailable_reason():
        return {}
    try:
        twins = importlib.import_module("minivit.functional.compiled.twins")
    except ImportError as error:  # a NumPy version that this Numba does not support
        warnings.warn(f"Numba cannot be imported, so NumPy is used: {error}", stacklevel=2)
        return {}
    found = {}
    for pair, args in trials():
        name = pair.__name__
        twin = getattr(twins, name)
        if is_twin(twin, pair, args):
            found[name] = twin
        else:
            warnings.warn(
                f"{name} differs from its compiled twin, so the slower NumPy version is used",
                stacklevel=2,
            )
    return found


def trials() -> list[tuple[Callable, tuple]]:
    """The pairs that have twins, each with arguments to compare them on."""
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((2, 18, 9), np.float32)
    gamma, beta = rng.standard_normal((2, 9), np.float32)
    x[:3] *= 1e-3  # with a variance so small that eps matters
    x[3:6] *= 50.0  # its exp overflows
    found: list[tuple[Callable, tuple]] = [(gelu.gelu, (x,)), (gelu.gelu_tanh, (x,))]
    for forward, backward, args in (
        (gelu.gelu_forward, gelu.gelu_backward, (x,)),
        (gelu.gelu_tanh_forward, gelu.gelu_tanh_backward, (x,)),
        (layernorm.layernorm_forward, layernorm.layernorm_backward, (x, gamma, beta)),
        (softmax.softmax_forward, softmax.softmax_backward, (x,)),
    ):
        found += [(forward, args), (backward, (dy, forward(*args)[1]))]
    images = x.reshape(2, 3, 3, 9)
    pooled, cache = pooling.max_pool_forward(images, 3, 2, 1)
    found += [
        (pooling.max_pool_forward, (images, 3, 2, 1)),
        (pooling.max_pool_backward, (dy[:8].reshape(pooled.shape), cache)),
    ]
    row = np.abs(x).max(-1, keepdims=True)
    found += [
        (flash_attention.online_softmax, (x, row - 1, row, dy.copy())),
        (flash_attention.shifted_exp, (x, row)),
        (flash_attention.scores_gradient, (dy, x, row)),
    ]
    return found


def is_twin(twin: Callable, pair: Callable, args: tuple) -> bool:
    """Whether both give the same result for these arguments."""
    expected = pair(*copy.deepcopy(args))
    try:
        return agree(twin(*copy.deepcopy(args)), expected)
    except Exception:  # a changed pair may have a cache that its twin does not support
        return False


def agree(one: Any, other: Any) -> bool:
    """Whether two results, arrays or numbers or tuples of these, are equal up to rounding."""
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(agree, one, other))
    one, other = np.asarray(one), np.asarray(other)
    largest = max(1.0, float(np.abs(other).max()))
    return one.shape == other.shape and bool(np.abs(one - other).max() <= TOLERANCE * largest)
