"""`minivit trace`: the table of a trained run, and what it refuses."""

import subprocess
import sys

import pytest
import tiny
from PIL import Image

from minivit.commands.train import run as main


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run's directory, and an image."""
    root = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minivit.data.shapes.load", tiny.dataset)
        assert main([*tiny.FLAGS, "--runs", str(root / "runs")]) == 0
    (run,) = (root / "runs").iterdir()
    Image.new("RGB", (9, 9), (200, 30, 30)).save(root / "red.png")
    return run, root / "red.png"


def call(*arguments):
    """Run the command in a separate process."""
    command = [sys.executable, "-W", "error", "-m", "minivit", "trace", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60)


def test_the_table_covers_both_passes(trained):
    done = call(*trained)
    assert (done.returncode, done.stderr) == (0, "")
    assert "blocks.0.attn.probs" in done.stdout
    assert "patch_embed.dimage" in done.stdout


def test_the_flags_only_and_label(trained):
    done = call(*trained, "--only", "loss", "--label", tiny.dataset().class_names[1])
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 2


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--label", "dog"], "--label dog: the model's classes are"),
        (["--only", "cnn"], "--only cnn matches no name"),
    ],
)
def test_user_errors_are_reported_in_one_line(trained, flags, message):
    done = call(*trained, *flags)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: {message}")
    assert done.stderr.count("\n") == 1
