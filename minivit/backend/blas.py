"""The BLAS libraries that NumPy multiplies matrices with, and how many threads they use."""

import ctypes
import functools
import platform
from collections.abc import Callable
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

ACCELERATE = "/System/Library/Frameworks/Accelerate.framework/Accelerate"
SINGLE_THREADED = 1  # BLAS_THREADING_SINGLE_THREADED of <vecLib/thread_api.h>
VECLIB = "VECLIB_MAXIMUM_THREADS"
"""The variable that Accelerate reads once, before its first product."""


def blas_libraries() -> list[dict]:
    """The BLAS libraries that NumPy loaded, as threadpoolctl reports them, and Apple's Accelerate,
    which it does not detect.
    """
    found = [library for library in threadpool_info() if library["user_api"] == "blas"]
    if not found and uses_accelerate():
        return [{"internal_api": "Accelerate", "version": f"of macOS {platform.mac_ver()[0]}"}]
    return found


def describe_blas(library: dict) -> str:
    """Name, version and kernels of a BLAS library."""
    kernels = library.get("architecture")
    return f"{library['internal_api']} {library['version']}" + f" ({kernels})" * bool(kernels)


@functools.cache
def uses_accelerate() -> bool:
    """Whether NumPy was built with Apple's Accelerate, as its wheels for macOS 14 and newer are."""
    built: Any = np.show_config(mode="dicts") or {}
    blas = built.get("Build Dependencies", {}).get("blas", {})
    return str(blas.get("name", "")).lower() == "accelerate"


def one_accelerate_thread() -> bool:
    """Make Accelerate use one thread for the products that this thread requests from now on; other
    threads are not affected. Returns whether that was possible: if NumPy uses Accelerate and macOS
    is 15 or newer.
    """
    set_threading = _accelerate_threading()
    return set_threading is not None and set_threading(SINGLE_THREADED) == 0


@functools.cache
def _accelerate_threading() -> Callable[[int], int] | None:
    if not uses_accelerate():
        return None
    try:
        return ctypes.CDLL(ACCELERATE).BLASSetThreading
    except (OSError, AttributeError):  # macOS before 15
        return None
