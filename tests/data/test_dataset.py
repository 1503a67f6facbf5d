"""Splits: sampling them, resizing their images, and holding images out."""

import numpy as np
import pytest
import tiny
from PIL import Image

from minivit.data import Dataset, Split
from minivit.engine import TrainConfig
from minivit.errors import UserError
from minivit.models import ViTConfig


def uneven():
    """Classes of 40, 20 and 10 images; every image holds its own index."""
    labels = np.repeat([0, 1, 2], [40, 20, 10])
    images = np.broadcast_to(np.arange(70, dtype=np.uint8)[:, None, None, None], (70, 3, 4, 4))
    return Split(images, labels, np.zeros((70, 4, 4), bool))


@pytest.mark.parametrize(("count", "expected"), [(7, [4, 2, 1]), (35, [20, 10, 5]), (70, None)])
def test_a_sample_keeps_the_class_proportions(count, expected):
    part = uneven().sample(count, np.random.default_rng(0))
    np.testing.assert_array_equal(np.bincount(part.labels), expected or [40, 20, 10])
    numbers = part.images[:, 0, 0, 0]
    assert len(set(numbers)) == count
    np.testing.assert_array_equal(part.labels, np.searchsorted([40, 60], numbers, side="right"))
    assert part.masks.shape == (count, 4, 4)


def test_a_sample_depends_on_its_generator():
    one, same, other = (
        uneven().sample(20, np.random.default_rng(seed)).images[:, 0, 0, 0] for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, same)
    assert set(one) != set(other)
    with pytest.raises(UserError, match="71 images requested, but there are 70"):
        uneven().sample(71, np.random.default_rng(0))


@pytest.mark.parametrize("channels", [1, 3])
def test_resizing_keeps_the_layout_of_the_image(channels):
    images = np.zeros((2, channels, 8, 8), np.uint8)
    images[0, :, :4, 4:] = 200  # upper right
    masks = images[:, 0] > 0
    part = Split(images, np.array([0, 1]), masks).resized((12, 16), "stretch")
    assert part.images.shape == (2, channels, 12, 16)
    assert part.images.dtype == np.uint8
    assert (part.images[0, :, :5, 9:] > 180).all()
    assert (part.images[0, :, 7:, :7] < 20).all()
    assert not part.images[1].any()
    assert part.masks.dtype == bool
    np.testing.assert_array_equal(part.masks[0, :6, 8:], True)
    assert part.masks[0].sum() == 6 * 8


@pytest.mark.parametrize(("resize", "expected"), [("crop", 16), ("pad", 8), ("stretch", 16)])
def test_another_shape_is_cropped_padded_or_stretched(resize, expected):
    """The upper half of an 8×8 image is white, and is marked in the mask."""
    images = np.zeros((1, 3, 8, 8), np.uint8)
    images[:, :, :4] = 255
    part = Split(images, np.zeros(1, int), images[:, 0] > 0).resized((4, 8), resize)
    assert part.images.shape == (1, 3, 4, 8)
    np.testing.assert_array_equal(part.masks, part.images[:, 0] > 127)
    assert part.masks.sum() == expected
    assert part.masks[0, :, :2].any() == (resize != "pad")


def test_a_square_image_is_not_distorted_by_any_resize_mode():
    split = tiny.split(9, 0)
    expected = [Image.fromarray(one.transpose(1, 2, 0)) for one in split.images]
    expected = [np.asarray(one.resize((12, 12), Image.Resampling.BICUBIC)) for one in expected]
    for resize in ("crop", "pad", "stretch"):
        found = split.resized((12, 12), resize).images
        np.testing.assert_array_equal(found, np.stack(expected).transpose(0, 3, 1, 2))


@pytest.mark.parametrize("name", ["shapes", "cifar10"])
def test_a_named_data_set_is_resized_as_requested(name, monkeypatch):
    """A white band at the top and bottom: going from 16×16 to 8×16 pixels removes it unless the
    image is stretched."""
    images = np.zeros((4, 3, 16, 16), np.uint8)
    images[:, :, [0, 1, 14, 15]] = 255
    data = Dataset(name, Split(images, np.arange(4)), Split(images, np.arange(4)), tiny.NAMES)
    monkeypatch.setattr("minivit.data.shapes.load", lambda: data)
    monkeypatch.setattr("minivit.data.cifar.Cifar.load", lambda *_, **__: data)
    white = {}
    for resize in ("crop", "pad", "stretch"):
        config = TrainConfig(dataset=name, resize=resize, vit=ViTConfig(image_size=(8, 16)))
        found = config.load_data(download=False).train.images
        assert found.shape == (4, 3, 8, 16)
        white[resize] = float(found.mean())
    assert white["crop"] == 0 < white["pad"] < white["stretch"]


def test_the_same_size_returns_the_same_data():
    data = tiny.dataset()
    assert data.resized((8, 8)) is data
    larger = data.resized((16, 16))
    assert isinstance(larger, Dataset)
    assert larger.train.images.shape[2:] == larger.test.images.shape[2:] == (16, 16)


@pytest.mark.parametrize("label", [-1, 3, 10**6])
@pytest.mark.parametrize("which", ["training", "test"])
def test_an_invalid_label_is_reported_when_the_data_set_is_built(label, which):
    images = np.zeros((4, 3, 2, 2), np.uint8)
    good, bad = Split(images, np.arange(4) % 3), Split(images, np.array([0, 1, 2, label]))
    splits = (bad, good) if which == "training" else (good, bad)
    with pytest.raises(UserError, match=f"the {which} set has labels from .* expected 0 to 2"):
        Dataset("Three", *splits, ("a", "b", "c"))


@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.05, 0.5])
def test_the_given_fraction_is_held_out(fraction):
    split = Split(np.zeros((9, 3, 2, 2), np.uint8), np.arange(9) % 3)
    rest, held_out = split.hold_out(fraction, np.random.default_rng(0))
    assert len(held_out) == split.num_held_out(fraction) == 9 - len(rest)
    assert (len(held_out) > 0) == (fraction > 0)


@pytest.mark.parametrize(
    ("fraction", "expected"),
    [(0.1, [4, 2, 1]), (0.01, [1, 0, 0]), (0.5, [20, 10, 5]), (0, [0] * 3)],
)
def test_held_out_images_keep_the_class_proportions(fraction, expected):
    for seed in range(5):
        rest, held_out = uneven().hold_out(fraction, np.random.default_rng(seed), stratify=True)
        assert held_out.class_counts(3).tolist() == expected
        numbers = [*rest.images[:, 0, 0, 0], *held_out.images[:, 0, 0, 0]]
        assert sorted(numbers) == list(range(70))


def test_no_image_of_a_tiny_class_is_held_out():
    labels = np.repeat([0, 1, 2], [40, 2, 1])
    split = Split(np.zeros((43, 3, 2, 2), np.uint8), labels)
    _, held_out = split.hold_out(0.1, np.random.default_rng(0), stratify=True)
    assert held_out.class_counts(3).tolist() == [4, 0, 0]


def test_an_empty_split_and_missing_labels_are_reported():
    images, labels = np.zeros((4, 3, 2, 2), np.uint8), np.arange(4) % 3
    with pytest.raises(UserError, match="the test set is empty"):
        Dataset("Three", Split(images, labels), Split(images[:0], labels[:0]), ("a", "b", "c"))
    with pytest.raises(UserError, match="4 images and 3 labels"):
        Split(images, labels[:3])
    with pytest.raises(UserError, match="2 masks and 4 labels"):
        Split(images, labels, np.zeros((2, 2, 2), bool))
