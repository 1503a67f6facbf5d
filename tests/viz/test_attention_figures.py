"""Figures show the given numbers, each in the right place."""

import numpy as np
import pytest
from helpers import draw

from minivit.viz import (
    distance_figure,
    filters_figure,
    gallery_figure,
    heads_figure,
    overlay_figure,
    position_figure,
    rollout_figure,
    save_figure,
    similarity_figure,
)
from minivit.viz.weights import Filters

IMAGES = np.arange(2 * 3 * 8 * 12, dtype=np.uint8).reshape(2, 3, 8, 12)
MAPS = np.abs(draw(0, 2, 2, 3))


def images(axes):
    """The arrays shown in the given axes, bottom layer first."""
    return [np.asarray(image.get_array()) for image in axes.get_images()]


def scaled(heat):
    return (heat - heat.min()) / (heat.max() - heat.min())


def test_overlays_are_in_their_row_and_column():
    maps = {"one": MAPS, "two": MAPS[::-1]}
    figure = overlay_figure(IMAGES, maps, ["a", "b"], ["blue", "red"])
    *panels, bar = figure.axes
    axes = np.array(panels).reshape(2, 3)
    for row in range(2):
        np.testing.assert_array_equal(images(axes[row, 0])[0], IMAGES[row].transpose(1, 2, 0))
        for column, found in enumerate(maps.values(), 1):
            shown = images(axes[row, column])[-1]
            np.testing.assert_allclose(shown, scaled(found[row]))
            image = axes[row, column].get_images()[-1]
            assert image.get_extent() == [-0.5, 11.5, 7.5, -0.5], "row 0 is above"
    assert [axes[0, i].get_title() for i in (1, 2)] == ["one", "two"]
    assert axes[1, 0].get_ylabel() == "b"
    assert axes[1, 0].yaxis.label.get_color() == "red"
    assert [tick.get_text() for tick in bar.get_yticklabels()] == ["min", "max"]


def test_a_map_without_contrast_is_dark_and_not_an_error():
    figure = rollout_figure(IMAGES[0], np.ones((1, 2, 3)))
    assert images(figure.axes[1])[-1].max() == 0.0


@pytest.mark.parametrize("prefix", [0, 1, 3])
def test_heads_show_the_row_of_the_query(prefix):
    T = 6 + prefix
    maps = np.abs(draw(1, 2, 3, T, T))  # asymmetric, so using a column would be noticed
    figure = heads_figure(maps, (2, 3), query=4, num_prefix=prefix)
    *panels, bar = figure.axes
    assert [tick.get_text() for tick in bar.get_yticklabels()] == ["0", "max"]
    axes = np.array(panels).reshape(2, 3)
    for layer, head in np.ndindex(2, 3):
        (shown,) = images(axes[layer, head])
        expected = maps[layer, head, 4, prefix:].reshape(2, 3)
        np.testing.assert_array_equal(shown, expected)
        (mark,) = axes[layer, head].get_lines()
        row, column = divmod(4 - prefix, 3)
        assert (mark.get_xdata()[0], mark.get_ydata()[0]) == (column, row)


def test_the_class_token_has_no_position_to_mark():
    figure = heads_figure(np.abs(draw(1, 1, 1, 7, 7)), (2, 3), query=0, num_prefix=1)
    assert not figure.axes[0].get_lines()
    assert "class token" in figure.get_suptitle()


def test_distances_are_plotted_by_layer():
    distances = np.array([[1.0, 2.0], [3.0, 5.0], [6.0, 8.0]])
    (axes,) = distance_figure(distances, chance=7.0).axes
    chance, dots, mean = axes.get_lines()
    assert chance.get_ydata()[0] == 7.0
    assert list(zip(dots.get_xdata(), dots.get_ydata(), strict=True)) == [
        (layer + 1, distance) for layer in range(3) for distance in distances[layer]
    ]
    np.testing.assert_array_equal(mean.get_ydata(), [1.5, 4.0, 7.0])


def test_positions_and_similarities_share_a_scale():
    similarity = np.clip(draw(3, 2, 3, 2, 3), -1, 1)
    axes = position_figure(similarity).axes[0]
    assert axes.get_images()[0].get_clim() == (-1, 1)
    shown = np.ma.filled(images(axes)[0], np.nan)
    assert shown.shape == (2 * 3 - 1, 3 * 4 - 1)
    for row, column in np.ndindex(2, 3):
        one = shown[3 * row : 3 * row + 2, 4 * column : 4 * column + 3]
        np.testing.assert_array_equal(one, similarity[row, column])
    assert np.isnan(shown[2]).all()
    assert np.isnan(shown[:, 3::4]).all()
    tokens = np.clip(draw(4, 3, 5, 5), -1, 1)
    axes = similarity_figure(tokens).axes
    for layer in range(3):
        np.testing.assert_array_equal(images(axes[layer])[0], tokens[layer])


def test_filters_are_scaled_around_gray():
    components = draw(5, 9, 3, 4, 4)
    axes = filters_figure(Filters(components, np.full(9, 0.05))).axes
    shown = images(axes[8])[0]
    expected = 0.5 * components[8] / np.abs(components[8]).max()
    np.testing.assert_allclose((shown - 0.5).transpose(2, 0, 1), expected)
    assert axes[0].get_title() == "5.0 %"


def test_the_gallery_marks_right_and_wrong_predictions():
    probs = np.array([[0.9, 0.1], [0.7, 0.3]])
    figure = gallery_figure(IMAGES, probs, ["cat", "dog"], labels=[0, 1])
    first, second = figure.axes
    assert first.get_title() == "cat 90 %"
    assert second.get_title() == "✗ cat 70 %\ntrue: dog"
    assert first.title.get_color() != second.title.get_color()
    unknown = gallery_figure(IMAGES, probs, ["cat", "dog"]).axes[1]
    assert unknown.get_title() == "cat 70 %"


def test_one_channel_is_drawn_in_gray():
    gray = IMAGES[:, :1]
    assert images(gallery_figure(gray, np.ones((2, 1)), ["a"]).axes[0])[0].shape == (8, 12)
    components = draw(5, 2, 1, 4, 4)
    assert images(filters_figure(Filters(components, np.ones(2))).axes[0])[0].shape == (4, 4)


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_figures_are_saved_in_new_folders(tmp_path, suffix):
    path = tmp_path / "new" / f"gallery.{suffix}"
    save_figure(gallery_figure(IMAGES, np.ones((2, 1)), ["a"]), path)
    start = path.read_bytes()[:100]
    assert start.startswith(b"\x89PNG") if suffix == "png" else b"<?xml" in start
