"""Kernels for an NVIDIA GPU, one idea a file; `functional/` is what they are held against."""

from functools import cache
from pathlib import Path

HERE = Path(__file__).parent


@cache
def source(file: str) -> str:
    """The text of a kernel file, with what kernels share before it."""
    parts = ("common.cuh", "mma.cuh", "philox.cuh", file)
    return "\n".join(f'#line 1 "{name}"\n{(HERE / name).read_text()}' for name in parts)
