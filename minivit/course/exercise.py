"""What an exercise is: the right answer, arguments to try it on, and the usual wrong answers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Mistake:
    """A usual wrong answer, by which one that gives the same numbers is recognised.

    words: what was done, as said to whoever did it: "the mean over the token is missing …".
    wrong: computes it, with the arguments and results of the exercise's answer; or, where a number
        is asked for, the wrong number.
    """

    words: str
    wrong: Any


@dataclass(frozen=True)
class Hard:
    """Arguments on which answers fail that are right everywhere else.

    words: what is hard about them: "where one row has large logits and the others have not".
    draw: draws them.
    """

    words: str
    draw: Callable[[np.random.Generator], tuple]


@dataclass(frozen=True)
class Exercise:
    """One exercise of the course.

    name: chapter and letter, "04.b".
    answer: the right function, or the right number where one is asked for. A function that is
        written as `def` in plain NumPy is read, too: see `minivit.course.slips`.
    outputs: the names of what it returns, for messages.
    inputs: draws arguments: (generator, size) -> tuple; size 0, 1, 2 … asks for other shapes.
    hard: further arguments, which find out answers that are right by chance.
    mistakes: the usual ones.
    forward: where `answer` is a gradient: the function of `inputs` that it is the gradient of, as
        (args) -> (function, tensors): `function()` is the loss as a number, `tensors` what is
        moved, in the order of `outputs`. See `minivit.course.grader`.
    grown: where loops are not allowed: draws arguments that are larger the larger the number is,
        (generator, number) -> tuple; as many lines must run for each.
    warm_up: the chapter prints the answer.
    grade: where results are many and have names: grades an answer in the grader's place. See
        `minivit.course.whole`.
    because: of a question whose answers are chosen by letters: why the right one is right. What the
        mistakes say is then why the others are not.
    parts: where the answer is several functions that other exercises ask for: their names. Each is
        graded first.
    rtol: how exact a result must be, beside the largest number of it.
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
    because: str = ""
    parts: tuple[str, ...] = ()
    rtol: float = 1e-6


EXERCISES: dict[str, Exercise] = {}


def add(*exercises: Exercise) -> None:
    """Make exercises known by their names."""
    for exercise in exercises:
        if exercise.name in EXERCISES:
            raise ValueError(f"there are two exercises {exercise.name}")
        EXERCISES[exercise.name] = exercise


def question(name: str, right: str, **reasons: str) -> None:
    """Add a question whose answers are chosen by letters, with what is to be said of each.

    reasons: by letter, why it is right or why it is not: question("09.g", "b", a="…", b="…").
    """
    wrong = (Mistake(words, letter) for letter, words in reasons.items() if letter != right)
    add(Exercise(name=name, answer=right, mistakes=tuple(wrong), because=reasons[right]))


def gradient_of(function: Callable, *names: str) -> Callable:
    """`Exercise.forward` of an answer `backward(dout, *arguments)` to `function(*arguments)`: the
    loss is Σ dout·function(*arguments).

    names: of the leading arguments whose gradients the answer returns, in that order.
    """

    def forward(
        dout: np.ndarray, *arguments: Any
    ) -> tuple[Callable[[], float], dict[str, np.ndarray]]:
        copies = [np.array(a) if isinstance(a, np.ndarray) else a for a in arguments]
        tensors = dict(zip(names, copies, strict=False))
        return lambda: float((dout * function(*copies)).sum()), tensors

    return forward
