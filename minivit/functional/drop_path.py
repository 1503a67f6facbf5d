"""Stochastic depth (Huang et al., 2016): skip a whole residual branch for some of the images."""

from minivit.backend import Array


def drop_path_forward(branch: Array, mask: Array) -> tuple[Array, Array]:
    """The branch of each image is dropped or scaled up as a whole.

    Args:
        branch: (B, T, C), what a residual branch would add.
        mask: (B,), from `dropout.dropout_mask`: one number per image.

    Returns:
        (B, T, C), cache.
    """
    return branch * mask.reshape(-1, 1, 1), mask


def drop_path_backward(dout: Array, cache: Array) -> Array:
    """dout (B, T, C) -> dbranch (B, T, C)."""
    return dout * cache.reshape(-1, 1, 1)
