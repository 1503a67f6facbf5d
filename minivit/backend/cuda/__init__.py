"""Kernels for an NVIDIA GPU, one idea per file; tested against `functional/`."""

import re
from functools import cache
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
KERNEL = re.compile(
    r'extern "C" __global__ void\s+(?:__launch_bounds__\([^)]*\)\s+)?(\w+)\s*\(([^)]*)\)'
)


@cache
def source(file: str) -> str:
    """The source of a kernel file, preceded by the headers that all kernels share."""
    parts = ("common.cuh", "mma.cuh", "philox.cuh", file)
    return "\n".join(
        f'#line 1 "{name}"\n{(HERE / name).read_text(encoding="utf-8")}' for name in parts
    )


@cache
def kernels(file: str) -> dict[str, list[str]]:
    """The kernels of a file by name, and the C type of each parameter ("float", "const int*")."""
    return {
        name: [_type_of(parameter) for parameter in parameters.split(",")]
        for name, parameters in KERNEL.findall((HERE / file).read_text(encoding="utf-8"))
    }


def _type_of(parameter: str) -> str:
    words = parameter.replace("__restrict__", "").split()
    return " ".join(words[:-1])


def to_bf16(x: np.ndarray) -> np.ndarray:
    """float32 -> bfloat16's bits in uint16 (NumPy has no bfloat16): the upper half, rounded to
    nearest, ties to even.
    """
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def from_bf16(bits: np.ndarray) -> np.ndarray:
    """bfloat16's bits in uint16 -> float32."""
    return (bits.astype(np.uint32) << 16).view(np.float32)
