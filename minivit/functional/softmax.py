"""Softmax over the last axis."""

import numpy as np

from minivit.backend import Array, get_xp, has_twin

SAFE = 40.0
"""exp of a score within ±40, and sums of these, are well within float32's range."""


@has_twin
def softmax_forward(scores: Array) -> tuple[Array, Array]:
    r"""Turn each row of scores into probabilities, which sum to one.

    .. math:: p_j = \frac{e^{s_j - m}}{\sum_k e^{s_k - m}}, \qquad m = \max_k s_k

    Subtracting each row's maximum does not change the result and keeps the exponential from
    overflowing; if all scores are small, it is not needed.

    Args:
        scores: (..., T).

    Returns:
        probs (..., T), cache (probs).
    """
    probs = _exp(scores)
    probs *= 1.0 / row_sums(probs)
    return probs, probs


def _exp(scores: Array) -> Array:
    """exp(scores), or exp(scores - m) if some score is so large that exp might overflow.

    With short rows, m and its subtraction take half of softmax's time on a CPU, and most scores are
    small. (On a GPU the check would cost more than it saves; float64 is for checks and always
    subtracts the maximum.)
    """
    xp = get_xp(scores)
    if xp is np and scores.dtype == np.float32 and scores.size and _largest(scores) <= SAFE:
        return np.exp(scores)
    shifted = scores - scores.max(-1, keepdims=True)
    return xp.exp(shifted, shifted)


def _largest(x: Array) -> float:
    """The largest absolute value, without a temporary array."""
    return max(x.max(), -x.min())


@has_twin
def softmax_backward(dprobs: Array, cache: Array) -> Array:
    r"""dprobs (..., T) -> dscores (..., T).

    Probabilities sum to one: raising one score lowers all the others.

    .. math:: ds = p \odot \bigl(dp - \textstyle\sum_k dp_k\,p_k\bigr)
    """
    probs = cache
    dscores = dprobs * probs
    correction = row_sums(dscores)
    dscores -= probs * correction
    return dscores


def row_sums(x: Array) -> Array:
    """Sum over the last axis: (..., T) -> (..., 1); as a product, see linear.column_sums."""
    xp = get_xp(x)
    T = x.shape[-1]
    return (x.reshape(-1, T) @ xp.ones(T, x.dtype)).reshape(*x.shape[:-1], 1)
