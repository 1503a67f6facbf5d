"""The layering rule: an import from a higher package is detected."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("importlinter")
ROOT = Path(__file__).parents[1]


def lint(folder):
    linter = "import sys; from importlinter.cli import lint_imports_command; lint_imports_command()"
    command = [sys.executable, "-c", linter, "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8", check=False)


@pytest.fixture
def checkout(tmp_path):
    """A copy of the package, with the rules."""
    shutil.copytree(ROOT / "minivit", tmp_path / "minivit", ignore=shutil.ignore_patterns("__py*"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_package_follows_its_layering_rule(checkout):
    done = lint(checkout)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("backend/arrays.py", "from minivit.engine import Run"),
        ("functional/gelu.py", "from minivit import layers"),
        ("models/summary.py", "from minivit.models.vit import ViT"),  # a cycle within a package
    ],
)
def test_an_upward_or_cyclic_import_is_detected(checkout, file, line):
    path = checkout / "minivit" / file
    path.write_text(path.read_text(encoding="utf-8") + f"\n{line}\n", encoding="utf-8")
    done = lint(checkout)
    assert done.returncode == 1
    assert "BROKEN" in done.stdout
