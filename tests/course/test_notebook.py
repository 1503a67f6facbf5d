"""Helpers that the notebooks share: sizes, sliders, a model that is trained only once."""

import contextlib
import io
import sys

import numpy as np
import pytest
import tiny

from minivit import course
from minivit.course import notebook
from minivit.course.folding import is_drawing
from minivit.engine import Trainer


def test_the_size_depends_on_the_environment_variable(monkeypatch):
    monkeypatch.delenv(notebook.SMALL, raising=False)
    assert course.size(full=5, small=1) == 5
    monkeypatch.setenv(notebook.SMALL, "1")
    assert course.size(full=5, small=1) == 1


def test_a_model_is_trained_only_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("minivit.data.shapes.load", tiny.dataset)
    monkeypatch.chdir(tmp_path)
    small = {"image_size": 8, "num_classes": 4, "dim": 16, "depth": 1, "num_heads": 2, "epochs": 1}
    small |= {"batch_size": 16, "val_fraction": 0.2, "threads": 1}
    settings = {**notebook.base_settings("shapes"), **small}
    monkeypatch.setattr(notebook, "base_settings", lambda name: settings)
    found = course.trained("test", pos_embed="none")
    model = found.model
    assert model.config.pos_embed == "none"
    assert len(found.class_names) == 4
    *progress, first = capsys.readouterr().out.split("\r")
    assert progress[0].startswith("epoch 1/1: ")
    assert first.startswith("runs/course-test: trained, ")
    assert first.endswith("\n")
    assert first.count("\n") == 1, "each line overwrites the one before"
    monkeypatch.setattr(Trainer, "fit", lambda self: pytest.fail("trained again"))
    again = course.trained("test", pos_embed="none").model
    np.testing.assert_array_equal(again.flat.data, model.flat.data)
    assert capsys.readouterr().out.strip() == first.strip()


def test_a_shorter_line_overwrites_a_longer_one():
    shown = io.StringIO()
    with contextlib.redirect_stdout(notebook._OneLine(shown)):
        print("epoch 1 of 2\n")
        print("done")
    assert shown.getvalue() == "epoch 1 of 2\rdone        "


SHORT = "figure, axes = plt.subplots()\naxes[0].plot(x)\naxes[1].set(title='x')"


@pytest.mark.parametrize(
    ("source", "folded"),
    [
        (SHORT, False),
        ("a = 1\nb = 2\nc = 3\nd = 4\nplt.plot(a)\nassert b", False),
        (SHORT + "\nfor panel, i in zip(axes, (1, 2)):\n    panel.set(title=i)\nb = 2", True),
        ("def bars(axes, n):\n    axes.bar(n)\n    c = 1\n    d = 2\n    e = d\n    return e",
         False),
    ],
)  # fmt: skip
def test_cells_that_draw_are_folded(source, folded):
    assert is_drawing(source) == folded


def test_without_widgets_a_figure_is_shown(monkeypatch):
    display = pytest.importorskip("IPython.display")
    plt = pytest.importorskip("matplotlib.pyplot")
    shown = []
    monkeypatch.setattr(display, "display", lambda *things, **_: shown.extend(things))
    monkeypatch.setitem(sys.modules, "ipywidgets", None)  # as if not installed

    def draw(x, y):
        figure = plt.figure()
        figure.suptitle(f"{x} {y}")
        return figure

    course.slide(draw, x=(2, 1, 3), y=("a", "b"))
    (figure,) = shown
    assert figure.get_suptitle() == "2 a"
    assert not plt.get_fignums(), "closed, so that it is shown once"


def test_moving_a_slider_redraws_the_figure(monkeypatch):
    display = pytest.importorskip("IPython.display")
    pytest.importorskip("ipywidgets")
    plt = pytest.importorskip("matplotlib.pyplot")
    updates, shown = [], []

    class Handle:
        def update(self, figure):
            updates.append(figure.get_suptitle())

    def show(thing, display_id=False):
        shown.append(thing)
        return Handle() if display_id else None

    monkeypatch.setattr(display, "display", show)

    def draw(patch_size):
        figure = plt.figure()
        figure.suptitle(f"P = {patch_size}")
        return figure

    course.slide(draw, patch_size=(4, 1, 2, 8))
    _, box = shown
    (slider,) = box.children
    assert (slider.value, tuple(slider.options)) == (4, (1, 2, 4, 8))
    assert slider.description == "patch size"
    slider.value = 8
    assert updates == ["P = 8"]


def test_a_slider_without_effect_is_found(monkeypatch):
    pytest.importorskip("IPython.display")
    plt = pytest.importorskip("matplotlib.pyplot")
    monkeypatch.setattr(notebook, "_slides", [])
    shown = {"a": 1, "b": 2}

    def draw(name, twice):
        assert shown[name]
        return plt.figure()

    course.slide(draw, name=("a", "b"), twice=(False, True))
    course.move_sliders()
    assert not plt.get_fignums()
    del shown["b"]
    with pytest.raises(KeyError, match="b"):
        course.move_sliders()
