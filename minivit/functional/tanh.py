"""The hyperbolic tangent: the paper's nonlinearity before the head in pre-training."""

from minivit.backend import Array, get_xp


def tanh_forward(x: Array) -> tuple[Array, Array]:
    """y = tanh(x), any shape. Returns y, cache (y itself: its derivative is 1 - y²)."""
    y = get_xp(x).tanh(x)
    return y, y


def tanh_backward(dy: Array, cache: Array) -> Array:
    r"""dy -> dx of the same shape: :math:`dx = dy\,(1 - y^2)`."""
    return dy * (1.0 - cache * cache)
