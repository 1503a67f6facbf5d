"""Curves and the confusion matrix show the given numbers."""

import errno
import os

import numpy as np
import pytest

from minivit.viz import confusion_figure, curves_figure, save_figure

STEPS = [
    {"kind": "step", "step": n, "epoch": n / 4, "loss": 2 / n, "accuracy": n / 10, "lr": 1e-3 * n}
    for n in range(1, 9)
]
EPOCHS = [
    {
        "kind": "epoch",
        "step": 4 * n,
        "epoch": n,
        "train_loss": 1 / n,
        "train_accuracy": 0.3 * n,
        "val_loss": 1.5 / n,
        "val_accuracy": 0.2 * n,
    }
    for n in (1, 2)
]
TEST = [{"kind": "test", "step": 8, "test_accuracy": 0.456}]


def curves(axes):
    """[(x, y)] of the lines in the given axes."""
    return [(list(line.get_xdata()), list(line.get_ydata())) for line in axes.get_lines()]


def legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_the_curves_show_the_metrics():
    loss, accuracy, rate = curves_figure(STEPS + EPOCHS).axes
    assert [axes.get_title() for axes in (loss, accuracy, rate)] == [
        "loss",
        "accuracy",
        "learning rate",
    ]
    assert {axes.get_xlabel() for axes in (loss, accuracy, rate)} == {"epoch"}
    at = [n / 4 for n in range(1, 9)]
    assert curves(loss) == [
        (at, [2 / n for n in range(1, 9)]),
        ([1, 2], [1.0, 0.5]),
        ([1, 2], [1.5, 0.75]),
    ]
    found = [y for _, y in curves(accuracy)]
    for values, percent in zip(
        found, ([10, 20, 30, 40, 50, 60, 70, 80], [30, 60], [20, 40]), strict=True
    ):
        np.testing.assert_allclose(values, percent)
    assert curves(rate) == [(at, [1e-3 * n for n in range(1, 9)])]
    assert legend(loss) == legend(accuracy) == ["training, last steps", "training", "validation"]


def test_the_test_result_is_a_horizontal_line_labeled_with_its_value():
    _, accuracy, _ = curves_figure(STEPS + EPOCHS + TEST).axes
    _, level = curves(accuracy)[-1]
    np.testing.assert_allclose(level, 45.6)
    assert legend(accuracy)[-1] == "test 45.60 %"


@pytest.mark.parametrize("metrics", [[], STEPS[:1], STEPS, EPOCHS])
def test_a_run_that_has_just_started_can_be_plotted(tmp_path, metrics):
    save_figure(curves_figure(metrics), tmp_path / "a.png", dpi=40)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_cells_show_fractions_of_each_true_class():
    confusion = np.array([[3, 1, 0], [0, 0, 0], [1, 0, 999]])
    (axes,) = confusion_figure(confusion, ["ant", "bee", "cat"], "Pets").axes
    (image,) = axes.get_images()
    np.testing.assert_allclose(
        image.get_array(), [[75, 25, 0], [0, 0, 0], [0.1, 0, 99.9]], atol=1e-12
    )
    texts = {text.get_position(): text.get_text() for text in axes.texts}
    assert texts == {(0, 0): "75", (1, 0): "25", (2, 2): "100"}  # (column, row); no zeros
    colors = {text.get_position(): text.get_color() for text in axes.texts}
    assert colors == {(0, 0): "white", (1, 0): "black", (2, 2): "white"}
    assert axes.get_title() == "Pets"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true")
    for ticks in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert [tick.get_text() for tick in ticks] == ["ant", "bee", "cat"]


@pytest.mark.parametrize(("count", "named"), [(26, 26), (100, 50), (200, 50), (1000, 59)])
def test_for_many_classes_colors_show_fractions_and_some_classes_are_labeled(count, named):
    names = [f"a name of {k} that is far too long" for k in range(count)]
    figure = confusion_figure(np.eye(count, dtype=int), names)
    axes, scale = figure.axes
    assert not axes.texts
    assert max(figure.get_size_inches()) == max(
        confusion_figure(np.eye(25, dtype=int), names[:25]).get_size_inches()
    )
    for ticks in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert len(ticks) == named
        assert max(len(tick.get_text()) for tick in ticks) <= 20
    assert [tick.get_text() for tick in scale.get_yticklabels()][::5] == ["0 %", "100 %"]


@pytest.mark.parametrize(
    ("suffix", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")]
)
def test_a_figure_is_written_in_the_format_of_its_name(tmp_path, suffix, start):
    save_figure(curves_figure(EPOCHS), tmp_path / f"a.{suffix}", dpi=40)
    assert (tmp_path / f"a.{suffix}").read_bytes().startswith(start)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_failed_write_leaves_the_old_figure(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space") as error:
        save_figure(curves_figure(EPOCHS), path, dpi=40)
    assert error.value.filename == str(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
