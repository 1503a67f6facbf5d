"""Clipping by the global norm (Pascanu, Mikolov & Bengio, 2013)."""

from minivit.backend import Array, get_xp


def global_norm(grad: Array) -> Array:
    """The Euclidean length of a flat gradient, of the whole model at once (a 0-d array)."""
    return get_xp(grad).sqrt(grad @ grad)


def clip_by_global_norm(grad: Array, max_norm: float) -> Array:
    """Shorten a flat gradient in place to `max_norm` where it is longer; returns its old length.

    All parameters shrink by the same factor, so the direction stays. The length is never read by
    the host, so a GPU need not be waited for.
    """
    norm = global_norm(grad)
    grad *= get_xp(grad).minimum(max_norm / (norm + 1e-12), 1.0)
    return norm
