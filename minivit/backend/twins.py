"""Compiled twins of the pairs, and when they are used.

A formula in NumPy reads its arrays once per operation. Its twin, the same formula as a loop
compiled by Numba, reads them once. `functional/` is the code to read; the fast version lives in
`functional/compiled/`, with the same signature, tested against its pair.

The pair is only decorated with `has_twin`; a thread that computes large batches turns twins on
(`use_twins`). Everywhere else, in a notebook for instance, the pair itself runs.
"""

import functools
import importlib.metadata
import importlib.util
import os
import threading
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

import numpy as np

P = ParamSpec("P")
T = TypeVar("T")
Twins = Mapping[str, Callable]

SWITCH = "MINIVIT_NUMBA"
LARGE = 16 * 1024
"""Minimum size of an array for which a twin is used: below it, Python's overhead dominates."""

_thread = threading.local()


def has_twin(pair: Callable[P, T]) -> Callable[P, T]:
    """The function, or its twin in a thread that uses twins, for large float32 arrays."""

    @functools.wraps(pair)
    def chosen(*args: P.args, **kwargs: P.kwargs) -> T:
        find_twins = getattr(_thread, "find_twins", None)
        if find_twins is not None and _is_large(args[0]):
            return find_twins().get(pair.__name__, pair)(*args, **kwargs)
        return pair(*args, **kwargs)

    return chosen


def _is_large(x: Any) -> bool:
    return type(x) is np.ndarray and x.dtype == np.float32 and x.size >= LARGE


def use_twins(find_twins: Callable[[], Twins]) -> None:
    """Use twins in this thread from now on; find_twins: returns the twins by the names of their
    pairs; it is called when the first twin is needed, as compiling takes seconds.
    """
    _thread.find_twins = find_twins


def unavailable_reason() -> str | None:
    """Why nothing is compiled here; None if twins are available."""
    if os.environ.get(SWITCH, "1") == "0":
        return f"off ({SWITCH}=0)"
    if importlib.util.find_spec("numba") is None:
        return "Numba is not installed"
    if os.environ.get("NUMBA_DISABLE_JIT", "0") != "0":
        return "off (NUMBA_DISABLE_JIT)"
    return None


def describe_twins() -> str:
    """What computes large batches, apart from BLAS: NumPy or Numba, as text."""
    reason = unavailable_reason()
    return f"NumPy; {reason}" if reason else f"Numba {importlib.metadata.version('numba')}"
