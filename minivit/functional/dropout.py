"""Dropout (Srivastava et al., 2014), in its inverted form: nothing to rescale at test time."""

from minivit.backend import Array, get_xp


def dropout_mask(uniform: Array, rate: float) -> Array:
    r"""The mask that dropout multiplies by: 0 with probability `rate`, else 1/(1 - rate).

    Kept numbers are scaled up so that the expected sum is the same as without dropout.

    Args:
        uniform: random numbers in [0, 1), of the shape and dtype of the mask.
        rate: 0 ≤ rate < 1.
    """
    keep = 1.0 - rate
    return (uniform < keep).astype(uniform.dtype) / get_xp(uniform).asarray(keep, uniform.dtype)


def dropout_forward(x: Array, mask: Array) -> tuple[Array, Array]:
    """y = x · mask. x: any shape, mask: from `dropout_mask`, same shape. Returns y, cache."""
    return x * mask, mask


def dropout_backward(dy: Array, cache: Array) -> Array:
    """dy -> dx: zero for dropped numbers; for kept ones, scaled up as in forward."""
    return dy * cache
