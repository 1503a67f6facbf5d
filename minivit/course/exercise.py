"""An exercise: the right answer, arguments to test an answer on, and common mistakes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Mistake:
    """A common mistake, recognized in any answer that gives the same numbers.

    words: the description for the reader: "the mean over the token is missing …".
    wrong: a function that makes this mistake, with the arguments and results of the exercise's
    answer; if the answer is a number, the wrong number.
    """

    words: str
    wrong: Any


@dataclass(frozen=True)
class Hard:
    """Arguments on which an answer can fail even if it is right on ordinary ones.

    words: what is hard about them: "where one row has large logits and the others do not".
    draw: draws the arguments.
    """

    words: str
    draw: Callable[[np.random.Generator], tuple]


@dataclass(frozen=True)
class Exercise:
    """One exercise of the course.

    name: chapter and letter, "04.b".
    answer: the right function or number. The source of a function written with `def` in plain
        NumPy is analyzed, too: see `minivit.course.slips`.
    outputs: the names of its results, for messages.
    inputs: draws arguments: (generator, size) -> tuple; size 0, 1, 2 … gives different shapes.
    hard: further arguments, which catch answers that are right by chance.
    mistakes: common mistakes.
    forward: if `answer` is a gradient: the function whose gradient it is, as
        (args) -> (function, tensors): `function()` returns the loss as a number, `tensors` are the
        arrays to perturb, in the order of `outputs`. See `minivit.course.grader`.
    grown: if loops are not allowed: draws arguments whose size grows with a number,
        (generator, number) -> tuple; the number of lines run must stay the same.
    warm_up: whether the chapter shows the answer.
    grade: for answers with many named results: grades the answer instead of the default grader.
        See `minivit.course.whole`.
    reason: for a multiple-choice question: why the right answer is right. The mistakes then say
        why the others are wrong.
    parts: if the answer consists of functions from other exercises: the names of those exercises.
        Each function is graded first.
    rtol: tolerance relative to the largest number in the result.
    """

    name: str
    answer: Any
    outputs: tuple[str, ...] = ("the result",)
    inputs: Callable[[np.random.Generator, int], tuple] = lambda rng, size: ()
    hard: tuple[Hard, ...] = ()
    mistakes: tuple[Mistake, ...] = ()
    forward: Callable[..., tuple[Callable[[], float], dict[str, np.ndarray]]] | None = None
    grown: Callable[[np.random.Generator, int], tuple] | None = None
    warm_up: bool = False
    grade: Callable[[Any, Callable], str] | None = None
    reason: str = ""
    parts: tuple[str, ...] = ()
    rtol: float = 1e-6


EXERCISES: dict[str, Exercise] = {}


def add(*exercises: Exercise) -> None:
    """Register exercises by their names."""
    for exercise in exercises:
        if exercise.name in EXERCISES:
            raise ValueError(f"there are two exercises {exercise.name}")
        EXERCISES[exercise.name] = exercise


def question(name: str, right: str, **reasons: str) -> None:
    """Add a multiple-choice question, with a reason for each letter.

    reasons: by letter, why it is right or wrong: question("09.g", "b", a="…", b="…").
    """
    wrong = (Mistake(words, letter) for letter, words in reasons.items() if letter != right)
    add(Exercise(name=name, answer=right, mistakes=tuple(wrong), reason=reasons[right]))


def gradient_of(function: Callable, *names: str) -> Callable:
    """`Exercise.forward` for an answer `backward(dout, *arguments)`, the backward pass
    of `function(*arguments)`: the loss is Σ dout·function(*arguments).

    names: names for the leading arguments, those whose gradients the answer returns, in order.
    """

    def forward(
        dout: np.ndarray, *arguments: Any
    ) -> tuple[Callable[[], float], dict[str, np.ndarray]]:
        copies = [np.array(a) if isinstance(a, np.ndarray) else a for a in arguments]
        tensors = dict(zip(names, copies, strict=False))
        return lambda: float((dout * function(*copies)).sum()), tensors

    return forward
