"""The public names: each package's `__all__`, documented, and listed as what 1.x keeps."""

import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest

import minivit

STABLE = Path(__file__).with_name("stable_names.txt")
INTERNAL = {
    "minivit.commands",  # what is promised of it is the command line
    "minivit.course.exercises",  # data of the grader
    "minivit.functional.compiled",  # chosen for the caller
    "minivit.backend.cuda",
}
PACKAGES = ["minivit"] + [
    found.name
    for found in pkgutil.walk_packages(minivit.__path__, "minivit.")
    if found.ispkg and found.name not in INTERNAL
]


def names(package: str) -> list[str]:
    return importlib.import_module(package).__all__


@pytest.mark.parametrize("package", PACKAGES)
def test_each_public_name_is_there_once_and_documented(package):
    module = importlib.import_module(package)
    assert inspect.getdoc(module)
    assert len(set(module.__all__)) == len(module.__all__)
    for name in module.__all__:
        found = getattr(module, name)
        if inspect.isclass(found) or inspect.isroutine(found):
            generated = f"{name}("  # as a dataclass's is
            assert found.__doc__, f"{package}.{name}"
            assert not found.__doc__.startswith(generated), f"{package}.{name}"


def test_the_list_of_stable_names_is_what_the_packages_offer():
    """A name that is added becomes a promise, one that is removed breaks it: change the list with
    care, and CHANGELOG.md with it."""
    listed = STABLE.read_text(encoding="utf-8").splitlines()
    assert listed == sorted(f"{package}.{name}" for package in PACKAGES for name in names(package))
