"""Stochastic depth."""

import numpy as np
from helpers import assert_right_gradients, draw, seeds, sizes
from hypothesis import given

from minivit.functional import drop_path_backward, drop_path_forward, dropout_mask


@given(sizes, sizes, sizes, seeds)
def test_gradients(B, T, C, seed):
    mask = dropout_mask(np.random.default_rng(seed).random(B), 0.4)
    inputs = {"branch": draw(seed, B, T, C)}
    assert_right_gradients(drop_path_forward, drop_path_backward, inputs, mask)


def test_the_branch_of_an_image_is_dropped_or_scaled_as_a_whole():
    branch = draw(0, 3, 3, 3)  # equal lengths: a mask on the wrong axis would not change the shape
    out, _ = drop_path_forward(branch, np.array([0.0, 2.0, 1.0]))
    np.testing.assert_array_equal(out[0], np.zeros((3, 3)))
    np.testing.assert_array_equal(out[1], 2.0 * branch[1])
    np.testing.assert_array_equal(out[2], branch[2])
