"""The instruction set of the contenders: all that this CPU has, or only AVX2 on one with AVX-512.

A library chooses its instructions when it loads, so a worker is started with these variables. On
Linux, /proc/self/arch_status says when a thread last used AVX-512; the tests read it.
"""

import os

import numpy as np

from minivit.backend.host import cpu_has_avx512, instruction_set
from minivit.errors import UserError


def avx2() -> dict[str, str]:
    """The variables that limit each library to AVX2."""
    features = ("AVX512F", "AVX512VL", "AVX512BW", "AVX512DQ", "AVX512CD")
    return {
        "GLIBC_TUNABLES": f"glibc.cpu.hwcaps={','.join(f'-{name}' for name in features)}",
        "OPENBLAS_CORETYPE": "Haswell",
        "NPY_DISABLE_CPU_FEATURES": " ".join(numpy_avx512_features()),
        "ATEN_CPU_CAPABILITY": "avx2",  # PyTorch's loops, and those that torch.compile generates
        "TORCHINDUCTOR_CPP_MARCH": "x86-64-v3",  # the compiler's target for the latter
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": "",  # those of the named CPU, not of this one
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    }


def numpy_avx512_features() -> list[str]:
    """NumPy's names of its AVX-512 features on this CPU; it warns about any other name.

    It does not list those that are already switched off, so they come from the variable.
    """
    found = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    disabled = os.environ.get("NPY_DISABLE_CPU_FEATURES", "").replace(",", " ").split()
    return [*disabled, *(name for name in found if name.startswith(("AVX512", "X86_V4")))]


def environment(isa: str) -> dict[str, str]:
    """The variables to add to a worker's environment."""
    return avx2() if isa == "avx2" else {}


def require(isa: str) -> None:
    """Raise UserError if this CPU does not have the instruction set."""
    if isa == "avx2" and instruction_set() not in ("AVX2", "AVX-512"):
        raise UserError(
            f"--isa avx2: this CPU has {instruction_set()}; choose --isa native, the default"
        )


def describe(isa: str) -> str:
    """The instruction set as the tables name it."""
    if isa == "avx2" and cpu_has_avx512():
        return "AVX2 (emulated on a CPU with AVX-512)"
    return instruction_set()
