"""GELU in both forms, and the error function that NumPy lacks."""

import importlib
import math

import numpy as np
import pytest
from helpers import assert_right_gradients, draw, seeds, sizes
from hypothesis import given
from hypothesis import strategies as st

from minivit.functional import (
    erf,
    gelu_backward,
    gelu_forward,
    gelu_tanh_backward,
    gelu_tanh_forward,
    quick_gelu_backward,
    quick_gelu_forward,
)
from minivit.functional.gelu import gelu, gelu_tanh, quick_gelu


def gelu_slowly(x):
    return 0.5 * x * math.erfc(-x / math.sqrt(2.0))


def gelu_tanh_slowly(x):
    return 0.5 * x * (1.0 + math.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))


def quick_gelu_slowly(x):
    return x / (1.0 + math.exp(-1.702 * x))


PAIRS = [
    pytest.param(gelu_forward, gelu_backward, gelu_slowly, id="gelu"),
    pytest.param(gelu_tanh_forward, gelu_tanh_backward, gelu_tanh_slowly, id="gelu_tanh"),
    pytest.param(quick_gelu_forward, quick_gelu_backward, quick_gelu_slowly, id="quick_gelu"),
]
RELATIVE_ERROR = {"float32": 1e-6, "float64": 1e-14}
POINTS = np.concatenate(
    [
        np.linspace(-10.0, 10.0, 20_001),
        np.geomspace(1e-30, 1.0, 301),
        -np.geomspace(1e-30, 1.0, 301),
        [3.9, -3.9, 5.999, 6.0, 6.001, 50.0, 1e10, -1e18],
    ]
)


def worst_erf_error(z):
    with np.errstate(over="ignore"):  # where the power overflows, tanh is 1
        found = erf(z)
    expected = np.array([math.erf(float(number)) for number in z])
    assert found.dtype == z.dtype
    error = np.abs(found.astype(float) - expected)
    return (error / np.where(expected == 0.0, 1.0, np.abs(expected))).max()


@pytest.mark.parametrize("dtype", RELATIVE_ERROR)
def test_erf_agrees_with_the_error_function(dtype):
    assert worst_erf_error(POINTS.astype(dtype)) <= RELATIVE_ERROR[dtype]


@given(st.lists(st.floats(-12.0, 12.0, allow_subnormal=False), min_size=1, max_size=50))
def test_erf_is_accurate_for_any_number(numbers):
    z = np.array(numbers)
    assert worst_erf_error(z) <= RELATIVE_ERROR["float64"]
    z32 = z.astype("float32")
    normal = z32[np.abs(z32) > 1e-37]
    assert normal.size == 0 or worst_erf_error(normal) <= RELATIVE_ERROR["float32"]


@pytest.mark.parametrize("dtype", RELATIVE_ERROR)
def test_erf_at_its_limits(dtype):
    with np.errstate(over="ignore"):
        found = erf(np.array([0.0, -0.0, np.inf, -np.inf, 1e30, -1e30, np.nan], dtype))
    assert found[:6].tolist() == [0.0, 0.0, 1.0, -1.0, 1.0, -1.0]
    assert np.isnan(found[6])


@pytest.mark.parametrize("dtype", RELATIVE_ERROR)
def test_erf_is_odd_and_at_most_one(dtype):
    z = np.linspace(0.0, 12.0, 5001).astype(dtype)
    np.testing.assert_array_equal(erf(-z), -erf(z))
    assert (erf(z) <= 1.0 + 1e-15).all()


@pytest.mark.parametrize(("forward", "backward", "slowly"), PAIRS)
@given(axes=st.lists(sizes, min_size=1, max_size=3), seed=seeds)
def test_gradients(forward, backward, slowly, axes, seed):
    assert_right_gradients(forward, backward, {"x": 2.0 * draw(seed, *axes)})


@pytest.mark.parametrize(("dtype", "error"), [("float32", 1e-6), ("float64", 1e-13)])
@pytest.mark.parametrize(("forward", "backward", "slowly"), PAIRS)
def test_it_agrees_with_the_formula(forward, backward, slowly, dtype, error):
    x = np.linspace(-8.0, 8.0, 1001).astype(dtype)
    expected = [slowly(float(number)) for number in x]
    np.testing.assert_allclose(forward(x)[0], expected, rtol=error, atol=error)


@pytest.mark.parametrize(("forward", "backward", "slowly"), PAIRS)
def test_large_numbers_pass_and_large_negative_ones_give_zero(forward, backward, slowly):
    y, cache = forward(np.array([-100.0, 0.0, 100.0]))
    slope = backward(np.ones(3), cache)
    np.testing.assert_allclose(y, [0.0, 0.0, 100.0], atol=1e-12)
    np.testing.assert_allclose(slope, [0.0, 0.5, 1.0], atol=1e-12)


def test_the_two_forms_differ_by_less_than_a_thousandth_but_do_differ():
    x = np.linspace(-5.0, 5.0, 1001)
    difference = np.abs(gelu_forward(x)[0] - gelu_tanh_forward(x)[0]).max()
    assert 1e-4 < difference < 1e-3


@pytest.mark.parametrize(("forward", "backward", "slowly"), PAIRS)
def test_the_block_size_does_not_matter(forward, backward, slowly, monkeypatch):
    x = draw(0, 5, 7, 9)
    whole = forward(x)
    monkeypatch.setattr(importlib.import_module("minivit.backend.blocks"), "BLOCK", 8)
    for in_blocks, at_once in zip(forward(x), whole, strict=True):
        np.testing.assert_allclose(in_blocks, at_once, rtol=1e-14)


@pytest.mark.parametrize(
    ("forward", "alone"),
    [(gelu_forward, gelu), (gelu_tanh_forward, gelu_tanh), (quick_gelu_forward, quick_gelu)],
    ids=["gelu", "gelu_tanh", "quick_gelu"],
)
@pytest.mark.parametrize("dtype", RELATIVE_ERROR)
def test_the_result_without_a_cache_is_the_same(forward, alone, dtype):
    x = 3.0 * draw(1, 70, 1000).astype(dtype)  # more than one block
    y = alone(x)
    np.testing.assert_array_equal(y, forward(x)[0])
    assert y.dtype == x.dtype


@pytest.mark.parametrize(
    ("forward", "slowly"),
    [(gelu_tanh_forward, gelu_tanh_slowly), (quick_gelu_forward, quick_gelu_slowly)],
    ids=["gelu_tanh", "quick_gelu"],
)
def test_the_negative_tail_does_not_cancel(forward, slowly):
    """Computed directly, (1 + tanh u) / 2 would be 0 for all x below -5."""
    x = np.linspace(-4.5, -0.5, 401, dtype="float32")
    expected = [slowly(number) for number in x.astype(float)]
    np.testing.assert_allclose(forward(x)[0], expected, rtol=2e-5)


@pytest.mark.parametrize(("forward", "backward", "slowly"), PAIRS)
def test_extreme_inputs_cause_no_warning(forward, backward, slowly):
    x = np.array([-1e30, -1e4, -20.0, 20.0, 1e4, 1e15], "float32")
    with np.errstate(all="ignore"), np.errstate(over="raise"):
        y, _ = forward(x)
    np.testing.assert_allclose(y, [0.0, 0.0, 0.0, 20.0, 1e4, 1e15], rtol=1e-7, atol=1e-12)
