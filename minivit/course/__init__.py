"""The course in `notebooks/`: self-grading exercises, and helpers that the notebooks share.

In a notebook::

    from minivit import course
    course.begin()                                # set up how figures and arrays look
    course.check("04.b", my_layernorm_backward)   # says "right", or what the mistake is
    course.case("04.b")                           # the arguments on which it was wrong
"""

from minivit.course.broken import broken
from minivit.course.grader import Case, Verdict, case, check
from minivit.course.notebook import begin, move_sliders, size, slide, trained
from minivit.course.published import published
from minivit.course.whole import block_forward, vit_forward

__all__ = [
    "Case",
    "Verdict",
    "begin",
    "block_forward",
    "broken",
    "case",
    "check",
    "move_sliders",
    "published",
    "size",
    "slide",
    "trained",
    "vit_forward",
]
