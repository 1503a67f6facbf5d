"""Relative positions: where a key's token is relative to the query's (paper, section D.4)."""

import numpy as np

from minivit.backend import Array, get_xp


def relative_forward(q: Array, table: Array, offsets: Array) -> tuple[Array, tuple]:
    r"""A second set of scores, in which the keys are learned offsets between patches.

    .. math:: b_{ij} = \frac{q_i \cdot r_{p_i - p_j}}{\sqrt D}

    to be added to attention's own scores before the softmax. The class token has no position: its
    scores, as query or key, stay unchanged.

    Args:
        q: (B, H, T, D). table: (R, D), one embedding per offset, shared by the heads.
        offsets: (N, N) integers, `relative_offsets`; the last N of the T tokens are the patches.

    Returns:
        bias (B, H, T, T), cache.
    """
    xp = get_xp(q)
    B, H, T, D = q.shape
    N = len(offsets)
    scaled = table * (1.0 / D**0.5)
    by_offset = q[:, :, T - N :] @ scaled.T  # (B, H, N, R)
    bias = xp.zeros((B, H, T, T), q.dtype)
    bias[:, :, T - N :, T - N :] = by_offset[:, :, xp.arange(N)[:, None], offsets]
    return bias, (q, scaled, offsets)


def relative_backward(dbias: Array, cache: tuple) -> tuple[Array, Array]:
    r"""dbias (B, H, T, T) -> dq (B, H, T, D), dtable (R, D).

    .. math:: dq_i = \frac{1}{\sqrt D} \sum_j db_{ij}\,r_{p_i - p_j}, \qquad
              dr_o = \frac{1}{\sqrt D} \sum_{p_i - p_j = o} db_{ij}\,q_i
    """
    q, scaled, offsets = cache
    xp = get_xp(dbias)
    B, H, T, D = q.shape
    N, R = len(offsets), len(scaled)
    dby_offset = xp.zeros((B, H, N, R), dbias.dtype)
    # relative to one patch, no two others have the same offset: nothing is overwritten
    dby_offset[:, :, xp.arange(N)[:, None], offsets] = dbias[:, :, T - N :, T - N :]
    dq = xp.zeros_like(q)
    dq[:, :, T - N :] = dby_offset @ scaled
    rows = q[:, :, T - N :].reshape(-1, D)
    dtable = dby_offset.reshape(-1, R).T @ rows
    dtable *= 1.0 / D**0.5
    return dq, dtable


def relative_bias_forward(table: Array, offsets: Array, num_tokens: int) -> tuple[Array, tuple]:
    r"""Scores that depend only on the offset between two patches, one number per head (Liu et al.,
    2021).

    .. math:: b_{hij} = t_{p_i - p_j,\,h}

    Args:
        table: (R, H). offsets: (N, N) integers, `relative_offsets`; the last N of the num_tokens
            tokens are the patches, and the scores of the others stay unchanged.

    Returns:
        bias (1, H, T, T), cache.
    """
    xp = get_xp(table)
    N = len(offsets)
    bias = xp.zeros((1, table.shape[1], num_tokens, num_tokens), table.dtype)
    bias[0, :, num_tokens - N :, num_tokens - N :] = table[offsets].transpose(2, 0, 1)
    return bias, (table.shape, offsets)


def relative_bias_backward(dbias: Array, cache: tuple) -> Array:
    r"""dbias (B, H, T, T) -> dtable (R, H).

    .. math:: dt_{oh} = \sum_{p_i - p_j = o} \sum_b db_{bhij}
    """
    (R, H), offsets = cache
    xp = get_xp(dbias)
    N, T = len(offsets), dbias.shape[-1]
    per_pair = dbias[:, :, T - N :, T - N :].sum(0).reshape(H, N * N)
    dtable = xp.zeros((R, H), dbias.dtype)
    flat_offsets = xp.asarray(offsets).reshape(-1)
    for head in range(H):
        dtable[:, head] = xp.bincount(flat_offsets, per_pair[head], R)
    return dtable


def relative_offsets(height: int, width: int) -> np.ndarray:
    """Which of the (2·height - 1)·(2·width - 1) offsets two patches have: int64 (N, N), one row per
    query.
    """
    rows, columns = np.divmod(np.arange(height * width), width)
    down = rows[:, None] - rows + height - 1
    right = columns[:, None] - columns + width - 1
    return down * (2 * width - 1) + right
