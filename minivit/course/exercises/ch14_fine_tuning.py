"""Chapter 14: fine-tuning at another size, and for other classes."""

import numpy as np

from minivit.course import right_further
from minivit.course.exercise import Exercise, Mistake, add
from minivit.functional import (
    interpolate_backward,
    interpolate_forward,
    interpolation_matrix,
)

# 14.a: how many more parameters at 48 px than at 32: patch 4, width 96, a class token

add(
    Exercise(
        name="14.a",
        answer=80 * 96,
        mistakes=(
            Mistake("the class token's position was counted again; it stays the same", 81 * 96),
            Mistake("those are all positions of patches at 48 px; 64 of them were there before",
                    144 * 96),
            Mistake("those are all positions at 48 px; 65 of them were there before", 145 * 96),
            Mistake("the grid was counted along one side only: 12 - 8 positions", 4 * 96),
            Mistake("those are the new positions; each has 96 numbers", 80),
            Mistake("the pixels were counted, not the patches", (48 * 48 - 32 * 32) * 96),
        ),
    )
)  # fmt: skip


# 14.b: bilinear(x, new) -> x resampled to another number of cells, in one dimension

LINES = ((4, 7, 3), (5, 9, 2), (7, 4, 5))  # old, new, C


def _draw_line(rng: np.random.Generator, size: int) -> tuple:
    old, new, C = LINES[size]
    return rng.standard_normal((old, C)), new


def _interpolated(centers, *, swap=False, zero=False):
    """Interpolation between the two neighbors of centers(…); zero: zeros beyond the edge."""

    def wrong(x, new):
        old = len(x)
        center = centers(np.arange(new), new, old)
        if not zero:
            center = np.clip(center, 0, old - 1)
        left = np.floor(center).astype(int)
        fraction = (center - left)[:, None].astype(x.dtype)
        if swap:
            fraction = 1 - fraction
        padded = np.concatenate([np.zeros_like(x[:1]), x, np.zeros_like(x[:1])])
        if not zero:
            padded[0], padded[-1] = x[0], x[-1]
        return (1 - fraction) * padded[left + 1] + fraction * padded[left + 2]

    return wrong


def _by_centers(i, new, old):
    return (i + 0.5) * old / new - 0.5


def _nearest(x, new):
    center = _by_centers(np.arange(new), new, len(x))
    return x[np.clip(np.floor(center + 0.5), 0, len(x) - 1).astype(int)]


add(
    Exercise(
        name="14.b",
        answer=right_further.linear,
        outputs=("y",),
        inputs=_draw_line,
        mistakes=(
            Mistake("the cells' left edges were aligned instead of their centers: the half cells, "
                    "+ ½ and - ½, are missing", _interpolated(lambda i, new, old: i * old / new)),
            Mistake("the centers of the first and last cells were aligned; align the outer edges, "
                    "with the centers half a cell inside",
                    _interpolated(lambda i, new, old: i * (old - 1) / (new - 1))),
            Mistake("½ was not subtracted at the end: (i + ½)·old/new is measured from the edge, "
                    "and the old centers are half a cell inside",
                    _interpolated(lambda i, new, old: (i + 0.5) * old / new)),
            Mistake("the two weights are swapped: the nearer neighbor counts more",
                    _interpolated(_by_centers, swap=True)),
            Mistake("zeros were mixed in beyond the edge; repeat the edge value there",
                    _interpolated(_by_centers, zero=True)),
            Mistake("the nearest old cell was used; interpolate between two neighbors", _nearest),
        ),
    )
)  # fmt: skip


# 14.c: resize_positions(pos_embed, old, rows, columns) -> positions of the new grid

GRIDS = (((2, 3), (4, 5), 4), ((3, 4), (5, 3), 5), ((4, 2), (3, 6), 3))  # old, new, C


def _draw_positions(rng: np.random.Generator, size: int) -> tuple:
    old, new, C = GRIDS[size]
    pos_embed = rng.standard_normal((1, 1 + old[0] * old[1], C))
    rows, columns = (interpolation_matrix(n, o) for n, o in zip(new, old, strict=True))
    return pos_embed, old, rows, columns


def _resized(pos_embed, old, rows, columns, *, order="ij", last=False, token=1.0):
    """The right answer, except for the order of the patches and the class token's place and
    factor.
    """
    C = pos_embed.shape[-1]
    first, patches = pos_embed[:, :1], pos_embed[:, 1:]
    if order == "ij":
        grid = patches.reshape(1, *old, C)
    else:
        grid = patches.reshape(1, *old[::-1], C).swapaxes(1, 2)
    size = len(rows), len(columns)
    new = interpolate_forward(grid, size)[0].reshape(1, -1, C)
    parts = [(first * token).astype(new.dtype), new]
    return np.concatenate(parts[::-1] if last else parts, 1)


def _channels_first(pos_embed, old, rows, columns):
    C = pos_embed.shape[-1]
    grid = pos_embed[0, 1:].reshape(C, *old)
    new = (rows @ grid @ columns.T).reshape(1, -1, C)
    return np.concatenate([pos_embed[:, :1], new], 1)


def _columns_last_out(pos_embed, old, rows, columns):
    C = pos_embed.shape[-1]
    grid = _resized(pos_embed, old, rows, columns)[:, 1:].reshape(1, len(rows), len(columns), C)
    return np.concatenate([pos_embed[:, :1], grid.swapaxes(1, 2).reshape(1, -1, C)], 1)


add(
    Exercise(
        name="14.c",
        answer=right_further.positions,
        outputs=("the result",),
        inputs=_draw_positions,
        mistakes=(
            Mistake("the class token comes last; it belongs first, before the patches",
                    lambda *a: _resized(*a, last=True)),
            Mistake("the class token's position was set to zero; it is not on the grid and stays "
                    "unchanged", lambda *a: _resized(*a, token=0.0)),
            Mistake("the patches were laid out column by column; reading order is row by row",
                    lambda *a: _resized(*a, order="ji")),
            Mistake("the new grid was read column by column; reading order is row by row",
                    _columns_last_out),
            Mistake("the patches were reshaped to (C, h, w): their numbers are laid out as (h, w, "
                    "C), and reshape does not move them", _channels_first),
        ),
    )
)  # fmt: skip


# 14.d: interpolate_backward(dy, rows, columns) -> dx


def _draw_dgrid(rng: np.random.Generator, size: int) -> tuple:
    old, new, C = GRIDS[size]
    rows, columns = (interpolation_matrix(n, o) for n, o in zip(new, old, strict=True))
    return rng.standard_normal((*new, C)), rows, columns


def _back(change=lambda matrix: matrix.T):
    """Backward with change(matrix) instead of the transposed matrices."""

    def backward(dy, rows, columns):
        matrices = [change(matrix).T.astype(dy.dtype) for matrix in (rows, columns)]
        return interpolate_backward(dy[None], tuple(matrices))[0]

    return backward


def _averaging(matrix):
    return matrix.T / matrix.T.sum(1, keepdims=True)


def _heaviest(matrix):
    return np.eye(matrix.shape[1])[:, matrix.argmax(1)]


def _grid_loss(dy, rows, columns):
    x = np.zeros((rows.shape[1], columns.shape[1], dy.shape[-1]))
    size = dy.shape[:2]
    return lambda: float((dy * interpolate_forward(x[None], size)[0]).sum()), {"dx": x}


add(
    Exercise(
        name="14.d",
        answer=right_further.interpolate_backward,
        outputs=("dx",),
        inputs=_draw_dgrid,
        forward=_grid_loss,
        mistakes=(
            Mistake("the inverse was used: backward does not undo forward; it needs how much each "
                    "old value affects each new one, which is the transposed matrix",
                    _back(np.linalg.pinv)),
            Mistake("each old cell got the average of its gradients; it affects several new cells "
                    "and gets the sum",
                    _back(_averaging)),
            Mistake("each gradient went only to the old cell with the largest weight; all "
                    "contributing cells get their part", _back(_heaviest)),
            Mistake("the weights were used without their sign: bicubic weights may be negative",
                    _back(lambda matrix: np.abs(matrix).T)),
        ),
    )
)  # fmt: skip


# 14.e: ridge(x, y, lam) -> weight

SAMPLES = ((8, 3, 2), (6, 5, 3), (9, 4, 5))  # N, C, K


def _draw_ridge(rng: np.random.Generator, size: int) -> tuple:
    N, C, K = SAMPLES[size]
    return rng.standard_normal((N, C)), rng.standard_normal((N, K)), 0.7 + 0.4 * size


def _ridge(x, y, lam, power=1):
    """(XᵀX + λ·I) W = XᵀY, λ to a power"""
    return np.linalg.solve(x.T @ x + lam**power * np.eye(x.shape[1], dtype=x.dtype), x.T @ y)


def _centered(x, y, lam):
    return _ridge(x - x.mean(0), y - y.mean(0), lam)


add(
    Exercise(
        name="14.e",
        warm_up=True,
        answer=right_further.ridge,
        outputs=("weight",),
        inputs=_draw_ridge,
        mistakes=(
            Mistake("λ is missing: that is plain least squares", lambda x, y, r: _ridge(x, y, 0.0)),
            Mistake("λ was added to every number of XᵀX; it belongs on the diagonal, λI",
                    lambda x, y, r: np.linalg.solve(x.T @ x + r, x.T @ y)),
            Mistake("λ was subtracted; it is added", lambda x, y, r: _ridge(x, y, -r)),
            Mistake("λ was squared", lambda x, y, r: _ridge(x, y, r, 2)),
            Mistake("the squared errors were averaged over the images before λ was added; use "
                    "their sum",
                    lambda x, y, r: _ridge(x, y, r * len(x))),
            Mistake("the inverse of XᵀX + λI was not applied: XᵀY alone is not the solution",
                    lambda x, y, r: x.T @ y),
            Mistake("the means were subtracted first; use X and Y as they are",
                    _centered),
        ),
    )
)  # fmt: skip
