"""The linear layer."""

import numpy as np
import pytest
from helpers import assert_right_gradients, draw, seeds, sizes
from hypothesis import given
from hypothesis import strategies as st

from minivit.functional import linear_backward, linear_forward
from minivit.functional.linear import column_sums

leading = st.lists(sizes, min_size=1, max_size=3)


@given(leading, sizes, sizes, seeds)
def test_gradients(axes, fan_in, fan_out, seed):
    inputs = {
        "x": draw(seed, *axes, fan_in),
        "weight": draw(seed, fan_in, fan_out),
        "bias": draw(seed, fan_out),
    }
    assert_right_gradients(linear_forward, linear_backward, inputs)


@given(leading, sizes, sizes, seeds)
def test_every_output_is_a_weighted_sum(axes, fan_in, fan_out, seed):
    x, weight, bias = draw(seed, *axes, fan_in), draw(seed, fan_in, fan_out), draw(seed, fan_out)
    y, _ = linear_forward(x, weight, bias)
    assert y.shape == (*axes, fan_out)
    for index in np.ndindex(*y.shape):
        *row, o = index
        expected = bias[o] + sum(x[(*row, i)] * weight[i, o] for i in range(fan_in))
        assert y[index] == pytest.approx(expected, abs=1e-12)


def test_weights_are_stored_as_in_out():
    x, weight = np.array([[1.0, 10.0]]), np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    y, _ = linear_forward(x, weight, np.array([0.5, 0.0, 0.0]))
    assert y.tolist() == [[41.5, 52.0, 63.0]]


@given(sizes, sizes, seeds)
def test_column_sums_are_sums_over_the_first_axis(rows, columns, seed):
    x = draw(seed, rows, columns)
    np.testing.assert_allclose(column_sums(x), [sum(x[:, c]) for c in range(columns)], atol=1e-12)
