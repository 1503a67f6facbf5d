"""LayerScale."""

import numpy as np
from helpers import assert_right_gradients, draw, seeds, sizes
from hypothesis import given
from hypothesis import strategies as st

from minivit.functional import layer_scale_backward, layer_scale_forward


@given(st.lists(sizes, min_size=1, max_size=3), sizes, seeds)
def test_gradients(axes, C, seed):
    inputs = {"x": draw(seed, *axes, C), "gamma": draw(seed, C)}
    assert_right_gradients(layer_scale_forward, layer_scale_backward, inputs)


def test_each_channel_has_its_scale():
    x, gamma, dy = draw(0, 2, 3, 4), draw(1, 4), draw(2, 2, 3, 4)
    y, cache = layer_scale_forward(x, gamma)
    dx, dgamma = layer_scale_backward(dy, cache)
    for b, t, c in np.ndindex(2, 3, 4):
        assert y[b, t, c] == gamma[c] * x[b, t, c]
        assert dx[b, t, c] == gamma[c] * dy[b, t, c]
    np.testing.assert_allclose(dgamma, (dy * x).sum((0, 1)), rtol=1e-12)
