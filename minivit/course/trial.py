"""Call an answer, and compare its results with the right ones."""

import linecache
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import minivit
from minivit.course.exercise import Exercise

FLOAT32_RTOL = 1e-3
"""Tolerance in float32: a different order of summation is not a mistake."""

ROUNDING = 1e-12
"""Tolerance for an integer that was computed from fractions, such as 0.8 * 0.2 / 0.01**2."""


@dataclass(frozen=True)
class Trial:
    """One call of an answer: its arguments, its results, and the right results.

    hard: what is hard about the arguments; empty for ordinary ones.
    """

    arguments: tuple
    returned: tuple
    expected: tuple
    rtol: float
    hard: str = ""


class WrongAnswerError(Exception):
    """The answer is wrong or cannot be graded; the message says why."""


class CallError(WrongAnswerError):
    """The answer could not be called with these arguments, or changed them."""


def call(answer: Callable, arguments: tuple, outputs: int) -> tuple:
    """What the answer returns, as a tuple; checks that its arguments are unchanged."""
    copies = copied(arguments)
    try:
        with np.errstate(all="ignore"):
            returned = answer(*copies)
    except NotImplementedError:
        raise WrongAnswerError(
            "not done yet: replace raise NotImplementedError with your code"
        ) from None
    except Exception as error:
        raise CallError(
            f"{type(error).__name__}: {error}{_location(error)} (called with {describe(arguments)})"
        ) from None
    if returned is None or returned is Ellipsis:
        raise WrongAnswerError("not done yet: the function returns None; is a return missing?")
    for before, after in zip(_arrays(arguments), _arrays(copies), strict=True):
        if not np.array_equal(before, after, equal_nan=before.dtype.kind == "f"):
            raise CallError(
                "an argument was changed in place: the caller may need it again; write x = x + 1 "
                "instead of x += 1, or copy it first"
            )
    return unpacked(returned, outputs)


def unpacked(returned: Any, outputs: int) -> tuple:
    """Results as a tuple: several results may be a tuple, a list or one stacked array."""
    if outputs > 1:
        stacked = isinstance(returned, np.ndarray) and returned.shape[:1] == (outputs,)
        return tuple(returned) if stacked or isinstance(returned, tuple | list) else (returned,)
    return returned if isinstance(returned, tuple) else (returned,)


def _location(error: BaseException) -> str:
    """The line of the reader's own code where the error occurred."""
    frames = traceback.extract_tb(error.__traceback__)[1:]
    reader_frames = [frame for frame in frames if not _is_library(frame.filename)]
    if not reader_frames:
        return ""
    line = linecache.getline(reader_frames[-1].filename, reader_frames[-1].lineno or 0).strip()
    return f", in line {reader_frames[-1].lineno} of {reader_frames[-1].name}" + (
        f": {line}" if line else ""
    )


LIBRARIES = (sys.prefix, sys.base_prefix, str(Path(minivit.__file__).parent), "<__array", "<frozen")


def _is_library(filename: str) -> bool:
    return "site-packages" in filename or filename.startswith(LIBRARIES)


def lines_run(answer: Callable, arguments: tuple) -> int:
    """The number of lines of the reader's own code that one call runs: a loop runs its lines
    repeatedly.
    """
    count = 0

    def trace(frame: Any, event: str, argument: Any) -> Any:
        nonlocal count
        if _is_library(frame.f_code.co_filename):
            return None
        count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        answer(*copied(arguments))
    finally:
        sys.settrace(before)
    return count


def same(found: Any, expected: Any, rtol: float) -> bool:
    """Whether two results are equal: integers exactly, others relative to the largest number."""
    a, b = as_array(found), as_array(expected)
    if a.shape != b.shape or a.dtype.kind not in "biuf" or b.dtype.kind not in "biuf":
        return a.shape == b.shape and a.dtype.kind == b.dtype.kind and np.array_equal(a, b)
    if b.dtype.kind in "biu":
        rtol = ROUNDING if a.dtype.kind == "f" else 0.0
        return np.allclose(a, b, rtol=rtol, atol=0)
    a, b = a.astype(float), b.astype(float)
    finite = np.isfinite(b)
    if not np.array_equal(np.where(finite, 0, b), np.where(np.isfinite(a), 0, a), equal_nan=True):
        return False
    if not finite.any():
        return True
    a, b = a[finite], b[finite]
    return bool(np.abs(a - b).max() <= rtol * (np.abs(b).max() or 1))


def as_array(value: Any) -> np.ndarray:
    """The value as an array; for lists of unequal lengths, an array that equals no right result."""
    try:
        return np.asarray(value)
    except ValueError:  # lists of unequal lengths
        return np.array([None], object)


def cast(value: Any, dtype: str) -> Any:
    """The value with all floating-point arrays inside converted to another dtype."""
    if isinstance(value, np.ndarray):
        return value.astype(dtype) if value.dtype.kind == "f" else value
    return _map(value, lambda part: cast(part, dtype))


def copied(value: Any) -> Any:
    """The value with all arrays inside copied."""
    return value.copy() if isinstance(value, np.ndarray) else _map(value, copied)


def _map(value: Any, change: Callable) -> Any:
    """Apply a function to the members of a tuple (named or not), list or dict; leave everything
    else unchanged.
    """
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(change, value))
    if isinstance(value, tuple | list):
        return type(value)(map(change, value))
    if isinstance(value, dict):
        return {key: change(member) for key, member in value.items()}
    return value


def _arrays(value: Any) -> list[np.ndarray]:
    """All arrays inside, in order."""
    if isinstance(value, np.ndarray):
        return [value]
    members = value.values() if isinstance(value, dict) else value
    if not isinstance(value, tuple | list | dict):
        return []
    return [array for member in members for array in _arrays(member)]


def describe(arguments: tuple) -> str:
    """A description of the arguments: arrays by their shapes."""

    def describe_value(value: Any) -> str:
        if isinstance(value, np.ndarray):
            return f"an array of shape {value.shape}"
        if isinstance(value, tuple | list):
            return f"({', '.join(map(describe_value, value))})"
        return getattr(value, "__name__", None) or f"{value!r:.60}"

    return ", ".join(map(describe_value, arguments))


def draw(exercise: Exercise, size: int, dtype: str = "float64") -> tuple:
    """The arguments of one call; floating-point arrays have the requested dtype."""
    return cast(exercise.inputs(np.random.default_rng(100 + size), size), dtype)
