"""What the grader says about the held-out answers: python tests/course/measure_heldout.py [EXERCISE
…]

Prints every answer whose mistake was not identified correctly, and the counts."""

import re
import sys
import warnings
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from heldout import ANSWERS
from heldout.collect import Answer

from minivit import course


def judge(answer: Answer) -> tuple[str, str]:
    """(right, refused, accepted, named, miscalled or vague; the grader's message)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        verdict = course.check(answer.exercise, answer.answer)
    if answer.cause is None:
        return ("right" if verdict else "refused"), verdict.words
    if verdict:
        return "accepted", verdict.words
    if re.search(answer.cause, verdict.words, re.IGNORECASE):
        return "named", verdict.words
    return ("miscalled" if "looks as if" in verdict.words else "vague"), verdict.words


def main() -> None:
    """Judge all answers, or those to the given exercises."""
    counts: Counter[str] = Counter()
    for number, answer in enumerate(ANSWERS):
        if sys.argv[1:] and not answer.exercise.startswith(tuple(sys.argv[1:])):
            continue
        kind, words = judge(answer)
        counts[kind] += 1
        if kind not in ("right", "named"):
            print(f"{number} {answer.exercise} {kind}: wanted {answer.cause!r}, said {words}")
    print(dict(counts))


if __name__ == "__main__":
    main()
