"""Compiled twins of the pairs, and who computes with them.

A formula in NumPy's steps walks through its numbers once per step. Its twin, the same formula as a
loop compiled by Numba, walks once. `functional/` stays what is read; what is fast lives in
`functional/compiled/`, with the same signature and held to its pair by tests.

The pair decides nothing: `has_twin` decorates it, and a thread that computes large batches asks
for twins (`use_twins`). Everywhere else, in a notebook for instance, it is the pair that runs.
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
"""Numbers from which on a twin is taken: with fewer, all the time is Python's."""

_thread = threading.local()


def has_twin(pair: Callable[P, T]) -> Callable[P, T]:
    """The function itself, or its twin: in a thread that uses them, for large float32 arrays."""

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
    """From now on in this thread; find_twins: twins by the names of their pairs, asked when the
    first is needed, as compiling takes seconds."""
    _thread.find_twins = find_twins


def why_none() -> str | None:
    """Why nothing is compiled here; None where it is."""
    if os.environ.get(SWITCH, "1") == "0":
        return f"off ({SWITCH}=0)"
    if importlib.util.find_spec("numba") is None:
        return "Numba is not installed"
    if os.environ.get("NUMBA_DISABLE_JIT", "0") != "0":
        return "off (NUMBA_DISABLE_JIT)"
    return None


def describe_twins() -> str:
    """What computes large batches beside BLAS, in words."""
    reason = why_none()
    return f"NumPy; {reason}" if reason else f"Numba {importlib.metadata.version('numba')}"
