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


def blockwise(function: Callable[..., None], x: Array, num_outputs: int) -> tuple[Array, ...]:
    """Run `function(x, *outputs)` block by block; on a GPU in one go.

    Args:
        function: element-wise; fills `num_outputs` arrays of the shape of its x.
        x: any shape.

    Returns:
        The filled outputs, of the shape and dtype of x.
    """
    flat = x.reshape(-1)
    outputs = tuple(get_xp(x).empty_like(flat) for _ in range(num_outputs))
    for rows in blocks(flat):
        function(flat[rows], *(output[rows] for output in outputs))
    return tuple(output.reshape(x.shape) for output in outputs)
