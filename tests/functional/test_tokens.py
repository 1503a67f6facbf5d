"""Class token, position embedding, mean pooling."""

import numpy as np
import pytest
from helpers import assert_right_gradients, draw, seeds, sizes
from hypothesis import given

from minivit.functional import (
    class_token_backward,
    class_token_forward,
    mean_pool_backward,
    mean_pool_forward,
    position_backward,
    position_forward,
)


@given(sizes, sizes, sizes, seeds)
def test_gradients(B, T, C, seed):
    x = {"x": draw(seed, B, T, C)}
    token, pos_embed = {"cls_token": draw(seed, 1, 1, C)}, {"pos_embed": draw(seed, 1, T, C)}
    assert_right_gradients(class_token_forward, class_token_backward, x | token)
    assert_right_gradients(position_forward, position_backward, x | pos_embed)
    assert_right_gradients(mean_pool_forward, mean_pool_backward, x)


@given(sizes, sizes, sizes, seeds)
def test_the_class_token_comes_first_in_every_image(B, N, C, seed):
    x, token = draw(seed, B, N, C), draw(seed, 1, 1, C)
    out, _ = class_token_forward(x, token)
    assert out.shape == (B, N + 1, C)
    for b in range(B):
        np.testing.assert_array_equal(out[b, 0], token[0, 0])
        np.testing.assert_array_equal(out[b, 1:], x[b])


@given(sizes, sizes, sizes, seeds)
def test_gradients_of_shared_parameters_are_summed_over_the_batch(B, T, C, seed):
    dout = draw(seed, B, T + 1, C)
    _, dcls_token = class_token_backward(dout, None)
    dx, dpos_embed = position_backward(dout, None)
    np.testing.assert_allclose(dcls_token[0, 0], sum(dout[b, 0] for b in range(B)), atol=1e-12)
    np.testing.assert_allclose(dpos_embed[0], sum(dout[b] for b in range(B)), atol=1e-12)
    np.testing.assert_array_equal(dx, dout)


@given(sizes, sizes, sizes, seeds)
def test_each_position_has_its_own_embedding(B, T, C, seed):
    x, pos_embed = draw(seed, B, T, C), draw(seed, 1, T, C)
    out, _ = position_forward(x, pos_embed)
    for b, t in np.ndindex(B, T):
        np.testing.assert_array_equal(out[b, t], x[b, t] + pos_embed[0, t])


@given(sizes, sizes, sizes, seeds)
def test_pooling_is_the_mean_over_tokens(B, T, C, seed):
    x = draw(seed, B, T, C)
    pooled, _ = mean_pool_forward(x)
    for b, c in np.ndindex(B, C):
        assert pooled[b, c] == pytest.approx(sum(x[b, :, c]) / T, abs=1e-12)
