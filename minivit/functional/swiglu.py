"""Gated linear units with SiLU (Shazeer, 2020, "GLU variants improve Transformer")."""

from typing import NamedTuple

from minivit.backend import Array, get_xp


class SwigluCache(NamedTuple):
    """x (..., 2F), the input. sigmoid (..., F), of its first half."""

    x: Array
    sigmoid: Array


def swiglu_forward(x: Array) -> tuple[Array, SwigluCache]:
    r"""One half of the numbers gates the other.

    .. math:: [a, b] = x, \qquad y = \mathrm{silu}(a) \odot b, \qquad
              \mathrm{silu}(a) = a\,\sigma(a)

    Args:
        x: (..., 2F): a, then b.

    Returns:
        y (..., F), cache.
    """
    F = x.shape[-1] // 2
    a, b = x[..., :F], x[..., F:]
    sigmoid = logistic(a)
    return a * sigmoid * b, SwigluCache(x, sigmoid)


def swiglu_backward(dy: Array, cache: SwigluCache) -> Array:
    r"""dy (..., F) -> dx (..., 2F).

    .. math:: da = dy \odot b \odot \sigma\,(1 + a\,(1 - \sigma)), \qquad
              db = dy \odot \mathrm{silu}(a)
    """
    x, sigmoid = cache
    F = dy.shape[-1]
    a, b = x[..., :F], x[..., F:]
    dx = get_xp(x).empty_like(x)
    dx[..., :F] = dy * b * sigmoid * (1.0 + a * (1.0 - sigmoid))
    dx[..., F:] = dy * a * sigmoid
    return dx


def logistic(x: Array) -> Array:
    r"""σ(x) = 1 / (1 + exp(-x)), written with tanh, which does not overflow."""
    return 0.5 * (1.0 + get_xp(x).tanh(0.5 * x))
