"""The hyperbolic tangent."""

import math

from helpers import assert_right_gradients, draw, seeds, sizes
from hypothesis import given
from hypothesis import strategies as st

from minivit.functional import tanh_backward, tanh_forward


@given(st.lists(sizes, min_size=1, max_size=3), seeds)
def test_gradients(shape, seed):
    assert_right_gradients(tanh_forward, tanh_backward, {"x": 2.0 * draw(seed, *shape)})


@given(sizes, seeds)
def test_it_agrees_with_the_formula_and_has_derivative_one_minus_its_square(size, seed):
    x = draw(seed, size)
    y, cache = tanh_forward(x)
    for i in range(size):
        expected = math.tanh(x[i])
        assert abs(y[i] - expected) < 1e-15
        assert abs(tanh_backward(x, cache)[i] - x[i] * (1.0 - expected**2)) < 1e-14
