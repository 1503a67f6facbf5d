"""Resizing a grid: known answers, PyTorch, finite differences."""

import numpy as np
import pytest
from helpers import assert_right_gradients, draw, relative_error, seeds, sizes
from hypothesis import given

from minivit.errors import UserError
from minivit.functional import interpolate_backward, interpolate_forward, interpolation_matrix

MODES = ("bilinear", "bicubic")


@pytest.mark.parametrize("mode", MODES)
@given(B=sizes, h=sizes, w=sizes, H=sizes, W=sizes, C=sizes, seed=seeds)
def test_gradients(mode, B, h, w, H, W, C, seed):
    x = {"x": draw(seed, B, h, w, C)}
    assert_right_gradients(interpolate_forward, interpolate_backward, x, (H, W), mode)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_on_the_same_grid_it_is_exactly_the_identity(mode, dtype):
    x = draw(0, 2, 7, 5, 3).astype(dtype)
    y, _ = interpolate_forward(x, (7, 5), mode)
    assert y.dtype == x.dtype
    np.testing.assert_array_equal(y, x)


def test_bilinear_by_hand():
    expected = [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]]
    np.testing.assert_allclose(interpolation_matrix(4, 2, "bilinear"), expected)
    np.testing.assert_allclose(interpolation_matrix(1, 2, "bilinear"), [[0.5, 0.5]])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("new", "old"), [(12, 8), (5, 8), (1, 3), (9, 1), (24, 14)])
def test_constants_are_kept_and_the_ends_are_symmetric(mode, new, old):
    matrix = interpolation_matrix(new, old, mode)
    np.testing.assert_allclose(matrix.sum(1), 1.0)
    np.testing.assert_allclose(matrix[::-1, ::-1], matrix, atol=1e-12)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [(12, 12), (5, 9), (8, 8), (1, 1), (3, 20), (16, 7)])
def test_pytorch_agrees(mode, size):
    torch = pytest.importorskip("torch")
    x, dy = draw(0, 2, 8, 6, 3), draw(1, 2, *size, 3)
    y, cache = interpolate_forward(x, size, mode)
    x_torch = torch.from_numpy(x.transpose(0, 3, 1, 2)).requires_grad_()
    out = torch.nn.functional.interpolate(x_torch, size, mode=mode, align_corners=False)
    out.backward(torch.from_numpy(dy.transpose(0, 3, 1, 2)))
    assert relative_error(y, out.detach().permute(0, 2, 3, 1)) <= 1e-9
    assert relative_error(interpolate_backward(dy, cache), x_torch.grad.permute(0, 2, 3, 1)) <= 1e-9


def test_invalid_arguments_are_refused():
    with pytest.raises(UserError, match="bilinear, bicubic"):
        interpolation_matrix(2, 2, "nearest")
    with pytest.raises(UserError, match="at least 1"):
        interpolate_forward(np.ones((1, 2, 2, 1)), (0, 2))
    with pytest.raises(UserError, match="cannot resize 0 to 2"):
        interpolation_matrix(2, 0)
