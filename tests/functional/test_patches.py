"""Images to patches and back."""

import numpy as np
import pytest
from helpers import assert_right_gradients, draw, seeds, sizes
from hypothesis import given
from hypothesis import strategies as st

from minivit.errors import UserError
from minivit.functional import (
    patchify_backward,
    patchify_forward,
    unpatchify_backward,
    unpatchify_forward,
)

small_sizes = st.integers(1, 3)


def patchify_slowly(images, P):
    """One number at a time: patch (row, column), then pixel (row, column), then channel."""
    B, C, H, W = images.shape
    patches = np.empty((B, H // P * (W // P), P * P * C))
    for b, c, i, j in np.ndindex(B, C, H, W):
        n = (i // P) * (W // P) + j // P
        patches[b, n, ((i % P) * P + j % P) * C + c] = images[b, c, i, j]
    return patches


@given(small_sizes, small_sizes, small_sizes, small_sizes, small_sizes, seeds)
def test_patchify_agrees_with_a_slow_loop(B, C, rows, columns, P, seed):
    images = draw(seed, B, C, rows * P, columns * P)
    np.testing.assert_array_equal(patchify_forward(images, P)[0], patchify_slowly(images, P))


def test_the_order_of_patches_in_a_readable_example():
    red = np.arange(8).reshape(2, 4)
    images = np.stack([red, red + 100])[None]  # two channels, 2×4 pixels
    patches, _ = patchify_forward(images, 2)
    assert patches[0].tolist() == [
        [0, 100, 1, 101, 4, 104, 5, 105],
        [2, 102, 3, 103, 6, 106, 7, 107],
    ]


@given(small_sizes, small_sizes, small_sizes, small_sizes, small_sizes, seeds)
def test_unpatchify_is_the_inverse(B, C, rows, columns, P, seed):
    images = draw(seed, B, C, rows * P, columns * P)
    patches, _ = patchify_forward(images, P)
    back, _ = unpatchify_forward(patches, P, images.shape[2:])
    np.testing.assert_array_equal(back, images)


@given(small_sizes, small_sizes, small_sizes, small_sizes, small_sizes, seeds)
def test_gradients(B, C, rows, columns, P, seed):
    images = draw(seed, B, C, rows * P, columns * P)
    assert_right_gradients(patchify_forward, patchify_backward, {"images": images}, P)
    patches = draw(seed, B, rows * columns, P * P * C)
    assert_right_gradients(
        unpatchify_forward, unpatchify_backward, {"patches": patches}, P, images.shape[2:]
    )


@given(sizes, st.sampled_from([(4, 5), (5, 4), (7, 7)]))
def test_a_patch_size_that_does_not_divide_is_refused(B, size):
    with pytest.raises(UserError, match=f"patch_size 2 .* {size[0]}×{size[1]}"):
        patchify_forward(np.zeros((B, 3, *size)), 2)


@pytest.mark.parametrize("patch_size", [0, -2])
def test_a_patch_size_below_one_is_refused(patch_size):
    with pytest.raises(UserError, match=f"patch_size {patch_size} does not divide"):
        patchify_forward(np.zeros((1, 3, 4, 4)), patch_size)


@pytest.mark.parametrize("shape", [(1, 5, 12), (1, 6, 13)])
def test_patches_that_do_not_fill_the_image_are_refused(shape):
    with pytest.raises(UserError, match="do not fill 4×6"):
        unpatchify_forward(np.zeros(shape), 2, (4, 6))


@pytest.mark.parametrize("size", [(5, 4), (4, 5)])
def test_image_sides_not_divisible_by_the_patch_size_are_refused(size):
    with pytest.raises(UserError, match="do not fill"):
        unpatchify_forward(np.zeros((1, 4, 12)), 2, size)
