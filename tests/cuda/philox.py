"""The random numbers of philox.cuh in NumPy: Philox4x32-10 of Salmon et al. (2011)."""

import numpy as np


def words(seed: int, step: int, layer: int, index: np.ndarray) -> np.ndarray:
    """uint32 (..., 4) for places (...)."""
    index, mask = np.asarray(index, np.uint64), np.uint64(0xFFFFFFFF)
    low, high = index & mask, index >> np.uint64(32)
    counter = [low, high, np.full_like(index, step), np.full_like(index, layer)]
    keys = [np.uint64(seed) & mask, np.uint64(seed) >> np.uint64(32)]
    for _ in range(10):
        first, second = (np.uint64(m) * counter[i] for m, i in ((0xD2511F53, 0), (0xCD9E8D57, 2)))
        thirty_two = np.uint64(32)
        counter = [
            (second >> thirty_two) ^ counter[1] ^ keys[0],
            second & mask,
            (first >> thirty_two) ^ counter[3] ^ keys[1],
            first & mask,
        ]
        keys = [(keys[0] + np.uint64(0x9E3779B9)) & mask, (keys[1] + np.uint64(0xBB67AE85)) & mask]
    return np.stack(counter, -1).astype(np.uint32)


def uniform(seed: int, step: int, site: int, shape: tuple[int, ...]) -> np.ndarray:
    """The numbers that `dropout_factor` compares with the rate, for all elements of an array."""
    index = np.arange(np.prod(shape))
    found = words(seed, step, site, index // 4)[index, index % 4]
    return ((found >> 8) / 2.0**24).astype(np.float32).reshape(shape)
