"""RGB images converted to grayscale and back, in memory and in a file, exactly as in Pillow."""

import numpy as np
import pytest
import tiny
from PIL import Image

from minivit.data import Dataset, Split
from minivit.data.grayscale import luma, with_channels
from minivit.data.stored import StoredImages
from minivit.errors import UserError

RGB = np.random.default_rng(0).integers(0, 256, (7, 3, 5, 6), np.uint8)


def by_pillow(images: np.ndarray, mode: str) -> np.ndarray:
    sample_images = [
        Image.fromarray(one.transpose(1, 2, 0).squeeze()).convert(mode) for one in images
    ]
    return np.stack([np.asarray(one).reshape(*images.shape[2:], -1) for one in sample_images])


def test_every_color_gets_the_gray_level_of_pillow():
    """Every third level of each channel, including both ends."""
    levels = np.arange(0, 256, 3, dtype=np.uint8)
    colors = np.stack(np.meshgrid(levels, levels, levels), 0).reshape(1, 3, len(levels), -1)
    expected = by_pillow(colors, "L").transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(luma(colors), expected)
    np.testing.assert_array_equal(with_channels(colors, 1), expected)
    assert with_channels(colors, 1).dtype == np.uint8


def test_gray_becomes_the_rgb_of_pillow():
    gray = RGB[:, :1]
    expected = by_pillow(gray, "RGB").transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(with_channels(gray, 3), expected)


def test_images_in_a_file_are_converted(tmp_path, monkeypatch):
    monkeypatch.setattr("minivit.data.stored.BLOCK", 3)
    np.save(tmp_path / "images.npy", RGB)
    stored = StoredImages(tmp_path / "images.npy")
    assert with_channels(stored, 3) is stored
    np.testing.assert_array_equal(with_channels(stored, 1), with_channels(RGB, 1))


@pytest.mark.parametrize(
    ("have", "channels", "words"),
    [
        (3, 2, "in_channels is 2, the images have 3; expected 3, or 1 for grayscale"),
        (1, 2, "in_channels is 2, the images have 1; expected 1, or 3"),
        (2, 1, "in_channels is 1, the images have 2; expected 2"),
    ],
)
def test_other_channels_are_refused(have, channels, words):
    with pytest.raises(UserError, match=f"^{words}$"):
        with_channels(RGB.repeat(2, 1)[:, :have], channels)


def test_a_data_set_keeps_everything_else():
    images, labels = tiny.dataset().train.pixels[:6], np.arange(6) % 4
    masks, names = np.ones((6, 8, 8), bool), np.array(list("abcdef"))
    split = Split(images, labels, masks, names)
    whole = Dataset("Tints", split, split[:4], tiny.NAMES, split[4:])
    assert whole.with_channels(3) is whole
    gray = whole.with_channels(1)
    assert {name: one.images.shape for name, one in gray.splits.items()} == {
        **{"training": (6, 1, 8, 8), "test": (4, 1, 8, 8), "validation": (2, 1, 8, 8)}
    }
    assert (gray.name, gray.class_names) == ("Tints", tiny.NAMES)
    assert gray.train.masks is masks
    assert gray.train.names is names
    assert gray.digest != whole.digest
