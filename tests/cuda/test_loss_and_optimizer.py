"""Cross-entropy, sums and AdamW in one launch each, against the NumPy functions and the
optimizer."""

import numpy as np
import pytest

from minivit.backend.cuda import from_bf16, to_bf16
from minivit.functional import cross_entropy_backward, cross_entropy_forward
from minivit.layers import FlatParameters, Linear
from minivit.optim import AdamW, clip_by_global_norm


@pytest.mark.parametrize("kind", ["float", "bf16"])
@pytest.mark.parametrize("classes", [3, 10, 32, 100])
def test_cross_entropy(call, kind, classes):
    rng = np.random.default_rng(classes)
    rows, smoothing = 7, 0.1
    logits = (4 * rng.standard_normal((rows, classes))).astype(np.float32)
    stored = to_bf16(logits) if kind == "bf16" else logits
    logits = from_bf16(stored).astype(float) if kind == "bf16" else logits.astype(float)
    first, second = rng.integers(classes, size=(2, rows)).astype(np.int32)
    weight = rng.random(rows).astype(np.float32)
    weight[0] = 1.0
    soft = (
        weight[:, None] * np.eye(classes)[first] + (1 - weight)[:, None] * np.eye(classes)[second]
    )
    expected, cache = cross_entropy_forward(logits, soft, smoothing)
    dlogits, losses, correct = np.zeros_like(stored), *np.zeros((2, rows), np.float32)
    call("cross_entropy.cu", "cross_entropy", 2, 128, stored, first, second, weight, dlogits,
         losses, correct, rows, rows, smoothing, CLASSES=classes, SCALAR=kind)  # fmt: skip
    assert losses.mean() == pytest.approx(expected, rel=1e-5)
    found = from_bf16(dlogits) if kind == "bf16" else dlogits
    expected_dlogits = cross_entropy_backward(1.0, cache)
    np.testing.assert_allclose(
        found, expected_dlogits, atol=(1e-2 if kind == "bf16" else 1e-6) / rows
    )
    np.testing.assert_array_equal(
        correct, logits.argmax(1) == np.where(weight >= 0.5, first, second)
    )


def test_cross_entropy_of_large_logits_is_finite(call):
    logits = np.array([[1e4, -1e4, 0.0]], np.float32)
    dlogits, losses, correct = np.zeros_like(logits), *np.zeros((2, 1), np.float32)
    label, weight = np.array([1], np.int32), np.ones(1, np.float32)
    call("cross_entropy.cu", "cross_entropy", 1, 32, logits, label, label, weight, dlogits, losses,
         correct, 1, 1, 0.0, CLASSES=3, SCALAR="float")  # fmt: skip
    assert losses[0] == 2e4
    np.testing.assert_array_equal(dlogits, [[1, -1, 0]])


@pytest.mark.parametrize("count", [1, 31, 1000, 4097])
def test_sum_of_squares(call, count):
    x = np.random.default_rng(count).standard_normal(count).astype(np.float32)
    partial = np.zeros(3, np.float32)
    call("sums.cu", "sum_of_squares", 3, 128, x, partial, count)
    assert partial.sum() == pytest.approx((x.astype(float) ** 2).sum(), rel=1e-5)


def test_mean_loss_and_number_of_correct_predictions(call):
    x = np.random.default_rng(0).random((2, 77)).astype(np.float32)
    out = np.array([5.0, 6.0], np.float32)  # overwritten
    call("sums.cu", "two_sums", 1, 64, x, out, 77, 0.25)
    expected = [x[0].sum() / 4, x[1].sum()]
    np.testing.assert_allclose(out, expected, rtol=1e-6)


@pytest.mark.parametrize("clip_norm", [0.0, 0.5, 1e6])
def test_several_steps_of_adamw(call, clip_norm):
    layer = Linear(np.random.default_rng(0), 8, 14)
    flat = FlatParameters(layer, "float64")
    theta = flat.data.astype(np.float32)
    m, v = np.zeros_like(theta), np.zeros_like(theta)
    copy = np.zeros(theta.shape, np.uint16)
    oracle = AdamW(flat, (0.9, 0.95), weight_decay=0.1)
    rng = np.random.default_rng(1)
    for step in range(1, 5):
        grad, lr = rng.standard_normal(theta.shape).astype(np.float32), 0.1 / step
        grad[flat.slices["bias"].stop :] = 0  # the padding to a cache line has none
        flat.grad[...] = grad
        if clip_norm:
            clip_by_global_norm(flat.grad, clip_norm)
        oracle.step(lr)
        partial = np.zeros(2, np.float32)
        call("sums.cu", "sum_of_squares", 2, 64, grad, partial, grad.size)
        state = np.array([lr, 1 - 0.9**step, 1 - 0.95**step], np.float32)
        call("adamw.cu", "adamw", 2, 64, theta, grad, m, v, copy, state, partial, 2, theta.size,
             flat.num_decayed, 0.9, 0.95, 1e-8, 0.1, clip_norm)  # fmt: skip
    np.testing.assert_allclose(theta, flat.data, rtol=2e-5, atol=1e-6)
    np.testing.assert_array_equal(copy, to_bf16(theta))


def test_adamw_without_a_bf16_copy(call):
    theta = np.ones(5, np.float32)
    state, partial = np.array([0.1, 0.1, 0.05], np.float32), np.zeros(1, np.float32)
    call("adamw.cu", "adamw", 1, 32, theta, np.ones(5, np.float32), np.zeros(5, np.float32),
         np.zeros(5, np.float32), None, state, partial, 1, 5, 0, 0.9, 0.95, 1e-8, 0.1,
         0.0)  # fmt: skip
    np.testing.assert_allclose(theta, 0.9, rtol=1e-5)
