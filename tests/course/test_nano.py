"""Nano, trained with a reader's own gradients and Adam."""

import ast
import inspect
import json
import math
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from minivit import course
from minivit.course import nano, right
from minivit.course.trial import WrongAnswerError
from minivit.course.whole import vit_backward
from minivit.data import shapes

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def function_in(path: Path, name: str) -> ast.FunctionDef:
    """A function's definition in a notebook."""
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code" and f"def {name}(" in "".join(cell["source"]):
            for node in ast.parse("".join(cell["source"])).body:
                if isinstance(node, ast.FunctionDef) and node.name == name:
                    return node
    raise AssertionError(f"{path.name} has no {name}")


def reader():
    """The solutions' backward and Adam, in a different style from the course's code."""
    path, scope = NOTEBOOKS / "solutions" / "09_training.ipynb", {"np": np, "math": math}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if "def my_vit_backward" in source:
            exec(source.split("course.check")[0], scope)
    return scope["my_vit_backward"], scope["my_adam"]


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setenv("MINIVIT_COURSE_SMALL", "1")


def test_the_chapter_shows_the_training_loop_that_runs():
    shown = function_in(NOTEBOOKS / "09_training.ipynb", "train_by_hand")
    run = ast.parse(inspect.getsource(nano.train_by_hand)).body[0]
    assert ast.unparse(shown) == ast.unparse(run)
    assert len(ast.unparse(shown).splitlines()) <= 35


def test_right_functions_in_another_style_train_the_model(short, capsys):
    verdict = course.check("09.f", reader())
    assert verdict, verdict
    assert "test images classified correctly" in verdict.words
    assert capsys.readouterr().out.startswith("epoch 1: ")


def test_two_implementations_train_alike():
    data = shapes.load(num_train=64, num_test=1).train
    images = (data.images / 255 - 0.5).astype(np.float32)
    with threadpool_limits(1):
        (one,), (other,) = (
            nano.train_by_hand(*pair, images, data.labels, 1)
            for pair in (reader(), (vit_backward, right.adam))
        )
    assert one.keys() == other.keys()
    before = dict(nano.ViT(nano.ViTConfig.preset("Nano/4"), seed=0).named_parameters())
    for name, array in one.items():
        assert array.dtype == np.float32
        np.testing.assert_allclose(array, other[name], atol=2e-4)
        assert not np.array_equal(array, before[name].data)


def test_a_wrong_gradient_is_reported_before_training(monkeypatch):
    monkeypatch.setattr(nano, "train_by_hand", lambda *a: pytest.fail("trained"))
    backward, adam = reader()

    def forgetful(dlogits, s, w):
        g = backward(dlogits, s, w)
        return {**g, "pos_embed": g["pos_embed"] / len(s["image"])}

    words = course.check("09.f", (forgetful, adam)).words
    assert words.startswith('course.check("07.g", …) must pass first; it says: right down to')
    assert "the first wrong one is pos_embed" in words
    assert "expected 2 functions" in course.check("09.f", backward).words
    assert "it says: not done yet" in course.check("09.f", (backward, None)).words


def test_functions_that_learn_nothing_are_refused(monkeypatch):
    monkeypatch.delenv("MINIVIT_COURSE_SMALL", raising=False)
    monkeypatch.setattr(nano, "size", lambda full, small: nano.MIN_ACCURACY if full < 1 else small)
    seen = []

    def nothing(dlogits, s, w):
        return {name: np.zeros_like(array) for name, array in w.items()}

    with pytest.raises(WrongAnswerError, match="expected at least 90%"):
        nano.grade_training((nothing, right.adam), lambda *parts: seen.extend(parts))
    assert seen[2]["accuracy"].max() < 0.5
