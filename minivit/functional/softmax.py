"""Softmax over the last axis."""

from minivit.backend import Array, get_xp


def softmax_forward(scores: Array) -> tuple[Array, Array]:
    r"""Turn each row of scores into shares that add up to one.

    .. math:: p_j = \frac{e^{s_j - m}}{\sum_k e^{s_k - m}}, \qquad m = \max_k s_k

    Taking the row's own maximum away changes nothing and keeps the exponential from overflowing.

    Args:
        scores: (..., T).

    Returns:
        probs (..., T), cache (probs).
    """
    xp = get_xp(scores)
    probs = scores - scores.max(-1, keepdims=True)
    xp.exp(probs, probs)
    probs *= 1.0 / row_sums(probs)
    return probs, probs


def softmax_backward(dprobs: Array, cache: Array) -> Array:
    r"""dprobs (..., T) -> dscores (..., T).

    The shares add up to one: raising one score takes from all the others.

    .. math:: ds = p \odot \bigl(dp - \textstyle\sum_k dp_k\,p_k\bigr)
    """
    probs = cache
    dscores = dprobs * probs
    correction = row_sums(dscores)
    dscores -= probs * correction
    return dscores


def row_sums(x: Array) -> Array:
    """Sum over the last axis, kept: (..., T) -> (..., 1); as a product, see linear.column_sums."""
    xp = get_xp(x)
    T = x.shape[-1]
    return (x.reshape(-1, T) @ xp.ones(T, x.dtype)).reshape(*x.shape[:-1], 1)
