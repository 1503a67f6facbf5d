"""Helpers shared by tests of several modules."""

import dataclasses
import importlib
import os
import typing

import numpy as np
import pytest
from hypothesis import strategies as st

from minivit.gradcheck import check_pair

needs_posix = pytest.mark.skipif(
    not hasattr(os, "mkfifo"), reason="pipes, sockets, devices, links and a shell as POSIX has them"
)
sizes = st.integers(1, 5)
seeds = st.integers(0, 2**16)


def draw(seed: int, *shape: int) -> np.ndarray:
    """Standard normal float64 numbers."""
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def assert_right_gradients(forward, backward, inputs: dict, *options) -> None:
    """Every gradient of the pair agrees with finite differences to 1e-6."""
    results = check_pair(forward, backward, inputs, *options, directions=2, max_elements=6)
    assert {result.tensor for result in results} == set(inputs)
    assert not [result for result in results if not result.passed]


def relative_error(found, expected) -> float:
    """The largest difference divided by the largest expected value."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max()) / max(float(np.abs(expected).max()), 1e-300)


def arrays_in(cache):
    """All arrays in nested tuples and lists."""
    if isinstance(cache, tuple | list):
        for member in cache:
            yield from arrays_in(member)
    elif hasattr(cache, "dtype"):
        yield cache


def flags_class(module: str) -> type:
    """The dataclass whose fields are a command's flags."""
    found = importlib.import_module(module)
    return getattr(found, "Arguments", None) or found.Options


def sections(cls: type) -> list[type]:
    """A dataclass and the dataclasses nested in its fields."""
    hints = typing.get_type_hints(cls).values()
    return [
        cls,
        *(inner for hint in hints if dataclasses.is_dataclass(hint) for inner in sections(hint)),
    ]
