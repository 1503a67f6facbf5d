"""Make NumPy use this CPU fully: settings of OpenBLAS's kernels and of glibc's allocator.

Both settings are read when a library loads or starts, so `tune()` runs before NumPy's first import
(`import minivit` does that). `MINIVIT_TUNE=0` in the environment switches them off.

This module imports neither NumPy nor anything that does.
"""

import ctypes
import importlib.util
import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

WITHOUT_AVX512 = {"Haswell", "Zen"}
"""The kernels that an older OpenBLAS chooses on a Zen 4 or 5, which it does not recognize."""

SWITCH = "MINIVIT_TUNE"
CORETYPE = "OPENBLAS_CORETYPE"

# <malloc.h>: the parameters of mallopt(3)
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
M_ARENA_MAX = -8
# glibc refuses an mmap threshold above half of its largest thread heap: 32 MiB on 64 bits
MMAP_THRESHOLD = 32 * 1024 * 1024


@dataclass(frozen=True)
class Tuning:
    """What `tune` did, in words; each field is a sentence without the period."""

    openblas: str = "not tried"
    malloc: str = "not tried"


tuning = Tuning()


def tune() -> Tuning:
    """Tune this process once, as early as possible, and record what was done in `host.tuning`."""
    global tuning
    if os.environ.get(SWITCH, "1") == "0":
        tuning = Tuning(f"off ({SWITCH}=0)", f"off ({SWITCH}=0)")
    else:
        tuning = Tuning(_choose_openblas_kernels(), _keep_freed_memory())
    return tuning


def _choose_openblas_kernels() -> str:
    """Select OpenBLAS's AVX-512 kernels where it would not choose them itself.

    Many versions treat AMD's Zen 4 or 5 as a Haswell and leave half of its arithmetic units unused.
    They recognize Intel's CPUs with AVX-512, and an older Zen has no AVX-512.
    """
    if CORETYPE in os.environ:
        return f"{CORETYPE}={os.environ[CORETYPE]} was set already"
    if not _is_amd_with_avx512():
        return "left alone: OpenBLAS chooses well for this CPU"
    if not _numpy_bundles_openblas():
        return "left alone: NumPy does not bundle OpenBLAS"
    if "numpy" in sys.modules:
        kernels = _loaded_kernels()
        if not kernels or not kernels <= WITHOUT_AVX512:
            return f"left alone: NumPy was loaded with {' '.join(kernels) or 'unknown'} kernels"
        _warn_too_late()
        return f"too late: NumPy was loaded before minivit ({CORETYPE} not set)"
    os.environ[CORETYPE] = "SkylakeX"
    return f"{CORETYPE}=SkylakeX (AVX-512 kernels)"


def _warn_too_late() -> None:
    print(
        "minivit: NumPy was imported first, so its AVX-512 kernels stay unused and matrix products "
        f"run at half speed; import minivit before numpy, or set {CORETYPE}=SkylakeX",
        file=sys.stderr,
    )


def _loaded_kernels() -> set[str]:
    """Names of the kernels that the loaded OpenBLAS chose."""
    from threadpoolctl import threadpool_info

    return {library["architecture"] for library in threadpool_info() if "architecture" in library}


def _is_amd_with_avx512() -> bool:
    return cpu_has_avx512() and "AuthenticAMD" in _cpuinfo()


def instruction_set() -> str:
    """The widest vector instructions of this CPU: AVX-512, AVX2 or neither; Arm has NEON."""
    if platform.machine().lower() in ("aarch64", "arm64"):
        return "NEON"
    if not _is_x86():
        return f"the instructions of {platform.machine()}"
    if cpu_has_avx512():
        return "AVX-512"
    known = _cpuinfo().split()
    if "avx2" in known:
        return "AVX2"
    return "neither AVX2 nor AVX-512" if known else "AVX2 or AVX-512 (only Linux reports which)"


def _is_x86() -> bool:
    return platform.machine().lower() in ("x86_64", "amd64")


def cpu_has_avx512() -> bool:
    """Whether this CPU has the AVX-512 instructions that OpenBLAS's SkylakeX kernels need."""
    flags = {"avx512f", "avx512bw", "avx512dq", "avx512vl"}
    return _is_x86() and flags <= set(_cpuinfo().split())


def cpu_has_bf16() -> bool:
    """Whether this CPU has bfloat16 products: two flags on x86-64, `bf16` on Arm."""
    return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(_cpuinfo().split())


def _cpuinfo() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not Linux
        return ""


def _numpy_bundles_openblas() -> bool:
    """Whether NumPy comes with OpenBLAS: its wheels have it in a folder next to the package; builds
    with MKL or Apple's Accelerate do not.
    """
    spec = importlib.util.find_spec("numpy")
    if spec is None or spec.origin is None:
        return False
    package = Path(spec.origin).parent
    libraries = [*package.parent.glob("numpy.libs/*"), *package.glob(".libs/*")]
    return any("openblas" in library.name for library in libraries)


def _keep_freed_memory() -> str:
    """Tell glibc to keep freed memory, so that temporaries cause no page faults.

    All threads share one heap: a thread's own heap is returned to the system whenever it is empty.
    """
    if platform.libc_ver()[0] != "glibc":
        return "left alone: the C library is not glibc"
    mallopt = ctypes.CDLL(None).mallopt
    settings = ((M_MMAP_THRESHOLD, MMAP_THRESHOLD), (M_TRIM_THRESHOLD, -1), (M_ARENA_MAX, 1))
    if all(mallopt(option, value) for option, value in settings):
        return "glibc keeps freed memory"
    return "glibc refused"
