"""Interpolation to another grid, as two matrix products (used by the paper to resize positions)."""

from typing import Literal

import numpy as np

from minivit.backend import Array, get_xp
from minivit.errors import UserError

Mode = Literal["bilinear", "bicubic"]
CUBIC = -0.75  # the slope of the cubic at distance 1, as in PyTorch and OpenCV


def interpolate_forward(
    x: Array, size: tuple[int, int], mode: Mode = "bicubic"
) -> tuple[Array, tuple]:
    r"""Resize a grid of vectors. Along each axis, every new value is a weighted sum of old
    neighbors, so resizing is a product with a matrix:

    .. math:: Y = A_h\,X\,A_w^\top

    for each of the C channels; see `interpolation_matrix`.

    Args:
        x: (B, h, w, C). size: the new (h, w). mode: "bilinear", "bicubic".

    Returns:
        y (B, H, W, C), cache. If the size does not change, y equals x exactly.

    Raises:
        UserError: unknown mode, or a size below 1.
    """
    xp = get_xp(x)
    h, w = x.shape[1:3]
    rows = xp.asarray(interpolation_matrix(size[0], h, mode), x.dtype)
    columns = xp.asarray(interpolation_matrix(size[1], w, mode), x.dtype)
    return _along_both(x, rows, columns), (rows, columns)


def interpolate_backward(dy: Array, cache: tuple) -> Array:
    r"""dy (B, H, W, C) -> dx (B, h, w, C): products with the transposed matrices.

    .. math:: dX = A_h^\top\,dY\,A_w
    """
    rows, columns = cache
    return _along_both(dy, rows.T, columns.T)


def resize_positions_forward(
    pos_embed: Array,
    prefix: int,
    old: tuple[int, int],
    new: tuple[int, int],
    mode: Mode = "bicubic",
) -> tuple[Array, tuple]:
    """Resize position embeddings from one grid to another (paper, section 3.2).

    Args:
        pos_embed: (1, T, C). prefix: its first rows, of the tokens before the patches, which are
            left unchanged. old, new: rows and columns of the grids. mode: see
            `interpolate_forward`.

    Returns:
        (1, T', C), cache. Raises as `interpolate_forward`.
    """
    xp = get_xp(pos_embed)
    C = pos_embed.shape[-1]
    resized, cache = interpolate_forward(pos_embed[:, prefix:].reshape(1, *old, C), new, mode)
    out = xp.concatenate([pos_embed[:, :prefix], resized.reshape(1, -1, C)], 1)
    return out, (prefix, new, cache)


def resize_positions_backward(dout: Array, cache: tuple) -> Array:
    """dout (1, T', C) -> dpos_embed (1, T, C)."""
    xp = get_xp(dout)
    prefix, new, resized = cache
    C = dout.shape[-1]
    dgrid = interpolate_backward(dout[:, prefix:].reshape(1, *new, C), resized)
    return xp.concatenate([dout[:, :prefix], dgrid.reshape(1, -1, C)], 1)


def _along_both(x: Array, rows: Array, columns: Array) -> Array:
    """rows (H, h) and columns (W, w) applied to x (B, h, w, C) -> (B, H, W, C)."""
    B, h, w, C = x.shape
    tall = (rows @ x.reshape(B, h, w * C)).reshape(B, -1, w, C)
    return columns @ tall


def interpolation_matrix(new: int, old: int, mode: Mode = "bicubic") -> np.ndarray:
    r"""float64 (new, old): row i contains the weights of the old values in the new value i.

    The outer edges of both grids are aligned, so new cell i is centered at
    :math:`(i + \tfrac12)\,\mathrm{old}/\mathrm{new} - \tfrac12`. Beyond the edge, the edge value is
    repeated. Rows sum to 1. Same as PyTorch's `interpolate(align_corners=False)` without
    antialiasing.

    Raises:
        UserError: unknown mode, or a size below 1.
    """
    if mode not in _KERNELS:
        raise UserError(f'mode is "{mode}"; expected one of {", ".join(_KERNELS)}')
    if new < 1 or old < 1:
        raise UserError(f"cannot resize {old} to {new} cells; expected at least 1")
    kernel, radius = _KERNELS[mode]
    center = (np.arange(new) + 0.5) * (old / new) - 0.5
    if mode == "bilinear":
        center = np.maximum(center, 0.0)
    first = np.floor(center).astype(int)
    matrix = np.zeros((new, old))
    for step in range(1 - radius, radius + 1):
        neighbor = first + step
        weight = kernel(np.abs(center - neighbor))
        np.add.at(matrix, (np.arange(new), np.clip(neighbor, 0, old - 1)), weight)
    return matrix


def _triangle(distance: np.ndarray) -> np.ndarray:
    return np.maximum(1.0 - distance, 0.0)


def _cubic(distance: np.ndarray) -> np.ndarray:
    """Keys's cubic convolution (1981): interpolates the old values, with continuous slopes."""
    a, d = CUBIC, distance
    near = ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0
    far = ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a
    return np.where(d <= 1.0, near, np.where(d < 2.0, far, 0.0))


_KERNELS = {"bilinear": (_triangle, 1), "bicubic": (_cubic, 2)}
