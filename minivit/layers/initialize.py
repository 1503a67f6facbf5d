"""Initialization of weights: as in the paper's own code (flax), or mimetic."""

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


def mimetic_attention(
    rng: np.random.Generator, dim: int, num_heads: int
) -> tuple[np.ndarray, np.ndarray]:
    r"""Weights of an attention layer that resemble those of large trained models.

    .. math:: W_q^{(h)} W_k^{(h)\top} \approx 0.7 Z_h + 0.7 I, \qquad W_v W_o \approx 0.4 Z - 0.4 I

    Each Z has normal entries with variance 1 / C. A query thus resembles its token's own key, so
    each token attends to tokens with similar content and position, and what it finds there is
    subtracted. Mimetic initialization (Trockman & Kolter, 2023).

    Returns:
        float64 (C, 3C), columns q, k, v; (C, C), the output projection.
    """
    D = dim // num_heads
    pairs = [low_rank_factors(_near_identity(rng, dim, 0.7, 0.7), D) for _ in range(num_heads)]
    queries, keys = zip(*pairs, strict=True)
    values, out = low_rank_factors(_near_identity(rng, dim, 0.4, -0.4), dim)
    return np.concatenate([*queries, *(key.T for key in keys), values], 1), out


def _near_identity(rng: np.random.Generator, dim: int, noise: float, identity: float) -> np.ndarray:
    return normal(rng, (dim, dim), noise / math.sqrt(dim)) + identity * np.eye(dim)


def low_rank_factors(matrix: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, rank) and (rank, n), whose product is the best approximation of that rank (Eckart &
    Young, 1936); both have the same singular values.
    """
    left, values, right = np.linalg.svd(matrix)
    root = np.sqrt(values[:rank])
    return left[:, :rank] * root, root[:, None] * right[:rank]
