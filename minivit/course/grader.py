"""Exercises that grade themselves, and say what a wrong answer looks like.

`check("04.b", my_layernorm_backward)` calls the function on arguments of several hidden shapes, in
float64 and float32, and compares what it returns with the right answer and, where it is a gradient,
with finite differences. A wrong answer is compared with the usual wrong answers: the one that gives
the same numbers is named in words.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minivit.course.exercise import Exercise
from minivit.course.exercises import find
from minivit.gradcheck.check import check_gradients

SIZES = 3
"""How many shapes an answer is tried on."""

FLOAT32_RTOL = 1e-4


@dataclass(frozen=True)
class Verdict:
    """What became of an answer; true where it is right. Shows itself in a notebook."""

    name: str
    passed: bool
    words: str

    def __bool__(self) -> bool:
        return self.passed

    def __repr__(self) -> str:
        return f"{self.name} {'✓' if self.passed else '✗'} {self.words}"


@dataclass(frozen=True)
class Trial:
    """One call of an answer: with which arguments, what it returned, what is right."""

    arguments: tuple
    given: tuple
    right: tuple
    rtol: float


class WrongAnswerError(Exception):
    """The message says how."""


def check(name: str, answer: Any = None) -> Verdict:
    """Grade an answer to an exercise of the course.

    Args:
        name: of the exercise, as "04.b". answer: the function, or the number, that it asks for.

    Returns:
        a verdict that says what is wrong; it is true where nothing is.

    Raises:
        UserError: there is no such exercise.
    """
    exercise = find(name)
    try:
        words = _grade(exercise, answer)
    except WrongAnswerError as refusal:
        return Verdict(name, False, str(refusal))
    return Verdict(name, True, words)


def _grade(exercise: Exercise, answer: Any) -> str:
    if answer is None or answer is Ellipsis:
        raise WrongAnswerError("not done yet: replace the dots by your answer")
    if not callable(exercise.answer):
        return _grade_value(exercise, answer)
    if not callable(answer):
        raise WrongAnswerError(f"expected a function, found {type(answer).__name__} {answer!r:.40}")
    trials = [_try(exercise, answer, size) for size in range(SIZES)]
    for trial in trials:
        _require_form(exercise, trial)
    wrong = [i for i in range(len(exercise.outputs)) if not all(_right(t, i) for t in trials)]
    if wrong:
        raise WrongAnswerError(_diagnose_all(exercise, trials, wrong))
    _try_float32(exercise, answer)
    words = f"right, on {SIZES} shapes and in float32"
    if exercise.forward is not None:
        words += f", and as finite differences say (to {_slopes(exercise, answer):.0e})"
    return words


def _grade_value(exercise: Exercise, answer: Any) -> str:
    """A number, a tuple of numbers, a word."""
    if _same_value(answer, exercise.answer):
        return "right"
    for mistake in exercise.mistakes:
        if _same_value(answer, mistake.wrong):
            raise WrongAnswerError(f"{answer} is not it. It looks as if {mistake.words}")
    raise WrongAnswerError(f"{answer} is not it")


def _same_value(a: Any, b: Any) -> bool:
    try:
        a, b = np.asarray(a, float), np.asarray(b, float)
    except (TypeError, ValueError):
        return a == b
    return a.shape == b.shape and bool(np.allclose(a, b, rtol=1e-3, atol=0))


def _try(exercise: Exercise, answer: Callable, size: int, dtype: str = "float64") -> Trial:
    """Call the answer, and see that it leaves its arguments alone."""
    arguments = _draw(exercise, size, dtype)
    right = _as_tuple(exercise.answer(*_copy(arguments)))
    handed = _copy(arguments)
    try:
        given = answer(*handed)
    except NotImplementedError:
        raise WrongAnswerError(
            "not done yet: replace raise NotImplementedError by your code"
        ) from None
    except Exception as error:
        raise WrongAnswerError(
            f"{type(error).__name__}: {error} (called with {_describe(arguments)})"
        ) from None
    if given is None or given is Ellipsis:
        raise WrongAnswerError("not done yet: the function returns nothing; is a return missing?")
    for before, after in zip(_arrays(arguments), _arrays(handed), strict=True):
        if not np.array_equal(before, after, equal_nan=True):
            raise WrongAnswerError(
                "an argument was changed in place: it belongs to the caller, who may need it "
                "again; write x = x + 1 instead of x += 1, or copy it first"
            )
    rtol = exercise.rtol if dtype == "float64" else max(exercise.rtol, FLOAT32_RTOL)
    return Trial(arguments, _as_tuple(given), right, rtol)


def _require_form(exercise: Exercise, trial: Trial) -> None:
    """As many results as asked for, of the right shapes, and no NaN."""
    if len(trial.given) != len(trial.right):
        raise WrongAnswerError(
            f"expected {len(trial.right)} results ({', '.join(exercise.outputs)}), "
            f"found {len(trial.given)}"
        )
    for name, given, right in zip(exercise.outputs, trial.given, trial.right, strict=True):
        given, right = np.asarray(given), np.asarray(right)
        if not np.issubdtype(given.dtype, np.number) and given.dtype != bool:
            raise WrongAnswerError(f"{name} is no array of numbers, but {given.dtype}")
        if given.shape != right.shape:
            raise WrongAnswerError(_shape_words(name, given.shape, right.shape, trial))
        if not np.isfinite(given).all() and np.isfinite(right).all():
            kind = "NaN" if np.isnan(given).any() else "infinite"
            raise WrongAnswerError(
                f"{name} has numbers that are {kind}: a division by zero, a root of a negative "
                "number, or an exponential that overflows"
            )


def _shape_words(name: str, found: tuple, expected: tuple, trial: Trial) -> str:
    words = f"{name} has the shape {found}; expected {expected}"
    if len(found) > 1 and found == expected[::-1]:
        return f"{words}. It looks transposed"
    if len(found) > len(expected) and found[len(found) - len(expected) :] == expected:
        return (
            f"{words}. A sum over the leading axes is missing: what every row shares gets the sum "
            "of all rows' gradients"
        )
    if len(found) == len(expected) and all(
        a == b or a == 1 for a, b in zip(found, expected, strict=True)
    ):
        return f"{words}. It was summed over an axis too many"
    return f"{words} (called with {_describe(trial.arguments)})"


def _right(trial: Trial, i: int) -> bool:
    return _close(trial.given[i], trial.right[i], trial.rtol)


def _close(a: Any, b: Any, rtol: float) -> bool:
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        return False
    if a.size == 0:
        return True
    largest = np.abs(np.asarray(b, float)).max()
    if not np.isfinite(largest):
        return np.array_equal(a, b, equal_nan=True)
    return bool(np.abs(np.asarray(a, float) - np.asarray(b, float)).max() <= rtol * (largest or 1))


def _diagnose_all(exercise: Exercise, trials: list[Trial], wrong: list[int]) -> str:
    """What the wrong results look like; what several have in common is said once."""
    names: dict[str, list[str]] = {}
    for i in wrong:
        names.setdefault(_diagnose(exercise, trials, i), []).append(exercise.outputs[i])
    return ". ".join(
        f"{' and '.join(found)} {'are' if len(found) > 1 else 'is'} wrong. {words}"
        for words, found in names.items()
    )


def _diagnose(exercise: Exercise, trials: list[Trial], i: int) -> str:
    """What result i looks like, if it looks like anything known; else where it differs most."""
    trials = [trial for trial in trials if not _right(trial, i)]
    for mistake in exercise.mistakes:
        if _is_mistake(mistake.wrong, trials, i):
            return f"It looks as if {mistake.words}"
    given = [np.asarray(trial.given[i], float) for trial in trials]
    right = [np.asarray(trial.right[i], float) for trial in trials]
    return _general_words(given, right, trials[0].rtol)


def _is_mistake(wrong: Callable, trials: list[Trial], i: int) -> bool:
    for trial in trials:
        try:
            results = _as_tuple(wrong(*_copy(trial.arguments)))
        except Exception:  # a mistake need not be possible with every shape
            return False
        if len(results) <= i or not _close(trial.given[i], results[i], trial.rtol):
            return False
    return True


def _general_words(given: list[np.ndarray], right: list[np.ndarray], rtol: float) -> str:
    """Fingerprints that need no knowledge of the exercise."""
    if all(_close(-a, b, rtol) for a, b in zip(given, right, strict=True)):
        return "The sign is the wrong way round"
    if all(not np.any(a) for a in given):
        return "It is zero everywhere"
    factors = [_factor(a, b, rtol) for a, b in zip(given, right, strict=True)]
    if all(factor is not None for factor in factors):
        told = ", ".join(f"{factor:.6g}" for factor in factors)
        return (
            f"It is {told} times what it should be (on {len(factors)} shapes): a factor is missing "
            "or stands there twice"
        )
    for a, b in zip(given, right, strict=True):
        if a.ndim > 1 and a.shape == a.shape[::-1] and _close(a.T, b, rtol):
            return "It looks transposed"
    a, b = given[0], right[0]
    worst = np.unravel_index(np.abs(a - b).argmax(), a.shape)
    place = f"[{', '.join(map(str, worst))}]" if a.ndim else ""
    share = np.mean(np.abs(a - b) > rtol * np.abs(b).max())
    return (
        f"{share:.0%} of its numbers are off; at {place or 'its only place'} it is "
        f"{a[worst]:.6g} and should be {b[worst]:.6g}"
    )


def _factor(given: np.ndarray, right: np.ndarray, rtol: float) -> float | None:
    """k where given = k·right, else None."""
    square = float((right * right).sum())
    if not square:
        return None
    factor = float((given * right).sum()) / square
    return factor if factor and _close(given, factor * right, rtol) else None


def _try_float32(exercise: Exercise, answer: Callable) -> None:
    """float32 in must give float32 out, and about the same numbers."""
    trial = _try(exercise, answer, 0, "float32")
    for i, name in enumerate(exercise.outputs):
        given, right = np.asarray(trial.given[i]), np.asarray(trial.right[i])
        if right.dtype == np.float32 and given.dtype == np.float64:
            raise WrongAnswerError(
                f"{name} is right in float64, but float32 arguments give float64: a float64 array "
                "or NumPy number leaked in (np.sqrt(2) and np.zeros(3) are float64; math.sqrt(2) "
                "and np.zeros_like(x) follow the array)"
            )
        if not _right(trial, i):
            raise WrongAnswerError(f"{name} is right in float64, but too inexact in float32")


def _slopes(exercise: Exercise, answer: Callable) -> float:
    """The worst relative error beside finite differences."""
    assert exercise.forward is not None
    arguments = _draw(exercise, 0, "float64")
    objective, tensors = exercise.forward(*arguments)
    given = _as_tuple(answer(*_copy(arguments)))
    gradients = {name: np.asarray(g, float) for name, g in zip(tensors, given, strict=False)}
    worst = max(check_gradients(objective, gradients, tensors), key=lambda result: result.error)
    if not worst.passed:
        raise WrongAnswerError(
            f"{worst.tensor} is not what finite differences say: {worst.analytic:.6g} along "
            f"{worst.where}, where they measure {worst.numeric:.6g}"
        )
    return worst.error


def _draw(exercise: Exercise, size: int, dtype: str) -> tuple:
    """The arguments of one call; floating-point arrays in the dtype asked for."""
    return _cast(exercise.inputs(np.random.default_rng(100 + size), size), dtype)


def _cast(value: Any, dtype: str) -> Any:
    if isinstance(value, np.ndarray):
        return value.astype(dtype) if value.dtype.kind == "f" else value
    return _map(value, lambda part: _cast(part, dtype))


def _copy(value: Any) -> Any:
    return value.copy() if isinstance(value, np.ndarray) else _map(value, _copy)


def _map(value: Any, change: Callable) -> Any:
    """Change the members of a tuple, named or not, a list or a dict; leave all else."""
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


def _as_tuple(value: Any) -> tuple:
    return value if isinstance(value, tuple) else (value,)


def _describe(arguments: tuple) -> str:
    def one(value: Any) -> str:
        if isinstance(value, np.ndarray):
            return f"an array {value.shape}"
        if isinstance(value, tuple | list):
            return f"({', '.join(map(one, value))})"
        return repr(value)

    return ", ".join(map(one, arguments))
