"""Ctrl-C and kill -9, sent to a real process: the run is resumed bit for bit."""

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
from tiny import contents

from minivit.engine import Run, load_checkpoint

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
HERE = Path(__file__).parent
FLAGS = [*tiny.FLAGS, "--dropout", "0.1", "--ema-decay", "0.9", "--save-every", "5"]


def train(where, *flags, kill="none", at=""):
    """Start the driver in a directory and wait for its end."""
    paths = [str(HERE), os.environ.get("PYTHONPATH", "")]
    return subprocess.run(
        [sys.executable, str(HERE / "driver.py"), kill, at, *flags],
        cwd=where,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


def only_run(where):
    (path,) = (where / "runs").iterdir()
    return Run(path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The final result of an uninterrupted run."""
    where = tmp_path_factory.mktemp("whole")
    done = train(where, *FLAGS)
    assert done.returncode == 0, done.stderr
    return contents(only_run(where))


def test_ctrl_c_saves_prints_how_to_resume_and_exits_with_130(tmp_path, whole):
    stopped = train(tmp_path, *FLAGS, kill="SIGINT", at="step:7")
    assert stopped.returncode == 130
    assert stopped.stderr == ""
    run = only_run(tmp_path)
    assert load_checkpoint(run.last).state["step"] == 7
    command = re.search(
        r"stopped and saved at step 7; to resume:\n  minivit train (--resume \S+)",
        stopped.stdout,
    )
    assert command, stopped.stdout
    assert (run.path / "curves.png").exists()
    assert not (run.path / "confusion.png").exists()

    resumed = train(tmp_path, *command[1].split())
    assert resumed.returncode == 0, resumed.stderr
    assert "resuming at step 7 of 12" in resumed.stdout
    assert "test accuracy" in resumed.stdout
    assert contents(run) == whole


@pytest.mark.parametrize(("moment", "saved"), [("step:11", 10), ("save:8", 5)])
def test_a_killed_run_is_resumed_bit_for_bit(tmp_path, whole, moment, saved):
    """Killed between two saves, and while writing a checkpoint."""
    killed = train(tmp_path, *FLAGS, kill="SIGKILL", at=moment)
    assert killed.returncode == -signal.SIGKILL
    run = only_run(tmp_path)
    assert load_checkpoint(run.last).state["step"] == saved
    assert len(list(run.last.parent.glob(".last*.part"))) == moment.startswith("save")
    resumed = train(tmp_path, "--resume", str(run.path))
    assert resumed.returncode == 0, resumed.stderr
    assert f"resuming at step {saved} of 12" in resumed.stdout
    assert contents(run) == whole


def test_the_printed_command_can_be_pasted_for_any_folder_name(tmp_path):
    done = train(tmp_path, *FLAGS, "--runs", "my runs; $HOME", kill="SIGINT", at="step:7")
    assert done.returncode == 130
    (path,) = (tmp_path / "my runs; $HOME").iterdir()
    advice = done.stdout.splitlines()[-1]
    assert shlex.split(advice) == ["minivit", "train", "--resume", f"my runs; $HOME/{path.name}"]


def test_closing_the_terminal_saves_like_ctrl_c(tmp_path):
    done = train(tmp_path, *FLAGS, kill="SIGHUP", at="step:7")
    assert (done.returncode, done.stderr) == (130, "")
    assert load_checkpoint(only_run(tmp_path).last).state["step"] == 7


def test_a_signal_that_the_parent_ignores_stays_ignored(tmp_path, monkeypatch):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        done = train(tmp_path, *FLAGS, kill="SIGINT", at="step:7")
    finally:
        signal.signal(signal.SIGINT, before)
    assert (done.returncode, done.stderr) == (0, "")
    assert only_run(tmp_path).metrics()[-1]["kind"] == "test"
