"""Corrupting patches: proportions, known answers, gradients."""

import numpy as np
import pytest
from helpers import assert_right_gradients, draw, seeds, sizes
from hypothesis import given

from minivit.functional import (
    corrupt_backward,
    corrupt_forward,
    corruption,
    take_tokens_backward,
    take_tokens_forward,
)


def uniform(B, N, seed=0):
    return np.random.default_rng(seed).random((B, 3, N), np.float32)


@given(B=sizes, N=sizes, C=sizes, seed=seeds)
def test_gradients(B, N, C, seed):
    hidden = corruption(uniform(B, N, seed))
    inputs = {"x": draw(seed, B, N, C), "mask_token": draw(seed, 1, 1, C)}
    options = hidden.selection.astype(float), hidden.masked.astype(float)
    assert_right_gradients(corrupt_forward, corrupt_backward, inputs, *options)
    tokens = {"x": draw(seed, B, N, C)}
    assert_right_gradients(take_tokens_forward, take_tokens_backward, tokens, hidden.chosen)


def test_half_are_corrupted_80_percent_of_them_masked_10_swapped_10_kept():
    B, N = 400, 64
    hidden = corruption(uniform(B, N))
    assert hidden.chosen.shape == (B, 32)
    corrupted = np.zeros((B, N), bool)
    np.put_along_axis(corrupted, hidden.chosen, True, 1)
    assert (corrupted.sum(1) == 32).all(), "no patch is chosen twice"
    unchanged = hidden.selection[:, np.arange(N), np.arange(N)] == 1
    assert unchanged[~corrupted].all()
    assert not hidden.masked[~corrupted].any()
    swapped = (hidden.selection.sum(-1) == 1) & ~unchanged
    assert hidden.masked[corrupted].mean() == pytest.approx(0.8, abs=0.01)
    assert swapped[corrupted].mean() == pytest.approx(0.1, abs=0.01)
    assert unchanged[corrupted].mean() == pytest.approx(0.1, abs=0.01)
    np.testing.assert_array_equal(hidden.selection.sum(-1), 1 - hidden.masked)
    assert corrupted.mean(0).std() < 0.05, "every place is hidden about as often"


def test_each_image_hides_different_patches():
    chosen = corruption(uniform(5, 64)).chosen
    assert len({tuple(rows) for rows in chosen}) == 5
    assert (np.diff(chosen) > 0).all()


def test_corrupt_by_hand():
    x = np.array([[[1.0], [2.0], [3.0]]])
    # patch 0 is replaced by 2, patch 1 is masked
    selection = np.array([[[0, 0, 1], [0, 0, 0], [0, 0, 1]]], float)
    masked = np.array([[0.0, 1.0, 0.0]])
    y, cache = corrupt_forward(x, np.array([[[9.0]]]), selection, masked)
    np.testing.assert_array_equal(y[0, :, 0], [3, 9, 3])
    dx, dmask = corrupt_backward(np.array([[[10.0], [20.0], [30.0]]]), cache)
    np.testing.assert_array_equal(dx[0, :, 0], [0, 0, 40])
    assert dmask.item() == 20


def test_half_of_the_patches_and_at_least_one_are_corrupted():
    numbers = [corruption(uniform(1, N)).chosen.shape[1] for N in range(1, 9)]
    assert numbers == [1, 1, 2, 2, 2, 3, 4, 4]  # halves are rounded to even


def test_ties_are_broken_by_position():
    numbers = np.zeros((1, 3, 200))
    numbers[0, 0] = np.arange(200) % 3 / 3.0  # all 67 zeros are chosen, and 33 of the thirds
    thirds = range(1, 200, 3)
    expected = sorted([*range(0, 200, 3), *thirds[:33]])
    assert corruption(numbers).chosen[0].tolist() == expected


def test_a_single_patch_is_still_corrupted():
    hidden = corruption(uniform(3, 1))
    assert hidden.chosen.tolist() == [[0]] * 3


def test_float32_stays_float32():
    hidden = corruption(uniform(2, 4))
    x = draw(0, 2, 4, 3).astype(np.float32)
    y, cache = corrupt_forward(x, x[:1, :1], hidden.selection, hidden.masked)
    assert y.dtype == np.float32
    assert [g.dtype for g in corrupt_backward(y, cache)] == [np.float32] * 2


@pytest.mark.parametrize("N", [2, 3, 5])
def test_a_patch_may_be_swapped_with_any_patch_but_itself(N):
    """For any number drawn, including 0 and almost 1."""
    draws = np.append(np.linspace(0.0, 1.0, 60, endpoint=False), np.nextafter(1.0, 0.0))
    numbers = np.full((len(draws), 3, N), 0.85)  # all corrupted patches are swapped
    numbers[:, 2] = draws[:, None]
    hidden = corruption(numbers)
    assert not hidden.masked.any()
    for patch in hidden.chosen[0]:  # the same in each image
        sources = hidden.selection[:, patch].argmax(-1)
        assert set(sources) == set(range(N)) - {patch}


def test_the_drawn_number_decides_what_happens():
    """Below 0.8 the patch is masked, below 0.9 swapped, and otherwise kept."""
    numbers = np.zeros((4, 3, 4))
    numbers[:, 0] = [0.3, 0.1, 0.4, 0.2]  # patches 1 and 3 are corrupted
    numbers[:, 1] = np.array([0.79, 0.8, 0.89, 0.9])[:, None]
    numbers[:, 2] = 0.9  # the offset is 1, 2 or 3: here 3, which is one position back
    hidden = corruption(numbers)
    assert hidden.chosen.tolist() == [[1, 3]] * 4
    assert hidden.masked.tolist() == [[0, 1, 0, 1], *[[0] * 4] * 3]
    eye = np.eye(4)
    for image, sources in enumerate([None, [0, 0, 2, 2], [0, 0, 2, 2], [0, 1, 2, 3]]):
        expected = eye * [[1], [0], [1], [0]] if sources is None else eye[sources]
        np.testing.assert_array_equal(hidden.selection[image], expected)
