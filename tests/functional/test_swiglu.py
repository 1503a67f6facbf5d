"""Gated units, against hand calculations, PyTorch and finite differences."""

import math

import numpy as np
import pytest
from helpers import assert_right_gradients, draw, relative_error, seeds, sizes
from hypothesis import given

from minivit.functional import swiglu_backward, swiglu_forward
from minivit.functional.swiglu import logistic


@given(B=sizes, T=sizes, F=sizes, seed=seeds)
def test_gradients(B, T, F, seed):
    inputs = {"x": draw(seed, B, T, 2 * F)}
    assert_right_gradients(swiglu_forward, swiglu_backward, inputs)


@given(B=sizes, T=sizes, F=sizes, seed=seeds)
def test_it_agrees_with_the_formula_number_by_number(B, T, F, seed):
    x, dy = 3 * draw(seed, B, T, 2 * F), draw(seed + 1, B, T, F)
    y, cache = swiglu_forward(x)
    dx = swiglu_backward(dy, cache)
    for *index, f in np.ndindex(B, T, F):
        a, b, d = x[*index, f], x[*index, F + f], dy[*index, f]
        sigmoid = 1 / (1 + math.exp(-a))
        assert y[*index, f] == pytest.approx(a * sigmoid * b)
        slope = sigmoid + a * sigmoid * (1 - sigmoid)
        assert dx[*index, f] == pytest.approx(d * b * slope)
        assert dx[*index, F + f] == pytest.approx(d * a * sigmoid)


def test_known_answers():
    """σ(ln 3) = 3/4."""
    a = math.log(3)
    y, cache = swiglu_forward(np.array([a, -a, 0.0, 2.0, 2.0, 2.0]))
    np.testing.assert_allclose(y, [1.5 * a, -0.5 * a, 0.0])
    np.testing.assert_allclose(cache.sigmoid, [0.75, 0.25, 0.5])


def test_the_logistic_function_never_overflows():
    x = np.array([-1e4, -40.0, 0.0, 40.0, 1e4], np.float32)
    with np.errstate(all="raise"):
        np.testing.assert_array_equal(logistic(x), np.float32([0, 0, 0.5, 1, 1]))


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5)])
def test_pytorch_agrees(dtype, tolerance):
    torch = pytest.importorskip("torch")
    x, dy = draw(0, 2, 5, 8).astype(dtype), draw(1, 2, 5, 4).astype(dtype)
    y, cache = swiglu_forward(x)
    dx = swiglu_backward(dy, cache)
    tx = torch.from_numpy(x).requires_grad_()
    a, b = tx.chunk(2, -1)
    ty = torch.nn.functional.silu(a) * b
    ty.backward(torch.from_numpy(dy))
    for found, expected in ((y, ty.detach()), (dx, tx.grad)):
        assert found.dtype == dtype
        assert relative_error(found, expected) <= tolerance
