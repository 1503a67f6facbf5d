"""The exercises, a file a chapter: the right answer, and the usual wrong ones with their names.

Importing a chapter adds its exercises to `minivit.course.exercise.EXERCISES`.
"""

import importlib
import pkgutil

for module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{module.name}")
