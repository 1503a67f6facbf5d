"""Pooling: the maximum of windows, the weighted mean of a sequence."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from minivit.backend import Array, get_xp, has_twin
from minivit.functional.conv2d import pad, unpad
from minivit.functional.softmax import softmax_backward, softmax_forward


class MaxPoolCache(NamedTuple):
    """argmax (B, H', W', C): the index of the maximum in its window. shape: of the padded input."""

    argmax: Array
    shape: tuple
    size: int
    stride: int
    padding: int


@has_twin
def max_pool_forward(
    x: Array, size: int, stride: int, padding: int = 0
) -> tuple[Array, MaxPoolCache]:
    r"""The maximum of each window, per channel.

    Args:
        x: (B, H, W, C). size, stride: of the windows. padding: around the image; a padded position
        is never the maximum.

    Returns:
        y (B, H', W', C), cache.
    """
    xp = get_xp(x)
    padded = pad(x, padding, -xp.inf)
    y: Any = None
    argmax: Any = None
    for index, part in enumerate(_window_positions(padded, size, stride)):
        if y is None:
            y, argmax = part.copy(), xp.zeros(part.shape, xp.int8)
            continue
        larger = part > y  # ties go to the first, as in PyTorch
        argmax = xp.maximum(argmax, larger * xp.int8(index))  # ascending: the latest
        y = xp.maximum(y, part)
    return y, MaxPoolCache(argmax, padded.shape, size, stride, padding)


@has_twin
def max_pool_backward(dy: Array, cache: MaxPoolCache) -> Array:
    """dy (B, H', W', C) -> dx (B, H, W, C): each gradient goes to the maximum."""
    argmax, shape, size, stride, padding = cache
    dpadded = get_xp(dy).zeros(shape, dy.dtype)
    for index, part in enumerate(_window_positions(dpadded, size, stride)):
        part += dy * (argmax == index)
    return unpad(dpadded, padding)


def _window_positions(x: Array, size: int, stride: int) -> Iterator[Array]:
    """For each position in a window, the numbers at that position in all windows: views."""
    rows, columns = ((side - size) // stride + 1 for side in x.shape[1:3])
    for i in range(size):
        for j in range(size):
            yield x[:, i : i + stride * rows : stride, j : j + stride * columns : stride]


def sequence_pool_forward(x: Array, weight: Array) -> tuple[Array, tuple]:
    r"""A weighted mean of all tokens, with learned weights (sequence pooling; Hassani et al.,
    2021).

    .. math:: p = \mathrm{softmax}(x\,w), \qquad y = \sum_t p_t\,x_t

    A bias would add the same to all scores, which does not change the softmax.

    Args:
        x: (B, T, C). weight: (C, 1).

    Returns:
        y (B, C), cache.
    """
    probs, _ = softmax_forward((x @ weight)[..., 0])
    y = get_xp(x).matmul(probs[:, None], x)[:, 0]
    return y, (x, weight, probs)


def sequence_pool_backward(dy: Array, cache: tuple) -> tuple[Array, Array]:
    r"""dy (B, C) -> dx (B, T, C), dweight (C, 1).

    A token affects the mean in two ways: by its value and by its weight.

    .. math:: dp_t = dy \cdot x_t, \qquad dx_t = p_t\,dy + ds_t\,w^\top
    """
    x, weight, probs = cache
    dprobs = get_xp(x).matmul(x, dy[..., None])[..., 0]
    dscores = softmax_backward(dprobs, probs)
    dx = probs[..., None] * dy[:, None]
    dx += dscores[..., None] * weight[:, 0]
    rows = x.reshape(-1, x.shape[-1])
    return dx, rows.T @ dscores.reshape(-1, 1)
