"""Element-wise work in blocks that stay in the CPU's cache.

NumPy runs each operation over the whole array before the next one starts. A formula of ten steps
over a large array therefore reads the memory ten times. In blocks, all steps of a block find their
operands in the cache.
"""

from collections.abc import Callable, Iterator

import numpy as np

from minivit.backend.arrays import Array, get_xp

BLOCK = 64 * 1024
"""Elements per block: a few float32 operands of this length fit in 1 MiB of L2 cache, and an
operation on one block takes several times as long as Python's overhead per call.
"""


def blocks(array: Array, part: slice | None = None) -> Iterator[slice]:
    """Slices that cover a flat array, or `part` of it (start:stop); on a GPU a single slice."""
    first, last = (0, len(array)) if part is None else (part.start, part.stop)
    step = BLOCK if get_xp(array) is np else max(last - first, 1)
    return pieces(last, step, first)


def pieces(stop: int, size: int, start: int = 0) -> Iterator[slice]:
    """Slices of at most `size` that cover range(start, stop)."""
    return (slice(first, min(first + size, stop)) for first in range(start, stop, size))


def blockwise(function: Callable[..., None], num_outputs: int, *inputs: Array) -> tuple[Array, ...]:
    """Run `function(*inputs, *outputs)` block by block; on a GPU, all at once.

    Args:
        function: element-wise; writes to its last `num_outputs` arguments.
        inputs: arrays of the same shape and dtype.

    Returns:
        The filled outputs, of that shape and dtype.
    """
    flat = [array.reshape(-1) for array in inputs]
    outputs = [get_xp(flat[0]).empty_like(flat[0]) for _ in range(num_outputs)]
    for rows in blocks(flat[0]):
        function(*(array[rows] for array in flat), *(output[rows] for output in outputs))
    return tuple(output.reshape(inputs[0].shape) for output in outputs)
