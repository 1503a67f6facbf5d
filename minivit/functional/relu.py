"""ReLU, the rectified linear unit (Nair & Hinton, 2010)."""

from minivit.backend import Array, get_xp


def relu_forward(x: Array) -> tuple[Array, tuple]:
    r"""Negative numbers become zero.

    .. math:: y = \max(0, x)

    Args:
        x: any shape.

    Returns:
        y of x's shape, cache.
    """
    y = get_xp(x).maximum(x, 0.0)
    return y, (y,)


def relu_backward(dy: Array, cache: tuple) -> Array:
    r"""dy -> dx: the gradient passes where y is positive.

    .. math:: dx = dy \odot [y > 0]
    """
    (y,) = cache
    return dy * (y > 0)
