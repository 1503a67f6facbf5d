"""Root mean square normalization."""

import math

import numpy as np
import pytest
from helpers import assert_right_gradients, draw, relative_error, seeds, sizes
from hypothesis import given
from hypothesis import strategies as st

from minivit.functional import layernorm_forward, rmsnorm_backward, rmsnorm_forward

leading = st.lists(sizes, min_size=1, max_size=3)


@given(leading, st.integers(2, 9), seeds)
def test_gradients(axes, C, seed):
    inputs = {"x": draw(seed, *axes, C), "gamma": draw(seed, C)}
    assert_right_gradients(rmsnorm_forward, rmsnorm_backward, inputs)


@given(leading, st.integers(1, 9), seeds)
def test_it_agrees_with_the_formula_token_by_token(axes, C, seed):
    x, gamma = draw(seed, *axes, C), draw(seed + 1, C)
    y, _ = rmsnorm_forward(x, gamma, 1e-3)
    for index in np.ndindex(*axes):
        token = x[index].tolist()
        rms = math.sqrt(sum(number**2 for number in token) / C + 1e-3)
        for c in range(C):
            assert y[index][c] == pytest.approx(gamma[c] * token[c] / rms, abs=1e-12)


def test_for_tokens_with_mean_zero_it_equals_layernorm():
    x = draw(0, 3, 4, 8)
    x -= x.mean(-1, keepdims=True)
    gamma = draw(1, 8)
    y, _ = rmsnorm_forward(x, gamma)
    np.testing.assert_allclose(y, layernorm_forward(x, gamma, np.zeros(8))[0], atol=1e-12)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5)])
def test_pytorch_agrees(dtype, tolerance):
    torch = pytest.importorskip("torch")
    x, gamma, dy = (
        draw(i, *shape).astype(dtype) for i, shape in enumerate([(2, 5, 8), (8,), (2, 5, 8)])
    )
    y, cache = rmsnorm_forward(x, gamma)
    dx, dgamma = rmsnorm_backward(dy, cache)
    norm = torch.nn.RMSNorm(8, eps=1e-6, dtype=torch.from_numpy(x).dtype)
    norm.weight.data[...] = torch.from_numpy(gamma)
    tx = torch.from_numpy(x).requires_grad_()
    ty = norm(tx)
    ty.backward(torch.from_numpy(dy))
    for found, expected in ((y, ty.detach()), (dx, tx.grad), (dgamma, norm.weight.grad)):
        assert found.dtype == dtype
        assert relative_error(found, expected) <= tolerance
