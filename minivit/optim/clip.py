"""Clipping by the global norm (Pascanu, Mikolov & Bengio, 2013)."""

from minivit.backend import Array, get_xp


def global_norm(grad: Array) -> Array:
    """The Euclidean norm of a flat gradient, over the whole model (a 0-d array)."""
    return get_xp(grad).sqrt(grad @ grad)


def clip_by_global_norm(grad: Array, max_norm: float) -> Array:
    """Scale a flat gradient down in place to `max_norm` if it is longer; returns its original norm.

    All parameters are scaled by the same factor, so the direction is preserved. The host never
    reads the norm, so it does not wait for a GPU.
    """
    norm = global_norm(grad)
    grad *= get_xp(grad).minimum(max_norm / (norm + 1e-12), 1.0)
    return norm
