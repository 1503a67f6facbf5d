"""Dropout and its mask."""

import numpy as np
import pytest
from helpers import assert_right_gradients, draw, seeds, sizes
from hypothesis import given
from hypothesis import strategies as st

from minivit.functional import dropout_backward, dropout_forward, dropout_mask

rates = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9])


@given(st.lists(sizes, min_size=1, max_size=4), rates, seeds)
def test_gradients(shape, rate, seed):
    mask = dropout_mask(np.random.default_rng(seed).random(shape), rate)
    assert_right_gradients(dropout_forward, dropout_backward, {"x": draw(seed, *shape)}, mask)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_given_rate_is_dropped_and_the_mean_is_kept(rate, dtype):
    mask = dropout_mask(np.random.default_rng(0).random(100_000).astype(dtype), rate)
    assert mask.dtype == dtype
    assert np.unique(mask).tolist() == pytest.approx([0.0, 1.0 / (1.0 - rate)])
    assert (mask == 0.0).mean() == pytest.approx(rate, abs=0.01)
    assert mask.mean() == pytest.approx(1.0, abs=0.03)


def test_rate_zero_drops_nothing():
    uniform = np.array([0.0, 0.5, np.nextafter(1.0, 0.0)])
    assert dropout_mask(uniform, 0.0).tolist() == [1.0, 1.0, 1.0]


def test_a_number_is_kept_if_its_draw_is_below_the_keep_probability():
    uniform = np.array([0.0, 0.5, np.nextafter(0.75, 0.0), 0.75, 0.9])
    scale = 1.0 / 0.75
    assert dropout_mask(uniform, 0.25).tolist() == [scale, scale, scale, 0.0, 0.0]


def test_dropped_numbers_get_no_gradient():
    mask = np.array([0.0, 2.0, 2.0, 0.0])
    y, cache = dropout_forward(np.array([1.0, 2.0, 3.0, 4.0]), mask)
    assert y.tolist() == [0.0, 4.0, 6.0, 0.0]
    assert dropout_backward(np.full(4, 10.0), cache).tolist() == [0.0, 20.0, 20.0, 0.0]
