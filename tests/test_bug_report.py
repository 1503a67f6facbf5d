"""`minivit doctor --report` prints what a bug report needs, without identifying the machine or its
user."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

import minivit
from minivit.backend import host
from minivit.commands import bug_report, doctor

ROOT = Path(__file__).parents[1]
FOR_USERS = ("cuda12", "cuda13", "fast", "notebooks", "mpi", "onnx", "tensorboard")
"""Extras that change what minivit does; the others are for its developers."""


def test_the_report_is_complete_and_nothing_is_measured(capsys, monkeypatch):
    for measure in ("gemm_rate", "memory_bandwidth"):
        monkeypatch.delattr(doctor, measure)
    assert doctor.run(["--report"]) == 0
    printed = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert printed["minivit"].startswith(f"{minivit.__version__}, ")
    assert f"numpy {bug_report.importlib.metadata.version('numpy')}" in printed["packages"]
    for name in ("system", "Python", "CPU", "cores", "memory", "BLAS", "GPU", "variables", "text"):
        assert printed[name]


def test_no_names_or_paths_are_printed():
    owner = "wilhelmina"
    home = f"C:\\Users\\{owner}" if os.name == "nt" else f"/home/{owner}"
    secrets = {"USER": owner, "USERNAME": owner, "LOGNAME": owner, "HOSTNAME": owner, "HOME": home}
    paths = dict.fromkeys(bug_report.VARIABLES, f"{home}/data")
    harmless = {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "1", "PYTHONIOENCODING": "utf-8"}
    program = "import matplotlib, minivit.commands as c; c.main(['doctor', '--report'])"
    matplotlib = {"MPLBACKEND": "agg", "LOKY_MAX_CPU_COUNT": "3", "NUMBA_NUM_THREADS": "1"}
    printed = subprocess.check_output(
        [sys.executable, "-c", program],
        env=os.environ | secrets | paths | harmless | matplotlib | {host.SWITCH: "1"},
        cwd=ROOT,
        encoding="utf-8",
    )
    assert owner not in printed
    assert "MINIVIT_DATA=(set)" in printed
    assert "LOKY_MAX_CPU_COUNT=3" in printed
    for path in (ROOT, sys.prefix, Path.home()):
        assert len(str(path)) < 3 or str(path) not in printed


def test_a_value_is_printed_unless_it_may_be_a_path_or_an_address():
    for value in ("", "8", "0,1", "SkylakeX", "de_DE.UTF-8", "utf-8:strict"):
        assert bug_report.shown_value(value) == value
    for value in ("/home/me", "~", r"C:\Users", "me@example.org", "two words", "ü", "a\nb"):
        assert bug_report.shown_value(value) == "(set)"


def test_it_lists_every_package_that_users_install():
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "optional-dependencies"
    ]
    lines += [requirement for extra in FOR_USERS for requirement in extras[extra]]
    named = {re.match(r"[\w-]+", line)[0] for line in lines if not line.startswith("#")}
    assert named == set(bug_report.PACKAGES)


@pytest.mark.parametrize(
    ("origin", "location", "expected"),
    [
        ({"url": "file:///x", "dir_info": {"editable": True}}, "elsewhere", "in editable mode"),
        ({"url": "file:///x", "dir_info": {}}, "here", "installed from a folder"),
        ({"url": "file:///x.whl", "archive_info": {}}, "here", "installed from a file"),
        ({"vcs_info": {"vcs": "git", "commit_id": "1"}}, "here", "installed from git"),
        (None, "here", "installed from a package index"),
        (None, "elsewhere", "run from a folder; another copy is installed"),
    ],
)
def test_the_kind_of_installation_is_reported(origin, location, expected, monkeypatch, tmp_path):
    package = Path(minivit.__file__).parent if location == "here" else tmp_path
    found = SimpleNamespace(
        read_text=lambda name: origin and json.dumps(origin), locate_file=lambda name: package
    )
    monkeypatch.setattr(bug_report.importlib.metadata, "distribution", lambda name: found)
    assert expected in bug_report.kind_of_install()


def test_a_folder_that_was_never_installed_is_reported(monkeypatch):
    def missing(name):
        raise bug_report.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(bug_report.importlib.metadata, "distribution", missing)
    monkeypatch.setattr(bug_report.importlib.metadata, "version", missing)
    assert bug_report.kind_of_install() == "run from a folder, not installed"
    assert list(bug_report.find_packages()) == []


@pytest.mark.skipif(shutil.which("git") is None, reason="no git")
def test_the_commit_is_reported_only_for_a_clone(tmp_path, monkeypatch):
    def git(*words):
        name = ("-c", "user.name=A", "-c", "user.email=a@example.org")
        command = ["git", "-C", tmp_path, *name, *words]
        return subprocess.check_output(command, encoding="utf-8").strip()

    package = tmp_path / "minivit" / "__init__.py"
    package.parent.mkdir()
    package.touch()
    monkeypatch.setattr(minivit, "__file__", str(package))
    assert bug_report.find_commit() == ""
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "one")
    assert bug_report.find_commit() == "", "some other repository, with an environment in it"
    (tmp_path / "pyproject.toml").touch()
    assert bug_report.find_commit() == git("rev-parse", "--short", "HEAD")
    package.write_text("changed", encoding="utf-8")
    assert bug_report.find_commit() == git("rev-parse", "--short", "HEAD") + "-dirty"
    monkeypatch.setenv("PATH", "")
    assert bug_report.find_commit() == ""


def test_the_bug_report_form_asks_for_the_report():
    form = (ROOT / ".github/ISSUE_TEMPLATE/bug.yml").read_text(encoding="utf-8")
    assert "minivit doctor --report" in form
