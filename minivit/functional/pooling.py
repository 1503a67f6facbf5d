"""Pooling: of windows to their maximum, of a sequence to a weighted mean."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from minivit.backend import Array, get_xp
from minivit.functional.conv2d import pad, unpad
from minivit.functional.softmax import softmax_backward, softmax_forward


class MaxPoolCache(NamedTuple):
    """winner (B, H', W', C): which place of the window was largest. shape: of the padded input."""

    winner: Array
    shape: tuple
    size: int
    stride: int
    padding: int


def max_pool_forward(
    x: Array, size: int, stride: int, padding: int = 0
) -> tuple[Array, MaxPoolCache]:
    r"""The largest number of each window, channel by channel.

    Args:
        x: (B, H, W, C). size, stride: of the windows. padding: places around the image that
            never win.

    Returns:
        y (B, H', W', C), cache.
    """
    xp = get_xp(x)
    padded = pad(x, padding, -xp.inf)
    y: Any = None
    winner: Any = None
    for place, part in enumerate(_places(padded, size, stride)):
        if y is None:
            y, winner = part.copy(), xp.zeros(part.shape, xp.int8)
            continue
        larger = part > y  # of equals, the first wins, as in PyTorch
        winner[larger] = place
        y = xp.maximum(y, part)
    return y, MaxPoolCache(winner, padded.shape, size, stride, padding)


def max_pool_backward(dy: Array, cache: MaxPoolCache) -> Array:
    """dy (B, H', W', C) -> dx (B, H, W, C): each gradient to the place that won."""
    winner, shape, size, stride, padding = cache
    dpadded = get_xp(dy).zeros(shape, dy.dtype)
    for place, part in enumerate(_places(dpadded, size, stride)):
        part += dy * (winner == place)
    return unpad(dpadded, padding)


def _places(x: Array, size: int, stride: int) -> Iterator[Array]:
    """For each place of a window, the numbers that are there, window by window: views."""
    rows, columns = ((side - size) // stride + 1 for side in x.shape[1:3])
    for i in range(size):
        for j in range(size):
            yield x[:, i : i + stride * rows : stride, j : j + stride * columns : stride]


def sequence_pool_forward(x: Array, weight: Array) -> tuple[Array, tuple]:
    r"""A mean of all tokens, in which each says how much it counts (Hassani et al., 2021).

    .. math:: p = \mathrm{softmax}(x\,w), \qquad y = \sum_t p_t\,x_t

    A bias would add the same to all scores, which softmax does not see.

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

    A token moves the mean twice: by what it is, and by how much it counts.

    .. math:: dp_t = dy \cdot x_t, \qquad dx_t = p_t\,dy + ds_t\,w^\top
    """
    x, weight, probs = cache
    dprobs = get_xp(x).matmul(x, dy[..., None])[..., 0]
    dscores = softmax_backward(dprobs, probs)
    dx = probs[..., None] * dy[:, None]
    dx += dscores[..., None] * weight[:, 0]
    rows = x.reshape(-1, x.shape[-1])
    return dx, rows.T @ dscores.reshape(-1, 1)
