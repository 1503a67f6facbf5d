"""Layer normalization."""

import math

import numpy as np
import pytest
from helpers import assert_right_gradients, draw, seeds, sizes
from hypothesis import given
from hypothesis import strategies as st

from minivit.functional import layernorm_backward, layernorm_forward

leading = st.lists(sizes, min_size=1, max_size=3)


@given(leading, st.integers(3, 9), seeds)
def test_gradients(axes, C, seed):
    inputs = {"x": draw(seed, *axes, C), "gamma": draw(seed, C), "beta": draw(seed + 1, C)}
    assert_right_gradients(layernorm_forward, layernorm_backward, inputs)


@given(leading, st.integers(2, 9), seeds)
def test_it_agrees_with_the_formula_token_by_token(axes, C, seed):
    x, gamma, beta = draw(seed, *axes, C), draw(seed, C), draw(seed + 1, C)
    y, _ = layernorm_forward(x, gamma, beta)
    for index in np.ndindex(*axes):
        token = x[index].tolist()
        mean = sum(token) / C
        std = math.sqrt(sum((number - mean) ** 2 for number in token) / C + 1e-6)
        for c in range(C):
            expected = gamma[c] * (token[c] - mean) / std + beta[c]
            assert y[index][c] == pytest.approx(expected, abs=1e-9)


def test_every_token_is_normalized_independently():
    x = draw(0, 3, 4, 16)
    x[1] *= 100.0  # the scale of another token or image must not matter
    x[:, 2] += 50.0
    y, _ = layernorm_forward(x, np.ones(16), np.zeros(16))
    np.testing.assert_allclose(y.mean(-1), 0.0, atol=1e-9)
    np.testing.assert_allclose(y.std(-1), 1.0, atol=1e-5)


def test_a_constant_token_gives_beta():
    beta = draw(0, 5)
    y, _ = layernorm_forward(np.full((2, 5), 3.0), np.ones(5), beta)
    np.testing.assert_allclose(y, np.broadcast_to(beta, (2, 5)), atol=1e-9)


def test_float32_tokens_far_from_zero_keep_their_variance():
    x = (draw(0, 8, 64) + 1000.0).astype("float32")
    y, _ = layernorm_forward(x, np.ones(64, "float32"), np.zeros(64, "float32"))
    expected, _ = layernorm_forward(x.astype(float), np.ones(64), np.zeros(64))
    np.testing.assert_allclose(y, expected, atol=1e-3)


def test_gamma_is_inside_the_means_of_backward():
    """dx has zero mean and no component along x̂, but only if dy is multiplied by gamma first."""
    x, gamma, dy = draw(0, 6, 8), draw(1, 8), draw(2, 6, 8)
    _, cache = layernorm_forward(x, gamma, np.zeros(8), eps=0.0)
    dx, _, _ = layernorm_backward(dy, cache)
    np.testing.assert_allclose(dx.sum(-1), 0.0, atol=1e-12)
    np.testing.assert_allclose((dx * cache.xhat).sum(-1), 0.0, atol=1e-12)
    dxhat = dy * gamma
    along = (dxhat * cache.xhat).mean(-1, keepdims=True)
    expected = (dxhat - dxhat.mean(-1, keepdims=True) - cache.xhat * along) * cache.rstd[:, None]
    np.testing.assert_allclose(dx, expected, atol=1e-12)
