"""NumPy or CuPy, chosen by the array type; tunes the host before NumPy is loaded."""

# ruff: noqa: E402  (the tuning has an effect only before NumPy is first imported)
from minivit.backend import host

host.tune()

from minivit.backend.arrays import (
    Array,
    astype_like,
    get_xp,
    parse_device,
    require_same_xp,
    to_device,
    to_host,
    use_device,
    use_tf32,
)
from minivit.backend.blocks import blocks, blockwise, pieces
from minivit.backend.random import RandomStream
from minivit.backend.twins import has_twin, use_twins

__all__ = [
    "Array",
    "RandomStream",
    "astype_like",
    "blocks",
    "blockwise",
    "get_xp",
    "has_twin",
    "parse_device",
    "pieces",
    "require_same_xp",
    "to_device",
    "to_host",
    "use_device",
    "use_tf32",
    "use_twins",
]
