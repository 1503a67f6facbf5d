"""The built-in data set: what is drawn, that it is reproducible, and that no linear classifier
solves it."""

import numpy as np
import pytest

from minivit.data import shapes
from minivit.errors import UserError


@pytest.fixture(scope="module")
def small():
    return shapes.load(seed=3, num_train=3000, num_test=1000)


@pytest.fixture(scope="module")
def grid():
    """x and y, in units of the figure's radius, and the area of a cell."""
    axis = np.linspace(-1.2, 1.2, 481)
    y, x = np.meshgrid(axis, axis, indexing="ij")
    return x, y, (axis[1] - axis[0]) ** 2


def as_bytes(split):
    return split.images.tobytes(), split.labels.tobytes(), split.masks.tobytes()


def test_the_form_of_the_data_set(small):
    assert small.name == "Shapes"
    assert small.num_classes == len(set(small.class_names)) == 10
    for split, n in ((small.train, 3000), (small.test, 1000)):
        assert (split.images.shape, split.images.dtype) == ((n, 3, 32, 32), np.uint8)
        assert (split.labels.shape, split.labels.dtype) == ((n,), np.int64)
        assert (split.masks.shape, split.masks.dtype) == ((n, 32, 32), bool)


def test_the_same_arguments_give_the_same_bytes():
    first, second = (shapes.load(seed=5, num_train=300, num_test=70) for _ in range(2))
    assert as_bytes(first.train) == as_bytes(second.train)
    assert as_bytes(first.test) == as_bytes(second.test)


def test_the_chunk_size_does_not_matter(monkeypatch):
    whole = shapes.load(seed=5, num_train=130, num_test=10)
    monkeypatch.setattr(shapes, "CHUNK", 37)
    assert as_bytes(shapes.load(seed=5, num_train=130, num_test=10).train) == as_bytes(whole.train)


def test_one_split_does_not_depend_on_the_length_of_the_other():
    one, other = (shapes.load(seed=5, num_train=n, num_test=50) for n in (20, 90))
    assert as_bytes(one.test) == as_bytes(other.test)


def test_all_images_are_different(small):
    other = shapes.load(seed=4, num_train=100, num_test=100)
    splits = (small.train, small.test, other.train, other.test)
    sample_images = [image.tobytes() for split in splits for image in split.images]
    assert len(set(sample_images)) == len(sample_images)


def test_classes_are_balanced_and_shuffled(small):
    np.testing.assert_array_equal(np.bincount(small.train.labels), 300)
    np.testing.assert_array_equal(np.bincount(small.test.labels), 100)
    # In random order, one label in ten equals the previous label.
    assert 0.07 < np.mean(small.train.labels[1:] == small.train.labels[:-1]) < 0.13
    assert set(np.bincount(shapes.load(num_train=103, num_test=1).train.labels)) == {10, 11}


@pytest.mark.parametrize("name", shapes.CLASS_NAMES)
def test_a_figure_fits_the_unit_circle(name, grid):
    x, y, _ = grid
    inside = shapes.signed_distance(name, x, y) < 0
    assert 0.95 > np.hypot(x, y)[inside].max() - 0.05 > 0.8


@pytest.mark.parametrize("name", shapes.CLASS_NAMES)
def test_the_distance_has_slope_one_at_the_edge(name, grid):
    x, y, cell = grid
    distance = shapes.signed_distance(name, x, y)
    slope = np.hypot(*np.gradient(distance, cell**0.5))
    assert np.median(slope[abs(distance) < 0.02]) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(
    ("name", "area"),
    [
        ("circle", np.pi * 0.9**2),
        ("square", 1.4**2),
        ("triangle", 3 * np.sqrt(3) / 4),
        ("star", 5 * 0.45 * np.sin(np.pi / 5)),
        ("plus", 2 * 0.54 * 1.9 - 0.54**2),
        ("ring", np.pi * (0.95**2 - 0.55**2)),
        ("heart", (4 + np.pi) * 0.55**2),
        ("arrow", 0.75 * 0.9 + 0.44 * 1.05),
    ],
)
def test_figures_have_the_expected_areas(name, area, grid):
    x, y, cell = grid
    assert np.sum(shapes.signed_distance(name, x, y) < 0) * cell == pytest.approx(area, rel=0.02)


def test_the_orientation_of_the_figures():
    def inside(name, x, y):
        return bool(shapes.signed_distance(name, np.float64(x), np.float64(y)) < 0)

    assert inside("triangle", 0, -0.9)
    assert not inside("triangle", 0, 0.9)
    assert inside("star", 0, -0.95)
    assert inside("heart", 0, 0.9)
    assert not inside("heart", 0, -0.8)
    assert inside("arrow", 0.95, 0)
    assert inside("crescent", -0.8, 0)
    assert not inside("crescent", 0, 0)
    assert not inside("ring", 0, 0)
    assert inside("hourglass", 0.5, 0.75)
    assert not inside("hourglass", 0.3, 0)


def centroid_and_spread(mask):
    rows, columns = np.nonzero(mask)
    center = rows.mean(), columns.mean()
    return center, np.hypot(rows - center[0], columns - center[1])


def test_masks_show_the_figure_of_their_label(small):
    names = np.array(small.class_names)[small.train.labels]
    for mask in small.train.masks[names == "circle"]:
        # The mean squared distance from a disc's center is R² / 2, and larger for any other figure.
        _, spread = centroid_and_spread(mask)
        assert mask.sum() == pytest.approx(2 * np.pi * np.mean(spread**2), rel=0.03)
    for mask in small.train.masks[names == "ring"]:
        center, spread = centroid_and_spread(mask)
        assert not mask[round(center[0]), round(center[1])]
        assert spread.min() > 0.4 * spread.max()


def test_figures_are_not_cut_off(small):
    """A figure cut off by the image border would cover pixels along it."""
    masks = small.train.masks
    assert masks.sum((1, 2)).min() > 35
    border = np.ones((32, 32), bool)
    border[1:-1, 1:-1] = False
    assert np.mean(masks[:, border]) < 0.01


def test_figures_are_lighter_than_their_surroundings(small):
    luma = np.tensordot(small.train.images / 255, shapes.LUMA, axes=(1, 0))
    masks, near = small.train.masks, small.train.masks.copy()
    for axis in (1, 2):
        for step in (-2, 2):
            near |= np.roll(masks, step, axis)
    near &= ~masks
    inside, outside = ((luma * where).sum((1, 2)) / where.sum((1, 2)) for where in (masks, near))
    contrast = inside - outside
    # Half-covered pixels at the edge and soft tints reduce the difference.
    assert contrast.min() > 0.7 * shapes.CONTRAST


def test_image_statistics(small):
    """Values that would change with the drawing code, whatever the seed."""
    images, masks = small.train.images, small.train.masks
    np.testing.assert_allclose(images.mean((0, 2, 3)), [106, 101, 108], atol=3)
    np.testing.assert_allclose(images.std((0, 2, 3)), [63, 57, 66], atol=3)
    assert masks.mean() == pytest.approx(0.148, abs=0.005)


def test_a_linear_classifier_fails(small):
    def features(split):
        return np.c_[split.images.reshape(len(split), -1) / 127.5 - 1, np.ones(len(split))]

    # Ridge regression on the labels, solved for one weight per image: fewer than one per pixel.
    x, target = features(small.train[:2000]), np.eye(10)[small.train.labels[:2000]]
    products, test_products = x @ x.T, features(small.test) @ x.T
    for ridge in (1e2, 1e3, 1e4):
        weights = np.linalg.solve(products + ridge * np.eye(len(x)), target)
        assert np.mean((test_products @ weights).argmax(1) == small.test.labels) < 0.5


@pytest.mark.parametrize(
    ("arguments", "named"),
    [({"seed": -1}, "seed"), ({"num_train": 0}, "num_train"), ({"num_test": -5}, "num_test")],
)
def test_invalid_arguments_are_named(arguments, named):
    with pytest.raises(UserError, match=f"^{named}: found"):
        shapes.load(**arguments)
