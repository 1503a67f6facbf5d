"""Lines pasted from a chapter answer only exercises that are marked as a warm-up."""

import pytest
from course.pasting import CHAPTERS, pasted, printed

from minivit import course
from minivit.course.exercise import EXERCISES
from minivit.course.exercises import find
from minivit.errors import UserError

with pytest.raises(UserError):
    find("")  # loads them all


@pytest.mark.parametrize("name", sorted(EXERCISES))
def test_only_warm_ups_can_be_answered_from_the_chapter(name):
    exercise, chapter = EXERCISES[name], CHAPTERS[name[:2]]
    if exercise.grade is not None:
        count = len(exercise.parts)
        for function in chapter.functions.values():
            assert not course.check(name, (function,) * count if count else function)
    elif not callable(exercise.answer):
        assert exercise.warm_up or not printed(chapter, exercise)
    else:
        assert exercise.warm_up or not pasted(chapter, exercise)


@pytest.mark.parametrize("name", ["01.a", "01.b", "02.a", "02.b", "03.d", "04.a", "06.d", "13.b"])
def test_a_pasted_answer_is_detected(name):
    """A function unchanged; with other names; lines from several cells, with and without axis
    letters."""
    assert pasted(CHAPTERS[name[:2]], EXERCISES[name])
