"""Where data sets are stored: --data-dir, ./data if it exists, MINIVIT_DATA, the user's cache
folder."""

import dataclasses
import sys
from pathlib import Path

import pytest
from synthetic_data import idx_files, write_folder

from minivit.commands import run
from minivit.data import SOURCES
from minivit.data.locations import folder_of
from minivit.data.mnist import MNIST
from minivit.engine import Run

SMALL = dataclasses.replace(MNIST, counts={"train": 12, "t10k": 4})
SOURCE = dataclasses.replace(SOURCES["mnist"], load=SMALL.load_for, find=SMALL.find)

pytestmark = pytest.mark.filterwarnings("ignore:.*could not be verified")


@pytest.fixture(autouse=True)
def shared(tmp_path, monkeypatch):
    """The folder that MINIVIT_DATA names; the working directory is a different one."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("MINIVIT_DATA", str(tmp_path / "shared"))
    return tmp_path / "shared"


def put_mnist(folder: Path) -> None:
    write_folder(folder / "mnist", idx_files(SMALL)[0])


def test_the_folder_given_as_an_argument_comes_first(tmp_path):
    put_mnist(Path("data"))
    assert folder_of(SOURCE, Path("mine")) == tmp_path / "work" / "mine"


def test_existing_data_is_found_before_the_shared_folder(tmp_path, shared):
    put_mnist(shared)
    assert folder_of(SOURCE) == shared
    Path("data").mkdir()
    assert folder_of(SOURCE) == shared  # the folder exists, but contains no MNIST files
    put_mnist(Path("data"))
    assert folder_of(SOURCE) == tmp_path / "work" / "data"
    assert folder_of(SOURCES["fashion-mnist"]) == shared


def test_a_file_with_that_name_is_not_a_data_folder(shared):
    Path("data").touch()
    for source in SOURCES.values():
        assert folder_of(source) == shared


@pytest.mark.parametrize("empty", [True, False])
def test_without_the_variable_the_users_cache_is_used(tmp_path, monkeypatch, empty):
    monkeypatch.setenv("MINIVIT_DATA", "") if empty else monkeypatch.delenv("MINIVIT_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found = folder_of(SOURCE)
    assert "minivit" in found.parts
    assert found.is_absolute()
    if sys.platform == "linux":
        assert found == tmp_path / "cache" / "minivit"


def test_a_run_remembers_where_its_data_is(tmp_path, monkeypatch, capsys):
    """So a run trained on ./data can be evaluated from another folder."""
    monkeypatch.setitem(SOURCES, "mnist", SOURCE)
    put_mnist(Path("data"))
    flags = ["--dim", "16", "--depth", "1", "--num-heads", "2", "--epochs", "1"]
    assert run("train", ["--dataset", "mnist", "--batch-size", "4", *flags]) == 0
    (path,) = (tmp_path / "work" / "runs").iterdir()
    assert Run(path).read_config().data_dir == tmp_path / "work" / "data"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert run("evaluate", [str(path)]) == 0
    assert "MNIST (unofficial bytes), 4 test images" in capsys.readouterr().out
