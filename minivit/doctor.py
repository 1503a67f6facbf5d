"""`python -m minivit.doctor`: what this machine is, what minivit made of it, what you could do."""

import importlib.util
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from minivit.backend import host
from minivit.cli import run_command
from minivit.engine.parallel import physical_cores


@dataclass(frozen=True)
class Options:
    """Look at this machine: CPU, BLAS, speed, GPU, and what is tuned."""


def main(options: Options) -> int:
    """Print the findings, then the advice."""
    cores = physical_cores()
    blas = blas_libraries()
    print(f"{'CPU':18}{cpu_name()}, {cores} physical core{'s' * (cores > 1)} to use")
    print(f"{'Python':18}{platform.python_version()}, NumPy {np.__version__}")
    print(f"{'BLAS':18}{', '.join(map(describe_blas, blas)) or 'not recognised'}")
    print(f"{'products':18}{gemm_rate(cores):.0f} GFLOP/s in float32 on {cores} cores")
    print(f"{'memory':18}{memory_bandwidth(cores):.0f} GB/s, read and written")
    print(f"{'GPU':18}{gpu()}")
    print(f"{'OpenBLAS kernels':18}{host.tuning.openblas}")
    print(f"{'allocator':18}{host.tuning.malloc}")
    advice = list(advise(blas))
    print("\nWhat you could do:" if advice else "\nNothing to improve that we know of.")
    for line in advice:
        print(f"- {line}")
    return 0


def cpu_name() -> str:
    """As the system calls it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def blas_libraries() -> list[dict]:
    """The BLAS libraries that NumPy loaded, as threadpoolctl knows them."""
    return [library for library in threadpool_info() if library["user_api"] == "blas"]


def describe_blas(library: dict) -> str:
    """Name, version and kernels of one."""
    kernels = library.get("architecture")
    return f"{library['internal_api']} {library['version']}" + f" ({kernels})" * bool(kernels)


def _median_seconds(work: Callable[[int], object], cores: int, repeats: int = 7) -> float:
    """Median time of `work(core)` on all cores at once."""
    with ThreadPoolExecutor(cores) as pool, threadpool_limits(1, "blas"):
        seconds = []
        for _ in range(repeats + 1):
            start = time.perf_counter()
            list(pool.map(work, range(cores)))
            seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def gemm_rate(cores: int, side: int = 1024) -> float:
    """GFLOP/s of float32 products of side × side matrices, one a core."""
    a, b = np.ones((2, side, side), np.float32)
    out = np.empty((cores, side, side), np.float32)
    seconds = _median_seconds(lambda core: np.matmul(a, b, out[core]), cores)
    return 2 * side**3 * cores / seconds / 1e9


def memory_bandwidth(cores: int, megabytes: int = 128) -> float:
    """GB/s of copying arrays larger than the cache; what is read and what is written count."""
    source = np.ones((cores, megabytes * 2**20), np.uint8)
    target = np.empty_like(source)
    seconds = _median_seconds(lambda core: np.copyto(target[core], source[core]), cores)
    return 2 * source.nbytes / seconds / 1e9


def gpu() -> str:
    """The NVIDIA GPUs that CuPy sees, or why there is none."""
    if importlib.util.find_spec("cupy") is None:
        return "none used: CuPy is not installed"
    import cupy

    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"none found by CuPy {cupy.__version__} ({error})"
    names = [cupy.cuda.runtime.getDeviceProperties(i)["name"].decode() for i in range(count)]
    return f"{', '.join(names)} (CuPy {cupy.__version__})"


def advise(blas: list[dict]) -> Iterator[str]:
    """What would make this machine faster, as far as we can tell."""
    kernels = {library.get("architecture") for library in blas}
    if host.cpu_has_avx512() and kernels and kernels <= host.WITHOUT_AVX512:
        variable = os.environ.get(host.CORETYPE)
        how = f"unset {host.CORETYPE}" if variable else f"set {host.CORETYPE}=SkylakeX"
        yield (
            f"This CPU has AVX-512, but OpenBLAS runs its {'/'.join(kernels)} kernels, at about "
            f"half the speed: {how}"
        )
    if os.environ.get(host.SWITCH) == "0":
        yield f"{host.SWITCH}=0 switches minivit's tuning off: unset it"
    if not blas:
        yield "NumPy's BLAS is not one that threadpoolctl can limit: try NumPy from PyPI"
    if importlib.util.find_spec("cupy") is None:
        yield (
            'With an NVIDIA GPU: pip install "cupy-cuda12x[ctk]" (or "cupy-cuda13x[ctk]"), '
            "then --device cuda"
        )


if __name__ == "__main__":
    sys.exit(run_command(main, Options, "python -m minivit.doctor"))
