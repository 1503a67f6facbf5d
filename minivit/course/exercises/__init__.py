"""The exercises, in one or more files per chapter: the right answers and common mistakes with
their descriptions.

Importing a chapter adds its exercises to `minivit.course.exercise.EXERCISES`.
"""

import importlib
import pkgutil

from minivit.course.exercise import EXERCISES, Exercise
from minivit.errors import UserError

for module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{module.name}")


def find(name: str) -> Exercise:
    """The exercise with this name. Raises UserError if there is none."""
    if name not in EXERCISES:
        chapter = sorted(known for known in EXERCISES if known[:2] == str(name)[:2])
        raise UserError(
            f"there is no exercise {name!r}; expected one of {', '.join(chapter or EXERCISES)}"
        )
    return EXERCISES[name]
