"""Initialization of weights, as in the paper's own code (flax)."""

import math

import numpy as np

from minivit.backend.random import Purpose, generator


class ZeroGenerator(np.random.Generator):
    """A generator of zeros only, for weights that will be loaded from a file. Its arrays are a
    single zero, broadcast to their shape, so they take no memory.
    """

    def __init__(self) -> None:
        super().__init__(np.random.PCG64(0))

    def uniform(self, low=0.0, high=1.0, size=None):  # type: ignore[no-untyped-def]
        return np.broadcast_to(0.0, size)

    def standard_normal(self, size=None, dtype=np.float64, out=None):  # type: ignore[no-untyped-def]
        return np.broadcast_to(0.0, size)


def weights_from(seed: int | None) -> np.random.Generator:
    """The generator for initial weights; None: zeros, for weights loaded from a file."""
    return ZeroGenerator() if seed is None else generator(seed, Purpose.INIT)


def xavier_uniform(
    rng: np.random.Generator, fan_in: int, fan_out: int, copies: int = 1
) -> np.ndarray:
    """(fan_in, copies·fan_out) uniform in ±√(6 / (fan_in + fan_out)); Glorot & Bengio, 2010.

    copies: independent matrices side by side (q, k and v), each with the limit of its own size.
    """
    limit = math.sqrt(6.0 / (fan_in + fan_out))
    return rng.uniform(-limit, limit, (fan_in, copies * fan_out))


def normal(rng: np.random.Generator, shape: tuple[int, ...], std: float) -> np.ndarray:
    """Normal numbers with mean 0."""
    return std * rng.standard_normal(shape)
