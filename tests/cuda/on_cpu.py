"""Compiles a kernel of `backend/cuda` for the CPU with g++, and calls it with NumPy arrays."""

import ctypes
import hashlib
import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from minivit.backend.cuda import KERNEL, from_bf16, kernels, source, to_bf16

HERE = Path(__file__).parent
__all__ = ["build", "call", "from_bf16", "to_bf16"]
TYPES = {
    "int": ctypes.c_int,
    "unsigned": ctypes.c_uint,
    "float": ctypes.c_float,
    "long long": ctypes.c_longlong,
    "unsigned long long": ctypes.c_ulonglong,
}


@cache
def build(file: str, **defines) -> ctypes.CDLL:
    """The kernels of one .cu file as functions run_NAME."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++ on this machine")
    text = source(file)
    wrappers = "\n".join(_wrapper(*found) for found in KERNEL.findall(text))
    code = f'#include "cuda_on_cpu.h"\n{text}\n{wrappers}\n'
    flags = [f"-D{name}={value}" for name, value in defines.items()]
    header = (HERE / "cuda_on_cpu.h").read_text(encoding="utf-8")
    key = hashlib.sha256((header + code + str(flags)).encode()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / "minivit-kernels"
    folder.mkdir(exist_ok=True)
    library, unit = folder / f"{key}.so", folder / f"{key}.cpp"
    if not library.exists():
        unit.write_text(code, encoding="utf-8")
        command = [compiler, "-std=c++17", "-O1", "-ffp-contract=off", "-fPIC", "-shared"]
        # a misaligned 16-byte load crashes a kernel on a GPU; here too
        command += ["-fsanitize=alignment", "-fsanitize-undefined-trap-on-error"]
        command += ["-Wall", "-Werror", "-Wno-unknown-pragmas", "-Wno-unused-function"]
        command += [f"-I{HERE}", *flags, str(unit), "-o", f"{library}.new"]
        subprocess.run(command, check=True)
        Path(f"{library}.new").rename(library)
    return ctypes.CDLL(str(library))


def _wrapper(name: str, parameters: str) -> str:
    """run_NAME(grid, block, shared, order, the kernel's own parameters)."""
    names = [re.findall(r"\w+", parameter)[-1] for parameter in parameters.split(",")]
    return (
        f'extern "C" void run_{name}(const unsigned* g, const unsigned* b, unsigned long long s, '
        f"int order, {parameters}) {{ on_cpu::launch(dim3(g[0], g[1], g[2]), "
        f"dim3(b[0], b[1], b[2]), s, order, [&] {{ {name}({', '.join(names)}); }}); }}"
    )


def call(file: str, name: str, grid, block, *arguments, shared: int = 0, **defines) -> None:
    """Run a kernel twice, with its threads in opposite orders: the results must agree.

    arguments: arrays (changed in place), None for a null pointer, or numbers.
    """
    function = getattr(build(file, **defines), f"run_{name}")
    types = kernels(file)[name]
    sizes = [(ctypes.c_uint * 3)(*(*_dim3(size),)) for size in (grid, block)]
    outcomes = []
    for order in (1, 0):
        guarded = [_Guarded(a) if isinstance(a, np.ndarray) else a for a in arguments]
        passed = [_convert(a, kind) for a, kind in zip(guarded, types, strict=True)]
        function(*sizes, ctypes.c_ulonglong(shared), order, *passed)
        outcomes.append([a.read() for a in guarded if isinstance(a, _Guarded)])
    for one, other in zip(*outcomes, strict=True):
        np.testing.assert_array_equal(one, other, "hangs on the order of the threads")
    arrays = [a for a in arguments if isinstance(a, np.ndarray)]
    for array, result in zip(arrays, outcomes[-1], strict=True):
        array[...] = result


def _dim3(size) -> tuple[int, int, int]:
    size = size if isinstance(size, tuple) else (size,)
    return (*size, 1, 1)[:3]


class _Guarded:
    """A copy of an array between two guard regions that must not be written to."""

    MARGIN = 256

    def __init__(self, array: np.ndarray):
        assert array.flags.c_contiguous
        self.like = array
        self.memory = np.full(array.nbytes + 2 * self.MARGIN + 64, 0xA5, np.uint8)
        start = self.memory.ctypes.data + self.MARGIN
        self.first = self.MARGIN + (array.ctypes.data - start) % 16  # aligned like the array
        self.inside[...] = array.view(np.uint8).reshape(-1)

    @property
    def inside(self) -> np.ndarray:
        return self.memory[self.first : self.first + self.like.nbytes]

    def read(self) -> np.ndarray:
        before, after = self.memory[: self.first], self.memory[self.first + self.like.nbytes :]
        assert (before == 0xA5).all(), "wrote before the array"
        assert (after == 0xA5).all(), "wrote past the array"
        return self.inside.view(self.like.dtype).reshape(self.like.shape).copy()


def _convert(argument, kind: str):
    if isinstance(argument, _Guarded):
        return ctypes.c_void_p(argument.inside.ctypes.data)
    if argument is None:
        return ctypes.c_void_p(None)
    return TYPES[kind](argument)
