"""The model that comes with the package: its file, its model card and the drawings."""

import hashlib
import json
import os

import numpy as np
import pytest
from safetensors import safe_open

from benchmarks.ship import MACHINE_SETTINGS, to_float16
from minivit import interop
from minivit.commands import attention
from minivit.commands.cli import guarded
from minivit.engine import load_checkpoint
from minivit.interop.shipped import SHIPPED, drawings

CARD = SHIPPED.with_name("README.md")


@pytest.fixture(scope="module")
def model():
    return interop.load(SHIPPED)


def test_the_model_card_matches_the_file():
    raw, card = SHIPPED.read_bytes(), CARD.read_text(encoding="utf-8")
    assert hashlib.sha256(raw).hexdigest() in card
    assert f"{len(raw):,} bytes" in card
    assert len(raw) < 4_000_000


def test_the_model_classifies_the_drawings_correctly(model):
    for name, image in drawings().items():
        pixels = model.preprocess(image)[None]
        logits = model.model(model.statistics.normalize(pixels))
        assert model.class_names[logits.argmax()] == name


def test_the_file_reveals_nothing_about_the_training_machine():
    with safe_open(SHIPPED, "numpy") as file:
        state = json.loads(file.metadata()["state"])
        assert {file.get_tensor(name).dtype for name in file.keys()} == {np.dtype("float16")}  # noqa: SIM118
    assert not set(MACHINE_SETTINGS) & set(state["config"])
    assert "/" not in json.dumps(state["config"])


def test_only_the_best_weights_are_shipped_in_float16():
    checkpoint = load_checkpoint(SHIPPED)
    average = {name: array + 1 for name, array in checkpoint.weights.items()}
    checkpoint.groups.update(ema=average, m=checkpoint.weights)
    again = to_float16(checkpoint)
    assert again.groups == {}
    for name, array in again.weights.items():
        np.testing.assert_array_equal(array, average[name].astype("float16"))


def test_the_drawings_are_the_same_every_time():
    one, other = drawings(), drawings()
    assert all(one[name].tobytes() == other[name].tobytes() for name in one)


# minivit attention --demo


@pytest.fixture
def demo(tmp_path, monkeypatch, capsys):
    """Run it in an empty directory; returns status, output and errors."""
    monkeypatch.chdir(tmp_path)

    def run(*flags):
        status = guarded(lambda: attention.run([*map(str, flags)]))
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def test_the_demo_needs_neither_a_run_nor_images(demo, tmp_path):
    status, out, error = demo("--demo")
    assert (status, error) == (0, "")
    assert "explorer.html" in out
    assert {path.name for path in tmp_path.iterdir()} == {"attention-demo"}
    page = (tmp_path / "attention-demo" / "explorer.html").read_text(encoding="utf-8")
    assert all(f"a drawing: {name}" in page for name in drawings())
    assert "trained on CIFAR-10" in page


def test_the_demo_takes_an_image(demo, tmp_path):
    drawings()["ship"].save(tmp_path / "mine.png")
    status, out, _ = demo("mine.png", "--demo", "--html", "page.html")
    assert (status, out) == (0, "page.html\n")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "mine.png" in page
    assert "a drawing" not in page


def test_the_demo_runs_in_a_live_page(demo, tmp_path):
    assert demo("--demo", "--live") == (0, "attention-demo/live.html\n".replace("/", os.sep), "")
    page = (tmp_path / "attention-demo" / "live.html").read_text(encoding="utf-8")
    assert all(f"a drawing: {name}" in page for name in drawings())


def test_the_demo_has_no_test_set_to_score(demo):
    status, _, error = demo("--demo", "--score")
    assert status == 2
    assert "has no test set" in error
