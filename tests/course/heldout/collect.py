"""How a held-out answer is written down: `wrong("04.a", "beta", answer)`, `right("04.a", answer)`.

The answers in this folder are what people write: in forums, in public repositories, in homework.
They were written from the text of the exercises alone, and measure the grader; none may be copied
into `minivit/course/exercises` or out of it, which `test_heldout.py` sees to.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    """An answer to an exercise. cause: a pattern that names its mistake; None: right."""

    exercise: str
    cause: str | None
    answer: Any


ANSWERS: list[Answer] = []


def wrong(exercise: str, cause: str, *answers: Any) -> None:
    """Answers with one and the same mistake."""
    ANSWERS.extend(Answer(exercise, cause, answer) for answer in answers)


def right(exercise: str, *answers: Any) -> None:
    """Right answers, each in a style of its own."""
    ANSWERS.extend(Answer(exercise, None, answer) for answer in answers)
