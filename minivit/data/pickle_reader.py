"""Reads CIFAR's pickles without executing them.

A pickle is a program: `pickle.load` calls whatever the file names, so a file from a stranger can do
anything. But the CIFAR files, written by Python 2 with protocol 2, use about thirty of its
instructions and name three functions, all to describe arrays of bytes. The small stack machine of
`pickle_machine` supports those instructions and those three names, calls nothing, and refuses the
rest with a message that names it. A short program can also request endless work, so everything is
limited.
"""

from typing import Any

from minivit.data.pickle_machine import Bounds, DamagedError, Machine, RefusedError
from minivit.errors import UserError


def read_pickle(raw: bytes, name: str, bounds: Bounds | None = None) -> Any:
    """The value in `raw`, composed of dict, list, tuple, str, int, bool, None and uint8 arrays.

    Python 2's str is bytes; it becomes a str with one character per byte (latin-1). Arrays are
    views of a read-only buffer. `name` is the file's name in messages. Takes up to three times the
    memory of `raw`.

    Raises UserError for an instruction or a name that CIFAR files do not need, for a value beyond
    `bounds`, and for a truncated file or one that is not a pickle.
    """
    bounds = bounds or Bounds()
    try:
        value = Machine(raw, bounds).run()
        _check_bounds(value, bounds)
    except RefusedError as error:
        raise UserError(
            f"{name}: a pickle that is not CIFAR's and so is not read: {error}; download it again"
        ) from None
    except DamagedError as error:
        raise UserError(
            f"{name}: not a pickle, or a damaged one: {error}; download it again"
        ) from None
    return value


def _check_bounds(value: Any, bounds: Bounds) -> None:
    """Counts the items of `value`, once per reference: with sharing, 100 bytes can refer to 2**40
    items.
    """
    level, items = [value], 0
    for _ in range(bounds.depth + 1):
        containers = [v for v in level if type(v) in (tuple, list, dict)]
        items += sum(map(len, containers))
        if items > bounds.items:
            raise RefusedError(f"it contains more than {bounds.items:,} items")
        level = []
        for container in containers:
            level.extend(container.values() if type(container) is dict else container)
        if not level:
            return
    raise RefusedError(f"it nests more than {bounds.depth} deep")
