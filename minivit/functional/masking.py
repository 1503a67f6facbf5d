"""Hiding patches from the model, and predicting only those (paper, section B.1.2)."""

from typing import NamedTuple

import numpy as np

from minivit.backend import Array, get_xp


class CorruptCache(NamedTuple):
    """selection (B, N, N): where each token came from. masked (B, N): 1 for a mask token."""

    selection: Array
    masked: Array


def corrupt_forward(
    x: Array, mask_token: Array, selection: Array, masked: Array
) -> tuple[Array, CorruptCache]:
    r"""Each token stays, or is replaced by another token of its image or by the learned mask token.

    .. math:: y_i = \sum_j S_{ij}\,x_j + m_i\,e_{\mathrm{mask}}

    Row i of S has a single 1, at the token that is used for token i, or none if that is the mask
    token. So selection is a matrix product, and backward is a product with the transposed S.

    Args:
        x: (B, N, C). mask_token: (1, 1, C). selection: (B, N, N). masked: (B, N), 0 or 1; both of
            x's dtype, from `corruption`.

    Returns:
        y (B, N, C), cache.
    """
    y = get_xp(x).matmul(selection, x)
    y += masked[..., None] * mask_token
    return y, CorruptCache(selection, masked)


def corrupt_backward(dy: Array, cache: CorruptCache) -> tuple[Array, Array]:
    r"""dy (B, N, C) -> dx (B, N, C), dmask_token (1, 1, C).

    .. math:: dx = S^\top dy, \qquad de_{\mathrm{mask}} = \sum_{b,i} m_{bi}\,dy_{bi}
    """
    selection, masked = cache
    dx = get_xp(dy).matmul(selection.swapaxes(-1, -2), dy)
    rows = dy.reshape(-1, dy.shape[-1])
    return dx, (masked.reshape(-1) @ rows)[None, None]


def take_tokens_forward(x: Array, rows: Array) -> tuple[Array, tuple]:
    """Select some tokens of each image: x (B, T, C), rows (B, M) integers, distinct per image ->
    (B, M, C), cache."""
    return x[get_xp(x).arange(len(x))[:, None], rows], (x.shape, rows)


def take_tokens_backward(dy: Array, cache: tuple) -> Array:
    """dy (B, M, C) -> dx (B, T, C): each gradient returns to its token; zero for those not
    selected.
    """
    shape, rows = cache
    xp = get_xp(dy)
    dx = xp.zeros(shape, dy.dtype)
    dx[xp.arange(len(dx))[:, None], rows] = dy
    return dx


class Corruption(NamedTuple):
    """chosen: int64 (B, M), the corrupted patches of each image, in ascending order.
    selection: float32 (B, N, N). masked: float32 (B, N); see `corrupt_forward`.
    """

    chosen: np.ndarray
    selection: np.ndarray
    masked: np.ndarray


# the rest of the corrupted patches stay unchanged
CORRUPTED_FRACTION, MASKED_FRACTION, SWAPPED_FRACTION = 0.5, 0.8, 0.1


def corruption(uniform: np.ndarray) -> Corruption:
    """Choose which patches to corrupt, and how: half of them; of those 80 % become the mask, 10 %
    another patch of the image, and 10 % stay unchanged (paper, B.1.2).

    Args:
        uniform: (B, 3, N) random numbers in [0, 1) that decide which patches are chosen, what
        happens to them, and which patches replace them.
    """
    B, _, N = uniform.shape
    order, action, shift = uniform.transpose(1, 0, 2)
    M = max(1, round(CORRUPTED_FRACTION * N))
    chosen = np.sort(np.argsort(order, axis=1, kind="stable")[:, :M], axis=1)
    corrupted = np.zeros((B, N), bool)
    np.put_along_axis(corrupted, chosen, True, axis=1)
    masked = corrupted & (action < MASKED_FRACTION)
    swapped = corrupted & ~masked & (action < MASKED_FRACTION + SWAPPED_FRACTION)
    step = 1 + (shift * (N - 1)).astype(int)  # 1 to N - 1 places further on: never itself
    source = np.where(swapped, (np.arange(N) + step) % N, np.arange(N))
    selection = np.eye(N, dtype=np.float32)[source]
    selection[masked] = 0.0
    return Corruption(chosen, selection, masked.astype(np.float32))
