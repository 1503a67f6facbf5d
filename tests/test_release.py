"""The parts of a release: links that work on PyPI, and a trial of every command."""

from pathlib import Path

import pytest
import release

from minivit import __version__
from minivit.commands import COMMANDS

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("relative", "absolute"),
    [
        ("[a](docs/a.md)", "[a](REPO/blob/vVERSION/docs/a.md)"),
        ("![a](docs/a.png)", "![a](REPO/raw/vVERSION/docs/a.png)"),
        (
            "[![a](a.png)](notebooks)",
            "[![a](REPO/raw/vVERSION/a.png)](REPO/blob/vVERSION/notebooks)",
        ),
        ("[a](https://arxiv.org/abs/1)", "[a](https://arxiv.org/abs/1)"),
        ("[a](#install)", "[a](#install)"),
    ],
)
def test_links_are_absolute_on_pypi(relative, absolute, tmp_path, monkeypatch):
    settings = '[project.urls]\nRepository = "REPO"\n'
    (tmp_path / "pyproject.toml").write_text(settings, encoding="utf-8")
    monkeypatch.setattr(release, "ROOT", tmp_path)
    assert release.for_pypi(relative) == absolute.replace("VERSION", __version__)


def test_every_relative_link_of_the_readme_is_a_file_here():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = release.LINK.findall(text)
    made_absolute = f"/blob/v{__version__}/" in text  # in the source distribution
    assert len(targets) > 20 or made_absolute
    assert [target for target in targets if not (ROOT / target).exists()] == []
    assert release.LINK.findall(release.for_pypi(text)) == []


def test_a_release_tries_every_command(tmp_path):
    (tmp_path / "runs" / "one").mkdir(parents=True)
    lines = list(release.command_lines(tmp_path))
    assert {words[0] for words in lines if "--help" not in words} == {*COMMANDS, "--version"}
    assert {words[0] for words in lines if "--help" in words} == {*COMMANDS, "--help"}


def test_the_citation_names_this_version():
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {__version__}\n" in text
