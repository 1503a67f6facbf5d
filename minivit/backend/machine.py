"""Properties of this machine: cores, memory, names, speed."""

import contextlib
import functools
import importlib.util
import io
import math
import os
import platform
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from minivit.backend.arrays import parse_device
from minivit.backend.blas import blas_libraries, describe_blas, one_accelerate_thread
from minivit.backend.twins import describe_twins, unavailable_reason
from minivit.errors import UserError

UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")


def physical_cores() -> int:
    """The number of cores that this process may use; two hardware threads of a core count once.

    It is limited by CPU affinity, a container's quota and LOKY_MAX_CPU_COUNT. On Apple's chips only
    performance cores count: workers get equal parts, and would wait for the slower cores.
    """
    from loky import cpu_count  # a slow import

    # Linux on Arm does not say which logical cores share a core; loky then warns, with a traceback
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        cores = cpu_count(only_physical_cores=True)
    fast = _sysctl("hw.perflevel0.physicalcpu")
    return min(cores, int(fast)) if fast.isdecimal() else cores


@functools.cache
def _sysctl(name: str) -> str:
    """The value of a macOS setting; an empty string if there is none, or on other systems."""
    if sys.platform != "darwin":
        return ""
    command = ["/usr/sbin/sysctl", "-n", name]
    try:
        return subprocess.check_output(command, stderr=subprocess.DEVNULL, encoding="utf-8").strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def memory_bytes(device: str = "cpu") -> float:
    """Bytes of memory of this machine, or its GPU; infinity if unknown.

    Raises as `parse_device` does.
    """
    number = parse_device(device)
    if number is not None:
        import cupy

        _, total = cupy.cuda.Device(number).mem_info
        return total
    found = [math.inf]
    if hasattr(os, "sysconf"):  # POSIX
        with contextlib.suppress(ValueError):
            found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for limit in ("memory.max", "memory/memory.limit_in_bytes"):  # of a container
        try:
            found.append(int(Path("/sys/fs/cgroup", limit).read_text(encoding="utf-8")))
        except (OSError, ValueError):  # none, or "max"
            continue
    return min(found)


def require_memory(what: str, needs: Mapping[str, int], device: str = "cpu") -> None:
    """Raise UserError if `needs`, bytes by purpose, add up to more than the memory."""
    available = memory_bytes(device)
    if sum(needs.values()) > available:
        raise UserError(
            f"{what} needs {describe_needs(needs)}, "
            f"{'this machine' if device == 'cpu' else device} has {size(available)}; "
            "choose smaller sizes"
        )


def describe_needs(needs: Mapping[str, int]) -> str:
    """The sum of `needs`, and what it consists of."""
    parts = ", ".join(f"{name} {size(count)}" for name, count in needs.items() if count)
    return f"{size(sum(needs.values()))} of memory ({parts})"


def size(count: float) -> str:
    """Bytes with a unit: 1.23 GB."""
    power = min(int(math.log(max(count, 1), 1000)), len(UNITS) - 1)
    return f"{count / 1000**power:.3g} {UNITS[power]}"


def cpu_name() -> str:
    """The CPU's name, as the system reports it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    named = _sysctl("machdep.cpu.brand_string") or _name_in_registry()
    return named or platform.processor() or platform.machine()


def _name_in_registry() -> str:
    """The CPU's name in Windows' registry; an empty string if there is none, or on other
    systems.
    """
    if sys.platform != "win32":
        return ""
    import winreg

    path = r"HARDWARE\DESCRIPTION\System\CentralProcessor\0"
    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, path) as key:
            return str(winreg.QueryValueEx(key, "ProcessorNameString")[0]).strip()
    except OSError:
        return ""


@functools.cache  # every checkpoint records it
def describe_arithmetic(device: str = "cpu") -> str:
    """What determines how products are rounded on a device: "cpu", "cuda" or "cuda:N"."""
    if device != "cpu":
        return f"a GPU: {gpu()}"
    libraries = [f"NumPy {np.__version__}", *map(describe_blas, blas_libraries())]
    if unavailable_reason() is None:
        libraries.append(describe_twins())
    return ", ".join(libraries)


def _median_seconds(work: Callable[[int], object], cores: int, repeats: int = 7) -> float:
    """Median time of `work(core)` on all cores at once."""
    with (
        ThreadPoolExecutor(cores, initializer=one_accelerate_thread) as pool,
        threadpool_limits(1, "blas"),
    ):
        seconds = []
        for _ in range(repeats + 1):
            start = time.perf_counter()
            list(pool.map(work, range(cores)))
            seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def gemm_rate(cores: int, side: int = 1024) -> float:
    """GFLOP/s of float32 products of side × side matrices, one per core."""
    a, b = np.ones((2, side, side), np.float32)
    out = np.empty((cores, side, side), np.float32)
    seconds = _median_seconds(lambda core: np.matmul(a, b, out[core]), cores)
    return 2 * side**3 * cores / seconds / 1e9


def memory_bandwidth(cores: int, megabytes: int = 128) -> float:
    """GB/s of copying arrays larger than the cache; reads and writes both count."""
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
