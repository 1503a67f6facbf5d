"""The course in `notebooks/`: exercises that grade themselves, and what the notebooks share.

from minivit import course
course.begin()                                        # figures and arrays as the course has them
course.check("04.b", my_layernorm_backward)           # right, or what the mistake looks like
"""

from minivit.course.grader import Verdict, check
from minivit.course.notebook import begin, size, slide, trained

__all__ = ["Verdict", "begin", "check", "size", "slide", "trained"]
