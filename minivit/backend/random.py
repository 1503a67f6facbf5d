"""Random numbers that do not depend on who draws them.

Dropout's masks must be the same whether a batch is computed at once or in pieces, by one thread or
two, on a CPU or a GPU, before or after a restart. So they come from a counter-based generator
(Philox; Salmon et al., 2011): a number is a function of its position, not of what was drawn before
it.
"""

import math
from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """One stream per purpose, so that a change in one never shifts the numbers of another."""

    INIT = 0
    ORDER = 1
    AUGMENT = 2
    DROPOUT = 3
    SPLIT = 4
    SAMPLE = 5


def generator(seed: int, purpose: Purpose, *index: int) -> np.random.Generator:
    """A new host generator for one purpose at one point (an epoch, a step): there is no state to
    save.
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(int(purpose), *index)))


class RandomStream:
    """The random numbers of one training step, drawn row by row of the batch.

    seed, step: the numbers are a function of these. first: index, in the whole batch, of the first
    row that this stream draws for: a worker that computes rows 64 and up passes `first=64` and
    gets the numbers that a single worker would have drawn for these rows.
    """

    def __init__(self, seed: int, step: int = 0, first: int = 0):
        self.key = np.random.SeedSequence(seed, spawn_key=(int(Purpose.DROPOUT),)).generate_state(
            2, np.uint64
        )
        self.step, self.first = step, first
        self.draws = 0  # how many layers have drawn: each gets its own numbers

    def uniform(self, shape: tuple[int, ...]) -> np.ndarray:
        """float32 (B, …) in [0, 1): row i depends only on seed, step, draw and `first + i`."""
        row = math.prod(shape[1:])
        blocks = -(-row // 8)  # one Philox counter gives 256 bits: eight float32 numbers
        counter = np.array([self.first * blocks, self.draws, self.step, 0], np.uint64)
        self.draws += 1
        bits = np.random.Philox(key=self.key, counter=counter)
        numbers = np.random.Generator(bits).random((shape[0], blocks * 8), np.float32)
        return numbers[:, :row].reshape(shape)
