"""Fixed position embeddings."""

import math

import numpy as np
import pytest
from helpers import sizes
from hypothesis import given
from hypothesis import strategies as st

from minivit.errors import UserError
from minivit.functional import sincos_2d


def test_an_entry_computed_by_hand():
    table = sincos_2d(2, 3, 8)  # two frequencies: 1 and 1/10000
    x, y = 2.0, 1.0  # the last patch of the second row
    expected = [f(z * w) for z in (x, y) for f in (math.sin, math.cos) for w in (1.0, 1e-4)]
    np.testing.assert_allclose(table[5], expected, atol=1e-15)


def test_frequencies_fall_by_a_constant_factor_from_1_to_1_over_the_temperature():
    table = sincos_2d(1, 2, 16, temperature=1000.0)
    np.testing.assert_allclose(table[1, :4], np.sin([1.0, 0.1, 0.01, 0.001]), rtol=1e-12)
    np.testing.assert_allclose(table[1, 4:8], np.cos([1.0, 0.1, 0.01, 0.001]), rtol=1e-12)
    assert table[:, 8:12].tolist() == [[0.0] * 4] * 2
    assert table[:, 12:].tolist() == [[1.0] * 4] * 2


@given(sizes, sizes, st.sampled_from([4, 8, 12, 64]))
def test_the_column_is_in_the_first_half_and_the_row_in_the_second(height, width, dim):
    table = sincos_2d(height, width, dim).reshape(height, width, dim)
    x, y = table[..., : dim // 2], table[..., dim // 2 :]
    np.testing.assert_array_equal(x, np.broadcast_to(x[:1], x.shape))
    np.testing.assert_array_equal(y, np.broadcast_to(y[:, :1], y.shape))
    swapped = sincos_2d(width, height, dim).reshape(width, height, dim).swapaxes(0, 1)
    np.testing.assert_allclose(swapped[..., : dim // 2], y, atol=1e-15)


@given(sizes, sizes, st.sampled_from([4, 8, 64]))
def test_no_two_positions_have_the_same_embedding(height, width, dim):
    table = sincos_2d(height, width, dim)
    assert table.shape == (height * width, dim)
    distance = np.abs(table[:, None] - table[None]).max(-1)
    assert (distance[~np.eye(len(table), dtype=bool)] > 1e-3).all()


@pytest.mark.parametrize("dim", [2, 6, 13])
def test_a_width_not_divisible_by_four_is_refused(dim):
    with pytest.raises(UserError, match=f"found {dim}"):
        sincos_2d(2, 2, dim)
