"""Softmax over the last axis."""

import math

import numpy as np
import pytest
from helpers import assert_right_gradients, draw, seeds, sizes
from hypothesis import given
from hypothesis import strategies as st

from minivit.functional import softmax, softmax_backward, softmax_forward
from minivit.functional.softmax import row_sums

shapes = st.lists(sizes, min_size=1, max_size=4)


@given(shapes, seeds)
def test_gradients(shape, seed):
    assert_right_gradients(softmax_forward, softmax_backward, {"scores": draw(seed, *shape)})


@given(shapes, seeds)
def test_it_agrees_with_the_formula_row_by_row(shape, seed):
    scores = 3.0 * draw(seed, *shape)
    probs, _ = softmax_forward(scores)
    for row in np.ndindex(*shape[:-1]):
        exps = [math.exp(score) for score in scores[row]]
        np.testing.assert_allclose(probs[row], [e / sum(exps) for e in exps], rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(shape=shapes, seed=seeds)
def test_probabilities_are_positive_and_add_up_to_one(dtype, shape, seed):
    probs, _ = softmax_forward(draw(seed, *shape).astype(dtype))
    assert (probs > 0).all()
    np.testing.assert_allclose(probs.sum(-1), 1.0, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_each_row_uses_its_own_maximum(dtype):
    """With the maximum over another axis, a row far below the largest would become 0/0."""
    scores = draw(0, 4, 4).astype(dtype)  # square, so a wrong axis would not change the shape
    offsets = np.array([[0.0], [-1e4], [1e4], [300.0]], dtype)
    with np.errstate(all="raise", under="ignore"):
        probs, _ = softmax_forward(scores + offsets)
    expected, _ = softmax_forward(scores)
    np.testing.assert_allclose(probs, expected, atol=2e-3 if dtype == "float32" else 1e-10)


@given(shapes, seeds)
def test_subtracting_the_maximum_does_not_change_the_result(shape, seed):
    scores = 10.0 * draw(seed, *shape).astype("float32")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(softmax, "SAFE", 0.0)
        shifted, _ = softmax_forward(scores)
    np.testing.assert_allclose(softmax_forward(scores)[0], shifted, rtol=5e-6)


@pytest.mark.parametrize("largest", [39.0, 41.0, -41.0])
def test_scores_near_the_limit(largest):
    scores = np.linspace(-30, 30, 1000, dtype="float32").reshape(2, 500)
    scores[0, 3] = largest
    exact = np.exp(scores.astype(float) - scores.max(-1, keepdims=True))
    probs, _ = softmax_forward(scores)
    np.testing.assert_allclose(probs, exact / exact.sum(-1, keepdims=True), rtol=1e-5)


def test_empty_input_and_nan():
    assert softmax_forward(np.empty((0, 3)))[0].shape == (0, 3)
    probs, _ = softmax_forward(np.array([[np.nan, 0.0], [0.0, 0.0]], "float32"))
    assert np.isnan(probs[0]).all()
    assert probs[1].tolist() == [0.5, 0.5]


def test_rows_of_very_negative_scores_do_not_vanish():
    probs, _ = softmax_forward(np.full((2, 4), -200, np.float32))
    assert (probs == 0.25).all()


def test_scores_of_ten_thousand_do_not_overflow():
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        probs, _ = softmax_forward(np.array([[1e4, -1e4, 1e4]], "float32"))
    assert probs.tolist() == [[0.5, 0.0, 0.5]]


@given(shapes, seeds)
def test_the_gradient_of_each_row_sums_to_zero(shape, seed):
    _, cache = softmax_forward(draw(seed, *shape))
    dscores = softmax_backward(draw(seed + 1, *shape), cache)
    np.testing.assert_allclose(dscores.sum(-1), 0.0, atol=1e-12)


@given(shapes, seeds)
def test_row_sums_are_sums_over_the_last_axis(shape, seed):
    x = draw(seed, *shape)
    found = row_sums(x)
    assert found.shape == (*shape[:-1], 1)
    for row in np.ndindex(*shape[:-1]):
        assert found[row][0] == pytest.approx(sum(x[row]), abs=1e-12)
