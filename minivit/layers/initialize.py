"""How fresh weights are drawn: as in the paper's own code (flax)."""

import math

import numpy as np


def xavier_uniform(
    rng: np.random.Generator, fan_in: int, fan_out: int, copies: int = 1
) -> np.ndarray:
    """(fan_in, copies·fan_out) uniform in ±√(6 / (fan_in + fan_out)); Glorot & Bengio, 2010.

    copies: independent matrices side by side (q, k and v), each with the limit of its own size.
    """
    limit = math.sqrt(6.0 / (fan_in + fan_out))
    return rng.uniform(-limit, limit, (fan_in, copies * fan_out))


def normal(rng: np.random.Generator, shape: tuple[int, ...], std: float) -> np.ndarray:
    """Normal numbers of mean 0."""
    return std * rng.standard_normal(shape)
