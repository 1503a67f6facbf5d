"""Cross-entropy: hard and soft targets, label smoothing."""

import math

import numpy as np
import pytest
from helpers import assert_right_gradients, draw, seeds, sizes
from hypothesis import given
from hypothesis import strategies as st

from minivit.functional import cross_entropy_backward, cross_entropy_forward

smoothings = st.sampled_from([0.0, 0.1, 0.5])


def hard(seed, B, K):
    return np.random.default_rng(seed).integers(K, size=B)


def soft(seed, B, K):
    return np.random.default_rng(seed).dirichlet(np.ones(K), B)


@pytest.mark.parametrize("targets", [hard, soft])
@given(B=sizes, K=st.integers(2, 5), smoothing=smoothings, seed=seeds)
def test_gradients(targets, B, K, smoothing, seed):
    assert_right_gradients(
        cross_entropy_forward,
        cross_entropy_backward,
        {"logits": 2.0 * draw(seed, B, K)},
        targets(seed, B, K),
        smoothing,
    )


@given(sizes, sizes, smoothings, seeds)
def test_it_agrees_with_the_formula(B, K, smoothing, seed):
    logits, targets = draw(seed, B, K), hard(seed, B, K)
    loss, _ = cross_entropy_forward(logits, targets, smoothing)
    expected = 0.0
    for b in range(B):
        total = sum(math.exp(z) for z in logits[b])
        for k in range(K):
            target = (1.0 - smoothing) * (k == targets[b]) + smoothing / K
            expected -= target * (logits[b, k] - math.log(total)) / B
    assert float(loss) == pytest.approx(expected, abs=1e-12)


@given(sizes, sizes, smoothings, seeds)
def test_one_hot_targets_are_equivalent_to_classes(B, K, smoothing, seed):
    logits, targets = draw(seed, B, K), hard(seed, B, K)
    one_hot = np.eye(K)[targets]
    loss, cache = cross_entropy_forward(logits, targets, smoothing)
    same, other = cross_entropy_forward(logits, one_hot, smoothing)
    assert float(loss) == pytest.approx(float(same), abs=1e-14)
    np.testing.assert_allclose(
        cross_entropy_backward(1.0, cache), cross_entropy_backward(1.0, other), atol=1e-15
    )


def test_known_values():
    even, _ = cross_entropy_forward(np.zeros((4, 10)), np.arange(4))
    assert float(even) == pytest.approx(math.log(10))
    odds, cache = cross_entropy_forward(np.array([[math.log(3.0), 0.0]]), np.array([1]))
    assert float(odds) == pytest.approx(math.log(4))
    assert cross_entropy_backward(2.0, cache)[0] == pytest.approx([1.5, -1.5])


def test_the_loss_is_a_mean_over_the_batch():
    logits, targets = draw(0, 3, 4), hard(0, 3, 4)
    loss, cache = cross_entropy_forward(logits, targets)
    twice, twice_cache = cross_entropy_forward(np.tile(logits, (2, 1)), np.tile(targets, 2))
    assert float(twice) == pytest.approx(float(loss))
    once = cross_entropy_backward(1.0, cache)
    np.testing.assert_allclose(cross_entropy_backward(1.0, twice_cache)[:3], once / 2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_logits_of_ten_thousand_do_not_overflow(dtype):
    logits = np.array([[1e4, -1e4], [-1e4, 1e4]], dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        right, _ = cross_entropy_forward(logits, np.array([0, 1]))
        wrong, cache = cross_entropy_forward(logits, np.array([1, 1]))
    assert (float(right), float(wrong)) == (0.0, 1e4)
    assert np.isfinite(cross_entropy_backward(1.0, cache)).all()


def test_each_row_uses_its_own_maximum():
    logits = draw(0, 3, 3) + np.array([[1e4], [0.0], [-1e4]])
    loss, _ = cross_entropy_forward(logits, np.arange(3))
    expected, _ = cross_entropy_forward(draw(0, 3, 3), np.arange(3))
    assert float(loss) == pytest.approx(float(expected), abs=1e-9)
