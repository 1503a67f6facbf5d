"""Element-wise work in blocks that stay in the CPU's cache.

NumPy runs each operation over the whole array before the next one starts. A formula of ten steps
over a large array therefore walks ten times through memory. Cut into blocks, the steps of one block
find their operands in cache.
"""

from collections.abc import Callable, Iterator

import numpy as np

from minivit.backend.arrays import Array, get_xp

BLOCK = 32 * 1024
"""Elements a block: a few float32 operands of this length fit into 1 MiB of second-level cache."""


def blocks(array: Array) -> Iterator[slice]:
    """Slices that cover the first axis of a flat array; on a GPU a single one."""
    step = BLOCK if get_xp(array) is np else max(len(array), 1)
    return (slice(start, start + step) for start in range(0, len(array), step))


def blockwise(function: Callable[..., tuple[Array, ...]], num_outputs: int, *arrays: Array):
    """`function(*arrays)` block by block; on a GPU, or where one block is enough, in one go.

    Args:
        function: element-wise; takes equally shaped arrays, returns a tuple of `num_outputs` such.
        arrays: equal shapes.

    Returns:
        A tuple of `num_outputs` arrays of the shape and dtype of the first argument.
    """
    first = arrays[0]
    if get_xp(first) is not np or first.size <= BLOCK:
        return function(*arrays)
    flat = [array.reshape(-1) for array in arrays]
    outputs = tuple(np.empty_like(flat[0]) for _ in range(num_outputs))
    for rows in blocks(flat[0]):
        for output, result in zip(outputs, function(*(a[rows] for a in flat)), strict=True):
            output[rows] = result
    return tuple(output.reshape(first.shape) for output in outputs)
