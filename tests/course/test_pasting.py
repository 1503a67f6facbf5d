"""Pasting a chapter's own lines answers no exercise that is not marked as a warm-up."""

import pytest
from course.pasting import CHAPTERS, pasted, printed

from minivit import course
from minivit.course.exercise import EXERCISES
from minivit.course.exercises import find
from minivit.errors import UserError

with pytest.raises(UserError):
    find("")  # which loads them all


@pytest.mark.parametrize("name", sorted(EXERCISES))
def test_what_the_chapter_prints_is_a_warm_up(name):
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
def test_a_paste_is_found(name):
    """A function as it is; with other names; lines of several cells, with and without letters."""
    assert pasted(CHAPTERS[name[:2]], EXERCISES[name])
