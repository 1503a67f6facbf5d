"""The twins: the loops, with the signatures of their pairs; float32 only."""

import functools
from collections.abc import Callable

import numpy as np

from minivit.functional.compiled import loops
from minivit.functional.gelu import GeluCache
from minivit.functional.layernorm import LayerNormCache
from minivit.functional.pooling import MaxPoolCache


def _with_cdf(loop: Callable, x: np.ndarray) -> tuple[np.ndarray, GeluCache]:
    numbers = _vector(x)
    y, cdf = np.empty_like(numbers), np.empty_like(numbers)
    loop(numbers, y, cdf)
    return y.reshape(x.shape), GeluCache(x, cdf.reshape(x.shape))


def _inference(loop: Callable, x: np.ndarray) -> np.ndarray:
    numbers = _vector(x)
    y = np.empty_like(numbers)
    loop(numbers, y)
    return y.reshape(x.shape)


def _derivative(loop: Callable, dy: np.ndarray, cache: GeluCache) -> np.ndarray:
    numbers = _vector(dy)
    dx = np.empty_like(numbers)
    loop(numbers, *map(_vector, cache), dx)
    return dx.reshape(dy.shape)


gelu_forward = functools.partial(_with_cdf, loops.gelu_forward)
gelu = functools.partial(_inference, loops.gelu_inference)
gelu_backward = functools.partial(_derivative, loops.gelu_backward)
gelu_tanh_forward = functools.partial(_with_cdf, loops.gelu_tanh_forward)
gelu_tanh = functools.partial(_inference, loops.gelu_tanh_inference)
gelu_tanh_backward = functools.partial(_derivative, loops.gelu_tanh_backward)


def layernorm_forward(
    x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, eps: float = 1e-6
) -> tuple[np.ndarray, LayerNormCache]:
    """See `functional.layernorm`."""
    rows = _rows(x)
    y, xhat, rstd = np.empty_like(rows), np.empty_like(rows), np.empty(len(rows), x.dtype)
    loops.layernorm_forward(rows, *map(_vector, (gamma, beta)), eps, y, xhat, rstd)
    return y.reshape(x.shape), LayerNormCache(xhat.reshape(x.shape), rstd, gamma)


def layernorm_backward(
    dy: np.ndarray, cache: LayerNormCache
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """See `functional.layernorm`."""
    xhat, rstd, gamma = cache
    rows = _rows(dy)
    dx, (dgamma, dbeta) = np.empty_like(rows), np.zeros((2, *gamma.shape), dy.dtype)
    loops.layernorm_backward(rows, _rows(xhat), rstd, _vector(gamma), dx, dgamma, dbeta)
    return dx.reshape(dy.shape), dgamma, dbeta


def softmax_forward(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """See `functional.softmax`."""
    rows = _rows(scores)
    probs = np.empty_like(rows)
    loops.softmax_forward(rows, probs)
    probs = probs.reshape(scores.shape)
    return probs, probs


def softmax_backward(dprobs: np.ndarray, cache: np.ndarray) -> np.ndarray:
    """See `functional.softmax`."""
    rows = _rows(dprobs)
    dscores = np.empty_like(rows)
    loops.softmax_backward(rows, _rows(cache), dscores)
    return dscores.reshape(dprobs.shape)


def max_pool_forward(
    x: np.ndarray, size: int, stride: int, padding: int = 0
) -> tuple[np.ndarray, MaxPoolCache]:
    """See `functional.pooling`."""
    B, H, W, C = x.shape
    H, W = H + 2 * padding, W + 2 * padding
    y = np.empty((B, (H - size) // stride + 1, (W - size) // stride + 1, C), x.dtype)
    argmax = np.empty(y.shape, np.int8)
    loops.max_pool_forward(np.ascontiguousarray(x), size, stride, padding, y, argmax)
    return y, MaxPoolCache(argmax, (B, H, W, C), size, stride, padding)


def max_pool_backward(dy: np.ndarray, cache: MaxPoolCache) -> np.ndarray:
    """See `functional.pooling`."""
    argmax, (B, H, W, C), size, stride, padding = cache
    dx = np.empty((B, H - 2 * padding, W - 2 * padding, C), dy.dtype)
    loops.max_pool_backward(np.ascontiguousarray(dy), argmax, size, stride, padding, dx)
    return dx


def online_softmax(
    scores: np.ndarray, row_max: np.ndarray, row_sum: np.ndarray, out: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """See `functional.flash_attention`."""
    loops.online_softmax(scores, scores.view(np.int32), row_max, row_sum, out)
    return scores, row_max, row_sum, out


def shifted_exp(scores: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """See `functional.flash_attention`."""
    loops.shifted_exp(scores, np.ascontiguousarray(shift))
    return scores


def scores_gradient(dprobs: np.ndarray, probs: np.ndarray, correction: np.ndarray) -> np.ndarray:
    """See `functional.flash_attention`."""
    loops.scores_gradient(dprobs, probs, np.ascontiguousarray(correction))
    return dprobs


def _rows(x: np.ndarray) -> np.ndarray:
    """(..., C) -> (rows, C), contiguous; copied only if necessary."""
    return np.ascontiguousarray(x).reshape(-1, x.shape[-1])


def _vector(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x).reshape(-1)
