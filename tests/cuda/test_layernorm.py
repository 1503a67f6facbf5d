"""Residual addition and LayerNorm, forward and backward, against the NumPy functions."""

import numpy as np
import pytest

from minivit.backend.cuda import from_bf16, to_bf16
from minivit.functional import layernorm_backward, layernorm_forward

WIDTHS = (8, 33, 64, 100, 192, 257, 264)
KINDS = {"float": (lambda x: x.astype(np.float32), lambda x: x, 1e-5),
         "bf16": (to_bf16, from_bf16, 2e-2)}  # fmt: skip


def draw(rows, width):
    rng = np.random.default_rng(width)
    x, branch, dy = (rng.standard_normal((rows, width)) + 0.5 for _ in range(3))
    return x, branch, dy, rng.standard_normal(width), rng.standard_normal(width)


def close(found, expected, tolerance):
    expected = np.asarray(expected)
    np.testing.assert_allclose(found, expected, atol=tolerance * np.abs(expected).max(), rtol=0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", WIDTHS)
def test_forward_and_backward_agree_with_numpy(call, kind, width):
    store, read, tolerance = KINDS[kind]
    rows, eps = 11, 1e-6
    x, branch, dy, gamma, beta = draw(rows, width)
    x, branch, dy = (read(store(a)).astype(float) for a in (x, branch, dy))
    gamma, beta = gamma.astype(np.float32), beta.astype(np.float32)
    total, y = (store(np.zeros((rows, width))) for _ in range(2))
    statistics = np.zeros((rows, 2), np.float32)
    sizes = {"WIDTH": width, "SCALAR": kind}
    no_dropout = (None, 0, 0, 0.0, 0.0, 1)
    call("layernorm.cu", "residual_layernorm_forward", 2, 128, store(x), store(branch), gamma, beta,
         total, y, statistics, rows, eps, *no_dropout, **sizes)  # fmt: skip
    expected, _ = layernorm_forward(x + branch, gamma.astype(float), beta.astype(float), eps)
    close(read(total), x + branch, tolerance)
    close(read(y), expected, tolerance)

    added = read(total).astype(float)
    _, cache = layernorm_forward(added, gamma.astype(float), beta.astype(float), eps)
    dx, dgamma, dbeta = layernorm_backward(dy, cache)
    before = np.random.default_rng(0).standard_normal((rows, width)).astype(np.float32)
    dresidual, partial = before.copy(), np.zeros((2, 2, width), np.float32)
    copy = store(np.zeros((rows, width)))
    call("layernorm.cu", "layernorm_backward", 2, 128, store(dy), total, statistics, gamma,
         dresidual, copy, partial, rows, *no_dropout, shared=8 * width, **sizes)  # fmt: skip
    close(dresidual, before + dx, tolerance)
    np.testing.assert_array_equal(copy, store(dresidual))
    gradients = np.ones((2, width), np.float32)  # the kernel adds to it
    call("column_sums.cu", "add_column_sums", ((width + 31) // 32, 2), 64, partial, gradients[0],
         gradients[1], 2, width, 2 * width)  # fmt: skip
    close(gradients, 1 + np.array([dgamma, dbeta]), tolerance)


def test_layernorm_without_a_residual_branch(call):
    x, _, _, gamma, beta = (a.astype(np.float32) for a in draw(5, 64))
    y, statistics = np.zeros_like(x), np.zeros((5, 2), np.float32)
    call("layernorm.cu", "residual_layernorm_forward", 1, 64, x, None, gamma, beta, None, y,
         statistics, 5, 1e-6, None, 0, 0, 0.0, 0.0, 1, WIDTH=64, SCALAR="float")  # fmt: skip
    close(y, layernorm_forward(x, gamma, beta)[0], 1e-5)
