"""Every exercise of the course: the right answer passes, and each common wrong answer is
identified."""

import numpy as np
import pytest

from minivit import course
from minivit.course.exercise import EXERCISES
from minivit.course.exercises import find
from minivit.course.trial import unpacked
from minivit.errors import UserError

with pytest.raises(UserError):
    find("")  # loads them all

NAMES = sorted(EXERCISES)
FUNCTIONS = [name for name in NAMES if callable(EXERCISES[name].answer)]
PLAIN = [name for name in FUNCTIONS if EXERCISES[name].grade is None]


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Answers that are used in training are trained for only a few steps."""
    monkeypatch.setenv("MINIVIT_COURSE_SMALL", "1")


@pytest.mark.parametrize("name", NAMES)
def test_the_right_answer_passes(name):
    verdict = course.check(name, EXERCISES[name].answer)
    assert verdict, verdict
    assert repr(verdict).startswith(f"{name} ✓ right")


@pytest.mark.parametrize("name", NAMES)
def test_every_common_mistake_is_refused_and_named(name):
    mistakes = EXERCISES[name].mistakes
    assert len(mistakes) >= 3
    assert len({mistake.words for mistake in mistakes}) == len(mistakes)
    for mistake in mistakes:
        verdict = course.check(name, mistake.wrong)
        assert not verdict
        assert mistake.words in verdict.words


@pytest.mark.parametrize("name", NAMES)
def test_stubs_do_not_pass(name):
    def dots(*arguments): ...

    def raises(*arguments):
        raise NotImplementedError

    for stub in (None, ..., dots, raises) if name in FUNCTIONS else (None, ...):
        verdict = course.check(name, stub)
        assert not verdict
        assert "not done yet" in verdict.words


@pytest.mark.parametrize("name", PLAIN)
def test_hidden_arguments_vary(name):
    """If axes always had the same lengths, a transposition could go unnoticed."""
    exercise = EXERCISES[name]
    drawn = [exercise.inputs(np.random.default_rng(100 + size), size) for size in range(3)]
    shapes = {str([np.shape(a) for a in arguments]) for arguments in drawn}
    values = {str(arguments) for arguments in drawn}
    assert len(shapes) > 1 or len(values) > 1, "the same arguments every time"


def is_float(name: str) -> bool:
    """Whether the exercise's first result is an array of floating-point numbers."""
    exercise = EXERCISES[name]
    first = unpacked(
        exercise.answer(*exercise.inputs(np.random.default_rng(100), 0)), len(exercise.outputs)
    )[0]
    return isinstance(first, np.ndarray) and first.dtype.kind == "f"


@pytest.mark.parametrize("name", [name for name in PLAIN if is_float(name)])
def test_every_kind_of_fault_is_named(name):
    """Modified arguments, a wrong shape, NaN: in every exercise. float64 only gets a note."""
    right = EXERCISES[name].answer

    def first(change):
        def answer(*arguments):
            result = unpacked(right(*arguments), len(EXERCISES[name].outputs))
            return (change(result[0]), *result[1:]) if len(result) > 1 else change(result[0])

        return course.check(name, answer)

    wide = first(lambda a: a.astype(np.float64))
    assert wide, "float64 is right, too"
    assert "NaN" in first(lambda a: a * np.nan).words
    assert "shape" in first(lambda a: a[None]).words

    def in_place(*arguments):
        result = right(*arguments)
        array = next(a for a in arguments if isinstance(a, np.ndarray) and a.dtype.kind == "f")
        array += 1
        return result

    assert "changed in place" in course.check(name, in_place).words
