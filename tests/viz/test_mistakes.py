"""The mistakes of a model: which are shown, and what the table and the figure contain."""

import csv
import io

import numpy as np
import pytest

from minivit.data import Dataset, Split
from minivit.engine.evaluation import Evaluation, Predictions
from minivit.viz import mistakes
from minivit.viz.mistakes import image_name, least_certain, save_mistakes, wrong_rows
from minivit.viz.style import BLUE, ORANGE

NAMES = ("cat, tame", 'dog "wild"', "猫")
LABELS = np.array([0, 1, 2, 0, 1])
ANSWERS = Predictions(
    np.array([[0, 1], [0, 1], [2, 0], [1, 2], [2, 1]]),
    np.array([[0.9, 0.05], [0.8, 0.1], [0.5, 0.45], [0.4, 0.39], [0.95, 0.01]]),
)
FOUND = Evaluation(0.4, 1.0, np.zeros((3, 3), int), ANSWERS)


def dataset(names=None, labels=LABELS):
    images = np.random.default_rng(0).integers(0, 256, (len(labels), 3, 8, 10), dtype=np.uint8)
    split = Split(images, labels, names=None if names is None else np.array(names))
    return Dataset("Pets", split, split, NAMES)


@pytest.fixture
def drawn(monkeypatch):
    """Collects the figures that are saved."""
    found = []
    save = mistakes.save_figure
    monkeypatch.setattr(
        mistakes, "save_figure", lambda figure, path: (found.append(figure), save(figure, path))
    )
    return found


def test_the_most_confident_mistakes_and_the_least_certain_predictions_come_first():
    assert wrong_rows(ANSWERS, LABELS).tolist() == [4, 1, 3]
    assert least_certain(ANSWERS).tolist() == [3, 2, 1, 0, 4]


def test_the_table_contains_all_mistakes(tmp_path, monkeypatch):
    monkeypatch.setattr(mistakes, "NUM_WRONG", 1)
    files = ["a.png", "dogs/b,c.png", "猫/\udcff.png", "d.png", "=e.png"]
    assert save_mistakes(dataset(files), FOUND, tmp_path) == "mistakes.png, mistakes.csv"
    raw = (tmp_path / "mistakes.csv").read_bytes()
    assert b"\r" not in raw
    rows = list(csv.reader(io.StringIO(raw.decode("utf-8", "surrogateescape"))))
    assert rows == [
        ["image", "true", "predicted", "probability"],
        ["=e.png", NAMES[1], NAMES[2], "0.95"],
        ["dogs/b,c.png", NAMES[1], NAMES[0], "0.8"],
        ["d.png", NAMES[0], NAMES[1], "0.4"],
    ]
    assert (tmp_path / "mistakes.png").read_bytes().startswith(b"\x89PNG")


def test_an_image_without_a_name_is_identified_by_its_number():
    assert image_name(dataset().test, 3) == "test image 3"
    assert image_name(dataset(list("abcde")).test, 3) == "d"


def test_the_figure_shows_each_image_once_with_its_predicted_class(tmp_path, drawn, monkeypatch):
    monkeypatch.setattr(mistakes, "NUM_WRONG", 2)
    monkeypatch.setattr(mistakes, "NUM_UNSURE", 2)
    data = dataset()
    save_mistakes(data, FOUND, tmp_path)
    shown = [axes for axes in drawn[0].axes if axes.images]
    assert [axes.get_xlabel() for axes in shown] == [f"test image {i}" for i in (4, 1, 3, 2)]
    for axes, row in zip(shown, (4, 1, 3, 2), strict=True):
        pixels = data.test.images[row].transpose(1, 2, 0)
        np.testing.assert_array_equal(axes.images[0].get_array(), pixels)
    assert [axes.get_title() for axes in shown] == [
        '✗ 猫 95 %\ndog "wild" 1 %\ntrue: dog "wild"',
        '✗ cat, tame 80 %\ndog "wild" 10 %\ntrue: dog "wild"',
        '✗ dog "wild" 40 %\n猫 39 %\ntrue: cat, tame',
        "猫 50 %\ncat, tame 45 %",
    ]
    assert [axes.title.get_color() for axes in shown] == [ORANGE, ORANGE, ORANGE, BLUE]
    first, second = (part.get_suptitle() for part in drawn[0].subfigs)
    assert first == "Mistakes, most confident first: 2 of 3 mistakes among 5 test images"
    assert second.startswith("Least certain of the others")


@pytest.mark.parametrize(
    ("labels", "groups"),
    [(ANSWERS.classes[:, 0], ["Least"]), (ANSWERS.classes[:, 1], ["Mista"])],
)
def test_if_all_predictions_are_right_or_all_wrong_there_is_one_group(
    tmp_path, drawn, labels, groups
):
    save_mistakes(dataset(labels=labels), FOUND, tmp_path)
    assert [part.get_suptitle()[:5] for part in drawn[0].subfigs] == groups
    lines = (tmp_path / "mistakes.csv").read_bytes().splitlines()
    assert len(lines) == (1 if groups == ["Least"] else 6)
