"""Public names: each package's `__all__`, documented, and listed as stable in 1.x."""

import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest

import minivit

STABLE = Path(__file__).with_name("stable_names.txt")
INTERNAL = {
    "minivit.commands",  # only its command line is stable
    "minivit.course.exercises",  # data of the grader
    "minivit.functional.compiled",  # chosen automatically
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
def test_each_public_name_exists_once_and_is_documented(package):
    module = importlib.import_module(package)
    assert inspect.getdoc(module)
    assert len(set(module.__all__)) == len(module.__all__)
    for name in module.__all__:
        found = getattr(module, name)
        if inspect.isclass(found) or inspect.isroutine(found):
            generated = f"{name}("  # like that of a dataclass
            assert found.__doc__, f"{package}.{name}"
            assert not found.__doc__.startswith(generated), f"{package}.{name}"


def test_the_list_of_stable_names_matches_the_packages():
    """Adding a name makes a promise and removing one breaks it: change the list with care, and
    update CHANGELOG.md."""
    listed = STABLE.read_text(encoding="utf-8").splitlines()
    assert listed == sorted(f"{package}.{name}" for package in PACKAGES for name in names(package))
