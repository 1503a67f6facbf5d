"""Convolution, as one matrix product (im2col; Chellapilla et al., 2006).

Images are (B, H, W, C), channels last: the numbers that a window copies are then contiguous.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from minivit.backend import Array, get_xp
from minivit.errors import UserError

WINDOW_BYTES = 4 * 2**20
"""Bytes of windows to process at a time; about optimal in measurements."""


class Conv2dCache(NamedTuple):
    """padded: the zero-padded input. weight. stride, padding: as given.

    The windows are not kept but extracted again in backward: together they are kh·kw times as large
    as the input.
    """

    padded: Array
    weight: Array
    stride: int
    padding: int


def conv2d_forward(
    x: Array, weight: Array, stride: int = 1, padding: int = 0
) -> tuple[Array, Conv2dCache]:
    r"""Each position of the output is a weighted sum over a window of the input.

    .. math:: y_{b,r,c,o} = \sum_{i,j,k} x_{b,\;s r + i - p,\;s c + j - p,\;k}\; w_{i,j,k,o}

    With each window laid out as a row, this is the product of a tall matrix with the weight.

    Args:
        x: (B, H, W, I). weight: (kh, kw, I, O). stride: s. padding: p zeros on every side.

    Returns:
        y (B, (H + 2p - kh) // s + 1, (W + 2p - kw) // s + 1, O), cache.

    Raises:
        UserError: the kernel is larger than the padded image.
    """
    xp = get_xp(x)
    padded = pad(x, padding)
    view = windows(padded, weight.shape[:2], stride)
    columns = weight.reshape(-1, weight.shape[-1])
    y = xp.empty((*view.shape[:3], weight.shape[-1]), x.dtype)
    for chunk in image_chunks(view):
        y[chunk] = (view[chunk].reshape(-1, len(columns)) @ columns).reshape(y[chunk].shape)
    return y, Conv2dCache(padded, weight, stride, padding)


def conv2d_backward(dy: Array, cache: Conv2dCache) -> tuple[Array, Array]:
    r"""dy (B, H', W', O) -> dx (B, H, W, I), dweight (kh, kw, I, O).

    With the windows as rows, this is the backward pass of a linear layer: :math:`dW = X^\top dY`
    and :math:`dX = dY\,W^\top`; then each window's gradient is added where the window came from
    (col2im).
    """
    padded, weight, stride, padding = cache
    xp = get_xp(dy)
    view = windows(padded, weight.shape[:2], stride)
    columns = weight.reshape(-1, weight.shape[-1])
    dcolumns, dpadded = xp.zeros_like(columns), xp.zeros_like(padded)
    for chunk in image_chunks(view):
        rows = dy[chunk].reshape(-1, dy.shape[-1])
        dcolumns += view[chunk].reshape(len(rows), -1).T @ rows
        add_windows((rows @ columns.T).reshape(view[chunk].shape), stride, dpadded[chunk])
    return unpad(dpadded, padding), dcolumns.reshape(weight.shape)


def windows(x: Array, size: tuple[int, int], stride: int) -> Array:
    """All windows of x (B, H, W, C), a view: (B, H', W', kh, kw, C).

    Raises:
        UserError: the windows are larger than the image.
    """
    B, H, W, C = x.shape
    kh, kw = size
    if kh > H or kw > W:
        raise UserError(f"a window of {kh}×{kw} does not fit into {H}×{W}; add padding")
    b, h, w, c = x.strides
    shape = (B, (H - kh) // stride + 1, (W - kw) // stride + 1, kh, kw, C)
    strides = (b, stride * h, stride * w, h, w, c)
    return get_xp(x).lib.stride_tricks.as_strided(x, shape, strides)


def add_windows(dwindows: Array, stride: int, dx: Array) -> None:
    """The reverse of `windows`: (B, H', W', kh, kw, C) is added to dx (B, H, W, C)."""
    _, rows, columns, kh, kw, _ = dwindows.shape
    for i in range(kh):
        for j in range(kw):
            bottom, right = i + stride * rows, j + stride * columns
            dx[:, i:bottom:stride, j:right:stride] += dwindows[:, :, :, i, j]


def image_chunks(view: Array) -> Iterator[slice]:
    """Slices of images whose windows fit in a CPU's cache; on a GPU all at once."""
    B, bytes_each = len(view), math.prod(view.shape[1:]) * view.itemsize
    count = max(1, WINDOW_BYTES // bytes_each) if get_xp(view) is np else max(B, 1)
    return (slice(first, first + count) for first in range(0, B, count))


def pad(x: Array, padding: int, value: float = 0.0) -> Array:
    """Pad images (B, H, W, C) by `padding` on each side; x itself if it is 0."""
    if padding == 0:
        return x
    B, H, W, C = x.shape
    padded = get_xp(x).full((B, H + 2 * padding, W + 2 * padding, C), value, x.dtype)
    padded[:, padding:-padding, padding:-padding] = x
    return padded


def unpad(x: Array, padding: int) -> Array:
    """Remove the padding."""
    return x if padding == 0 else x[:, padding:-padding, padding:-padding]
