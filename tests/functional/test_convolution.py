"""Convolution, GroupNorm, weight standardization, ReLU and pooling, against hand calculations,
PyTorch and finite differences."""

import importlib
import math

import numpy as np
import pytest
from helpers import assert_right_gradients, draw, relative_error, seeds, sizes
from hypothesis import assume, given
from hypothesis import strategies as st

from minivit.errors import UserError
from minivit.functional import (
    conv2d_backward,
    conv2d_forward,
    groupnorm_backward,
    groupnorm_forward,
    max_pool_backward,
    max_pool_forward,
    relu_backward,
    relu_forward,
    sequence_pool_backward,
    sequence_pool_forward,
    standardize_backward,
    standardize_forward,
)

conv2d = importlib.import_module("minivit.functional.conv2d")
strides = st.integers(1, 3)
paddings = st.integers(0, 2)


def by_loops(x, weight, stride, padding):
    """Convolution, one number at a time."""
    B, H, W, _ = x.shape
    kh, kw, _, O = weight.shape  # noqa: E741
    rows, columns = (H + 2 * padding - kh) // stride + 1, (W + 2 * padding - kw) // stride + 1
    y = np.zeros((B, rows, columns, O))
    for b, r, c, i, j in np.ndindex(B, rows, columns, kh, kw):
        row, column = stride * r + i - padding, stride * c + j - padding
        if 0 <= row < H and 0 <= column < W:
            y[b, r, c] += x[b, row, column] @ weight[i, j]
    return y


@given(B=sizes, H=sizes, W=sizes, I=sizes, O=sizes, kh=sizes, kw=sizes, s=strides, p=paddings)
def test_convolution_is_the_sum_over_windows(B, H, W, I, O, kh, kw, s, p):  # noqa: E741
    assume(kh <= H + 2 * p and kw <= W + 2 * p)
    x, weight = draw(0, B, H, W, I), draw(1, kh, kw, I, O)
    y, _ = conv2d_forward(x, weight, s, p)
    np.testing.assert_allclose(y, by_loops(x, weight, s, p), atol=1e-12)


def test_the_default_stride_is_one_and_there_is_no_padding():
    x, weight = draw(0, 2, 5, 6, 3), draw(1, 2, 3, 3, 4)
    y, _ = conv2d_forward(x, weight)
    np.testing.assert_allclose(y, by_loops(x, weight, 1, 0), atol=1e-12)
    x = x[..., :1]
    y, _ = max_pool_forward(x, 2, 1)
    expected = np.maximum.reduce([x[:, :-1, :-1], x[:, 1:, :-1], x[:, :-1, 1:], x[:, 1:, 1:]])
    np.testing.assert_array_equal(y, expected)


@given(B=sizes, H=sizes, W=sizes, k=sizes, s=strides, p=paddings, seed=seeds)
def test_gradients_of_convolution(B, H, W, k, s, p, seed):
    assume(k <= min(H, W) + 2 * p)
    inputs = {"x": draw(seed, B, H, W, 3), "weight": draw(seed + 1, k, k, 3, 2)}
    assert_right_gradients(conv2d_forward, conv2d_backward, inputs, s, p)


@given(B=sizes, H=sizes, W=sizes, G=sizes, D=sizes, seed=seeds)
def test_gradients_of_groupnorm(B, H, W, G, D, seed):
    assume(H * W * D > 2)  # of two numbers, only their order would be left
    C = G * D
    inputs = {"x": draw(seed, B, H, W, C), "gamma": draw(seed, C), "beta": draw(seed + 1, C)}
    assert_right_gradients(groupnorm_forward, groupnorm_backward, inputs, G)


@given(k=sizes, I=sizes, O=sizes, seed=seeds)
def test_gradients_of_standardization(k, I, O, seed):  # noqa: E741
    assume(k * I > 2)  # of two numbers, only their order would be left
    inputs = {"weight": draw(seed, k, 1, I, O)}
    assert_right_gradients(standardize_forward, standardize_backward, inputs)


@given(B=sizes, H=sizes, W=sizes, k=sizes, s=strides, p=paddings, seed=seeds)
def test_gradients_of_pooling(B, H, W, k, s, p, seed):
    assume(2 * p <= k <= min(H, W) + 2 * p)
    order = np.random.default_rng(seed).permutation(B * H * W * 2)
    x = {"x": 0.01 * order.reshape(B, H, W, 2)}  # a finite step changes no maximum
    assert_right_gradients(max_pool_forward, max_pool_backward, x, k, s, p)
    tokens = {"x": x["x"].reshape(B, -1, 2), "weight": draw(seed, 2, 1)}
    assert_right_gradients(sequence_pool_forward, sequence_pool_backward, tokens)


def test_standardized_weights_have_mean_0_and_variance_1():
    w_hat, _ = standardize_forward(3.0 + 5.0 * draw(0, 3, 3, 4, 6))
    np.testing.assert_allclose(w_hat.mean((0, 1, 2)), 0.0, atol=1e-12)
    np.testing.assert_allclose(w_hat.var((0, 1, 2)), 1.0)


def test_equal_weights_are_standardized_to_zero():
    w_hat, _ = standardize_forward(np.full((3, 3, 2, 4), 0.5))
    np.testing.assert_array_equal(w_hat, 0.0)


def test_relu_by_hand():
    y, cache = relu_forward(np.array([-1.0, 0.0, 2.0]))
    np.testing.assert_array_equal(y, [0, 0, 2])
    np.testing.assert_array_equal(relu_backward(np.array([5.0, 5.0, 5.0]), cache), [0, 0, 5])


def test_the_first_of_equal_maxima_gets_the_gradient():
    y, cache = max_pool_forward(np.ones((1, 2, 2, 1)), 2, 2)
    assert y.item() == 1
    dx = max_pool_backward(np.full((1, 1, 1, 1), 7.0), cache)
    np.testing.assert_array_equal(dx[0, :, :, 0], [[7, 0], [0, 0]])


def test_sequence_pooling_of_equal_scores_is_the_mean():
    x = draw(0, 2, 5, 3)
    y, _ = sequence_pool_forward(x, np.zeros((3, 1)))
    np.testing.assert_allclose(y, x.mean(1))


@pytest.mark.parametrize("images_at_a_time", [1, 2, 3])
def test_the_number_of_images_at_a_time_does_not_matter(images_at_a_time, monkeypatch):
    x, weight = draw(0, 5, 4, 6, 3), draw(1, 2, 3, 3, 2)
    y, cache = conv2d_forward(x, weight, 1, 1)
    dy = draw(2, *y.shape)
    whole = y, *conv2d_backward(dy, cache)
    bytes_each = 5 * 6 * (2 * 3 * 3) * 8  # the windows of one image
    monkeypatch.setattr(conv2d, "WINDOW_BYTES", images_at_a_time * bytes_each + 8)
    y, cache = conv2d_forward(x, weight, 1, 1)
    for found, expected in zip((y, *conv2d_backward(dy, cache)), whole, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-12)
    view = conv2d.windows(cache.padded, (2, 3), 1)
    parts = [len(view[chunk]) for chunk in conv2d.image_chunks(view)]
    assert sum(parts) == 5
    assert max(parts) == images_at_a_time
    monkeypatch.setattr(conv2d, "WINDOW_BYTES", bytes_each - 1)
    assert len(list(conv2d.image_chunks(view))) == 5, "at least one"


def test_shapes_that_do_not_fit_are_refused():
    x = draw(0, 1, 2, 5, 4)
    with pytest.raises(UserError, match="3×3 does not fit into 2×5"):
        conv2d_forward(x, draw(1, 3, 3, 4, 1))
    with pytest.raises(UserError, match="num_groups 3 does not divide 4"):
        groupnorm_forward(x, np.ones(4), np.ones(4), 3)


def test_arguments_are_not_modified_and_float32_is_kept():
    x, weight = draw(0, 2, 5, 5, 4).astype("f4"), draw(1, 3, 3, 4, 2).astype("f4")
    before = x.copy(), weight.copy()
    y, cache = conv2d_forward(x, weight, 1, 1)
    assert {y.dtype, *(g.dtype for g in conv2d_backward(y, cache))} == {np.dtype("f4")}
    gamma = np.ones(4, "f4")
    y, cache = groupnorm_forward(x, gamma, gamma, 2)
    assert {y.dtype, *(g.dtype for g in groupnorm_backward(y, cache))} == {np.dtype("f4")}
    y, cache = max_pool_forward(x, 3, 2, 1)
    assert {y.dtype, max_pool_backward(y, cache).dtype} == {np.dtype("f4")}
    assert standardize_forward(weight)[0].dtype == np.float32
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(weight, before[1])


# PyTorch


def to_torch(torch, x):
    """(B, H, W, C) -> (B, C, H, W), with requires_grad."""
    return torch.from_numpy(x.transpose(0, 3, 1, 2).copy()).requires_grad_()


def from_torch(x):
    return x.detach().permute(0, 2, 3, 1)


@pytest.mark.parametrize(("k", "stride", "padding"), [(3, 1, 1), (1, 1, 0), (3, 2, 1), (4, 3, 2)])
def test_pytorch_agrees_on_convolution(k, stride, padding):
    torch = pytest.importorskip("torch")
    x, weight = draw(0, 3, 8, 7, 5), draw(1, k, k, 5, 4)
    y, cache = conv2d_forward(x, weight, stride, padding)
    dy = draw(2, *y.shape)
    dx, dweight = conv2d_backward(dy, cache)
    tx, tw = to_torch(torch, x), torch.from_numpy(weight.transpose(3, 2, 0, 1)).requires_grad_()
    ty = torch.nn.functional.conv2d(tx, tw, stride=stride, padding=padding)
    ty.backward(torch.from_numpy(dy.transpose(0, 3, 1, 2).copy()))
    assert relative_error(y, from_torch(ty)) <= 1e-9
    assert relative_error(dx, from_torch(tx.grad)) <= 1e-9
    assert relative_error(dweight, tw.grad.permute(2, 3, 1, 0)) <= 1e-9


@pytest.mark.parametrize("num_groups", [1, 2, 6])
def test_pytorch_agrees_on_groupnorm(num_groups):
    torch = pytest.importorskip("torch")
    x, gamma, beta = draw(0, 3, 4, 5, 6), draw(1, 6), draw(2, 6)
    y, cache = groupnorm_forward(x, gamma, beta, num_groups)
    dy = draw(3, *y.shape)
    dx, dgamma, dbeta = groupnorm_backward(dy, cache)
    tx, tg, tb = to_torch(torch, x), *(torch.from_numpy(v).requires_grad_() for v in (gamma, beta))
    ty = torch.nn.functional.group_norm(tx, num_groups, tg, tb, eps=1e-5)
    ty.backward(torch.from_numpy(dy.transpose(0, 3, 1, 2).copy()))
    for found, expected in ((y, from_torch(ty)), (dx, from_torch(tx.grad))):
        assert relative_error(found, expected) <= 1e-9
    assert relative_error(dgamma, tg.grad) <= 1e-9
    assert relative_error(dbeta, tb.grad) <= 1e-9


def test_pytorch_agrees_on_standardization():
    torch = pytest.importorskip("torch")
    weight, dw_hat = draw(0, 3, 3, 4, 6), draw(1, 3, 3, 4, 6)
    w_hat, cache = standardize_forward(weight)
    tw = torch.from_numpy(weight).requires_grad_()
    variance, mean = torch.var_mean(tw, (0, 1, 2), correction=0)
    expected = (tw - mean) / (variance + 1e-10).sqrt()
    expected.backward(torch.from_numpy(dw_hat))
    assert relative_error(w_hat, expected.detach()) <= 1e-9
    assert relative_error(standardize_backward(dw_hat, cache), tw.grad) <= 1e-9


@pytest.mark.parametrize(("size", "stride", "padding"), [(2, 2, 0), (3, 2, 1), (3, 1, 1)])
def test_pytorch_agrees_on_max_pooling(size, stride, padding):
    torch = pytest.importorskip("torch")
    x = np.round(draw(0, 3, 7, 8, 4), 1)  # some windows contain equal numbers
    y, cache = max_pool_forward(x, size, stride, padding)
    dy = draw(1, *y.shape)
    tx = to_torch(torch, x)
    ty = torch.nn.functional.max_pool2d(tx, size, stride, padding)
    ty.backward(torch.from_numpy(dy.transpose(0, 3, 1, 2).copy()))
    assert relative_error(y, from_torch(ty)) <= 1e-9
    assert relative_error(max_pool_backward(dy, cache), from_torch(tx.grad)) <= 1e-9


def test_the_variance_has_no_cancellation():
    """A large common offset in float32 leaves the normalized numbers accurate."""
    x = (draw(0, 1, 8, 8, 4) + 1000.0).astype(np.float32)
    y, _ = groupnorm_forward(x, np.ones(4, np.float32), np.zeros(4, np.float32), 2)
    exact, _ = groupnorm_forward(x.astype(float), np.ones(4), np.zeros(4), 2)
    assert math.isclose(np.abs(y - exact).max(), 0.0, abs_tol=2e-3)
