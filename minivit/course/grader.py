"""Exercises that grade themselves and explain wrong answers.

`check("04.b", my_layernorm_backward)` calls the function on hidden arguments, ordinary and hard
ones, and compares the result with the right answer and, if it is a gradient, with finite
differences. `case("04.b")` returns the arguments on which it failed.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minivit.course.diagnosis import diagnose
from minivit.course.exercise import Exercise
from minivit.course.exercises import find
from minivit.course.trial import (
    FLOAT32_RTOL,
    ROUNDING,
    CallError,
    Trial,
    WrongAnswerError,
    as_array,
    call,
    copied,
    draw,
    lines_run,
    same,
    unpacked,
)
from minivit.gradcheck.check import check_gradients

SIZES = 3
"""Number of ordinary sets of arguments, of different shapes, that an answer is tested on."""


@dataclass(frozen=True)
class Verdict:
    """The result of a check; true if the answer is right. Displays itself in a notebook."""

    name: str
    passed: bool
    words: str

    def __bool__(self) -> bool:
        return self.passed

    def __repr__(self) -> str:
        return f"{self.name} {'✓' if self.passed else '✗'} {self.words}"


@dataclass(frozen=True)
class Case:
    """One call of an answer, for printing and plotting: arguments and results by name.

    found: what the answer returned; empty if it was not called or raised an exception.
    """

    arguments: dict[str, Any]
    expected: dict[str, Any]
    found: dict[str, Any]


_cases: dict[str, Case] = {}
"""For each exercise, the last case on which the answer failed."""


def check(name: str, answer: Any = None) -> Verdict:
    """Grade an answer to an exercise of the course.

    Args:
        name: the exercise, such as "04.b". answer: the function or number that it asks for.

    Returns:
        a verdict that says what is wrong; it is true if nothing is.

    Raises:
        UserError: there is no such exercise.
    """
    exercise = find(name)
    _cases.pop(name, None)
    try:
        words = _grade(exercise, answer)
    except WrongAnswerError as error:
        return Verdict(name, False, str(error))
    return Verdict(name, True, words)


def case(name: str) -> Case:
    """The arguments on which the last answer failed, with the right results and the answer's.

    Before a check and after a successful one: the first arguments and the right results.

    Raises:
        UserError: there is no such exercise.
    """
    exercise = find(name)
    if name in _cases:
        return _cases[name]
    if not callable(exercise.answer):
        return Case({}, {}, {})
    arguments = draw(exercise, 0)
    return _as_case(exercise, arguments, ())


def _as_case(exercise: Exercise, arguments: tuple, returned: tuple) -> Case:
    expected = unpacked(exercise.answer(*copied(arguments)), len(exercise.outputs))
    parameters = inspect.signature(exercise.answer).parameters
    return Case(
        dict(zip(parameters, arguments, strict=False)),
        dict(zip(exercise.outputs, expected, strict=True)),
        dict(zip(exercise.outputs, returned, strict=False)),
    )


def _grade(exercise: Exercise, answer: Any) -> str:
    if answer is None or answer is Ellipsis:
        raise WrongAnswerError("not done yet: replace the dots with your answer")
    if exercise.parts:
        _grade_parts(exercise.parts, answer)
    elif not callable(exercise.answer):
        return _grade_value(exercise, answer)
    elif not callable(answer):
        raise WrongAnswerError(f"expected a function, found {type(answer).__name__} {answer!r:.40}")
    if exercise.grade is not None:
        return exercise.grade(answer, lambda *parts: _cases.update({exercise.name: Case(*parts)}))
    trials = _all_trials(exercise, answer)
    wrong = [i for i in range(len(exercise.outputs)) if not all(_right(t, i) for t in trials)]
    if wrong:
        worst = next(t for t in trials for i in wrong if not _right(t, i))
        _cases[exercise.name] = _as_case(exercise, worst.arguments, worst.returned)
        raise WrongAnswerError(diagnose(exercise, trials, wrong))
    _refuse_loops(exercise, answer)
    note = _try_float32(exercise, answer)
    words = f"right, on {len(trials)} sets of arguments"
    if exercise.forward is not None:
        words += (
            f", and confirmed by finite differences (to {_gradient_error(exercise, answer):.0e})"
        )
    return words + note


def _grade_parts(names: tuple[str, ...], answer: Any) -> None:
    """Grade each of several functions by the exercise that asks for it."""
    if not isinstance(answer, tuple | list) or len(answer) != len(names):
        raise WrongAnswerError(
            f"expected {len(names)} functions, the answers to {' and '.join(names)}; found "
            f"{type(answer).__name__} {answer!r:.40}"
        )
    for name, part in zip(names, answer, strict=True):
        verdict = check(name, part)
        if not verdict:
            raise WrongAnswerError(
                f'course.check("{name}", …) must pass first; it says: {verdict.words}'
            )


def _grade_value(exercise: Exercise, answer: Any) -> str:
    """Grade a number, a tuple of numbers or a letter. Integers must be exact."""
    if exercise.reason:
        return _grade_choice(exercise, answer)
    if _same_value(answer, exercise.answer):
        return "right"
    for mistake in exercise.mistakes:
        if _same_value(answer, mistake.wrong):
            raise WrongAnswerError(f"{answer} is not right. It looks as if {mistake.words}")
    raise WrongAnswerError(f"{answer} is not right{_near(answer, exercise.answer)}")


def _grade_choice(exercise: Exercise, answer: Any) -> str:
    """Grade a letter, with the reason for or against it."""
    reasons = {mistake.wrong: mistake.words for mistake in exercise.mistakes}
    chosen = answer.strip().lower() if isinstance(answer, str) else ""
    if chosen == exercise.answer:
        return f"right: {exercise.reason}"
    if chosen in reasons:
        raise WrongAnswerError(f"not {chosen}: {reasons[chosen]}")
    letters = ", ".join(sorted([*reasons, exercise.answer]))
    raise WrongAnswerError(f"expected one of the letters {letters}, found {answer!r:.40}")


def _near(answer: Any, right: Any) -> str:
    """How close a wrong number is."""
    a, b = as_array(answer), as_array(right)
    if a.dtype.kind not in "iuf" or b.dtype.kind not in "iuf" or a.shape != b.shape:
        return ""
    if a.ndim and _same_value(np.sort(a), np.sort(b)):
        return ": the numbers are right, but in the wrong order"
    if _same_value(-a, b):
        return ": the sign is reversed, or a minus sign is missing"
    if not a.ndim and _same_value(b, np.round(b)) and abs(a - b) == 1:
        return f": it is too {'large' if a > b else 'small'} by 1"
    if _same_value(answer, right, rtol=0.05):
        return ", but close: give the exact number, not a rounded one"
    if a.ndim:
        wrong = [str(i + 1) for i in range(len(a)) if not _same_value(a[i], b[i])]
        number, verb = ("numbers", "are") if len(wrong) > 1 else ("number", "is")
        return f": {number} {' and '.join(wrong)} of {len(a)} {verb} wrong"
    return ""


def _same_value(a: Any, b: Any, rtol: float | None = None) -> bool:
    a, b = as_array(a), as_array(b)
    if a.dtype.kind not in "iuf" or b.dtype.kind not in "iuf":
        return a.shape == b.shape and a.dtype.kind == b.dtype.kind and np.array_equal(a, b)
    if rtol is None:
        rtol = ROUNDING if np.array_equal(b, np.round(b)) else 1e-3
    return a.shape == b.shape and bool(np.allclose(a, b, rtol=rtol, atol=0))


def _all_trials(exercise: Exercise, answer: Callable) -> list[Trial]:
    """Run the answer on all arguments, ordinary and hard ones."""
    trials = []
    for size in range(SIZES):
        trials.append(_try(exercise, answer, draw(exercise, size)))
    usual = list(trials)
    for i, hard in enumerate(exercise.hard):
        arguments = hard.draw(np.random.default_rng(200 + i))
        try:
            trials.append(_try(exercise, answer, arguments, hard.words))
        except CallError:
            if all(_right(t, n) for t in usual for n in range(len(exercise.outputs))):
                raise
            return usual  # already wrong on these, where the cause is easier to see
    return trials


def _try(exercise: Exercise, answer: Callable, arguments: tuple, hard: str = "") -> Trial:
    outputs = len(exercise.outputs)
    expected = unpacked(exercise.answer(*copied(arguments)), outputs)
    try:
        returned = call(answer, arguments, outputs)
    except CallError as error:
        _cases[exercise.name] = _as_case(exercise, arguments, ())
        prefix = f"right elsewhere, but not {hard}. " if hard else ""
        raise CallError(f"{prefix}{error}") from None
    if len(returned) != outputs:
        _cases[exercise.name] = _as_case(exercise, arguments, ())
        raise WrongAnswerError(_count_words(exercise, len(returned)))
    return Trial(arguments, returned, expected, exercise.rtol, hard)


def _count_words(exercise: Exercise, found: int) -> str:
    expected = len(exercise.outputs)
    if expected == 1:
        return (
            f"expected 1 result, found a tuple of {found}. The functions of minivit return "
            "(out, cache): is the cache still in the result? Unpack: out, _ = …"
        )
    return f"expected {expected} results ({', '.join(exercise.outputs)}), found {found}"


def _right(trial: Trial, i: int) -> bool:
    return same(trial.returned[i], trial.expected[i], trial.rtol)


def _refuse_loops(exercise: Exercise, answer: Callable) -> None:
    """If loops are not allowed, check that larger arguments do not run more lines."""
    if exercise.grown is None:
        return
    few, many = (
        lines_run(answer, exercise.grown(np.random.default_rng(300), number)) for number in (2, 5)
    )
    if many > few:
        raise WrongAnswerError(
            f"right, but with a loop: larger arguments run {many} lines and smaller ones {few}. "
            "This exercise allows no loops: use operations on whole arrays"
        )


def _try_float32(exercise: Exercise, answer: Callable) -> str:
    """Check that float32 arguments give about the same numbers; a note if the result is float64."""
    arguments = draw(exercise, 0, "float32")
    trial = _try(exercise, answer, arguments)
    for i, name in enumerate(exercise.outputs):
        returned, expected = as_array(trial.returned[i]), as_array(trial.expected[i])
        if not same(returned, expected, max(exercise.rtol, FLOAT32_RTOL)):
            raise WrongAnswerError(f"{name} is right in float64, but too inaccurate in float32")
        if expected.dtype == np.float32 and returned.dtype == np.float64 and returned.ndim:
            return (
                f". (Note: {name} is float64, although the arguments are float32. np.sqrt(2) and "
                "np.zeros(3) are float64; math.sqrt(2) and np.zeros_like(x) keep the array's "
                "dtype)"
            )
    return ""


def _gradient_error(exercise: Exercise, answer: Callable) -> float:
    """The largest relative error, compared with finite differences."""
    assert exercise.forward is not None
    arguments = draw(exercise, 0)
    objective, tensors = exercise.forward(*arguments)
    returned = call(answer, arguments, len(exercise.outputs))
    gradients = {name: np.asarray(g, float) for name, g in zip(tensors, returned, strict=False)}
    worst = max(check_gradients(objective, gradients, tensors), key=lambda result: result.error)
    if not worst.passed:
        raise WrongAnswerError(
            f"{worst.tensor} disagrees with finite differences: along {worst.where} it gives "
            f"{worst.analytic:.6g}, and finite differences give {worst.numeric:.6g}"
        )
    return worst.error
