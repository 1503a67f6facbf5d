"""Element-wise operations in blocks."""

import importlib

import numpy as np
import pytest
from helpers import draw, seeds
from hypothesis import given
from hypothesis import strategies as st

from minivit.backend import blocks, blockwise

module = importlib.import_module("minivit.backend.blocks")


def sum_and_square(x, total, square):
    """Writes to the arrays that it is given, as `blockwise` requires."""
    np.add(x, 1.0, total)
    np.multiply(x, x, square)


@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=3),
    st.integers(1, 20),
    st.sampled_from(["float32", "float64"]),
    seeds,
)
def test_blocks_give_the_same_result_as_the_whole_array(shape, block, dtype, seed):
    x = draw(seed, *shape).astype(dtype)
    before = x.copy()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", block)
        found = blockwise(sum_and_square, 2, x)
    for output, expected in zip(found, (before + 1.0, before * before), strict=True):
        assert output.dtype == dtype
        np.testing.assert_array_equal(output, expected)
    np.testing.assert_array_equal(x, before)


def test_non_contiguous_views_are_read_in_their_own_order(monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 4)
    x = draw(0, 5, 7).T
    total, square = blockwise(sum_and_square, 2, x)
    np.testing.assert_array_equal(total, x + 1.0)
    np.testing.assert_array_equal(square, x * x)


def test_no_block_exceeds_the_maximum_length(monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 4)
    lengths = []
    blockwise(lambda x, out: lengths.append((x.size, out.size)), 1, np.zeros((3, 3)))
    assert lengths == [(4, 4), (4, 4), (1, 1)]


@pytest.mark.parametrize("length", [0, 1, 3, 4, 5, 8, 9])
def test_slices_cover_every_element_once_in_order(length, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 4)
    array = np.arange(length)
    pieces = [array[rows] for rows in blocks(array)]
    assert [number for piece in pieces for number in piece] == list(range(length))
    assert all(0 < len(piece) <= 4 for piece in pieces)
