"""The instruction set that contenders run with: this CPU's own, or AVX2 where it has AVX-512 too.

A library chooses its instructions when it loads, so a worker has these variables from its start.
Linux tells of each thread when it last used AVX-512 (/proc/self/arch_status): the tests look there.
"""

import os

import numpy as np

from minivit.backend.host import cpu_has_avx512, instruction_set
from minivit.errors import UserError


def avx2() -> dict[str, str]:
    """The variables that hold each library to AVX2."""
    features = ("AVX512F", "AVX512VL", "AVX512BW", "AVX512DQ", "AVX512CD")
    return {
        "GLIBC_TUNABLES": f"glibc.cpu.hwcaps={','.join(f'-{name}' for name in features)}",
        "OPENBLAS_CORETYPE": "Haswell",
        "NPY_DISABLE_CPU_FEATURES": " ".join(numpys_avx512()),
        "ATEN_CPU_CAPABILITY": "avx2",  # PyTorch's own loops, and those that torch.compile writes
        "TORCHINDUCTOR_CPP_MARCH": "x86-64-v3",  # what the compiler makes of the latter
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": "",  # those of the name, not this CPU's own
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    }


def numpys_avx512() -> list[str]:
    """What NumPy calls its loops in AVX-512 here, where it warns of any other name.

    Those that are switched off already it finds no more.
    """
    found = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    off = os.environ.get("NPY_DISABLE_CPU_FEATURES", "").replace(",", " ").split()
    return [*off, *(name for name in found if name.startswith(("AVX512", "X86_V4")))]


def environment(isa: str) -> dict[str, str]:
    """What a worker has in its environment beside what this process has."""
    return avx2() if isa == "avx2" else {}


def require(isa: str) -> None:
    """Raise UserError where this CPU cannot run it."""
    if isa == "avx2" and instruction_set() not in ("AVX2", "AVX-512"):
        raise UserError(
            f"--isa avx2: this CPU has {instruction_set()}; choose --isa native, the default"
        )


def describe(isa: str) -> str:
    """For the tables."""
    if isa == "avx2" and cpu_has_avx512():
        return "AVX2 (emulated on a CPU with AVX-512)"
    return instruction_set()
