"""Mean squared error."""

import numpy as np
import pytest
from helpers import assert_right_gradients, draw, seeds, sizes
from hypothesis import given

from minivit.functional import squared_error_backward, squared_error_forward


@given(B=sizes, C=sizes, seed=seeds)
def test_gradients(B, C, seed):
    target = draw(seed + 1, B, C)
    predicted = {"predicted": draw(seed, B, C)}
    assert_right_gradients(squared_error_forward, squared_error_backward, predicted, target)


def test_by_hand():
    loss, cache = squared_error_forward(np.array([1.0, 5.0]), np.array([1.0, 2.0]))
    assert loss == pytest.approx(4.5)
    np.testing.assert_allclose(squared_error_backward(2.0, cache), [0.0, 6.0])
