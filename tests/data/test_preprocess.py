"""How an image of any size and shape is converted to a model's input."""

import numpy as np
import pytest
from PIL import Image

from minivit.data import Preprocess, image_shape, read_image
from minivit.errors import UserError


def bars(height: int, width: int) -> Image.Image:
    """Each column has its own gray level."""
    row = np.linspace(0, 255, width).round().astype(np.uint8)
    return Image.fromarray(np.broadcast_to(row[:, None], (height, width, 3)).copy())


def test_crop_keeps_the_center():
    found = Preprocess((8, 8))(bars(8, 24))
    np.testing.assert_array_equal(found[0, 0], np.asarray(bars(8, 24))[0, 8:16, 0])


def test_crop_share_is_a_resize_and_a_center_crop():
    """Like torchvision's Resize(32) and CenterCrop(24) on a 32×32 image: nothing is scaled."""
    image = bars(32, 32)
    found = Preprocess((24, 24), crop_share=24 / 32)(image)
    np.testing.assert_array_equal(found[0, 0], np.asarray(image)[0, 4:28, 0])


def test_pad_keeps_everything_and_adds_black():
    found = Preprocess((8, 8), resize="pad")(Image.new("RGB", (8, 4), "white"))
    assert found[0].mean(1).round().tolist() == [0, 0, 255, 255, 255, 255, 0, 0]


def test_stretch_keeps_everything():
    image = bars(4, 16)
    found = Preprocess((8, 8), resize="stretch", interpolation="bilinear")(image)
    expected = image.resize((8, 8), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(found[0], np.asarray(expected)[..., 0])


def test_gray_is_the_luma_of_itu_r_601():
    pixels = np.random.default_rng(0).integers(0, 256, (6, 6, 3)).astype(np.uint8)
    found = Preprocess((6, 6), channels=1)(Image.fromarray(pixels))
    luma = pixels @ [0.299, 0.587, 0.114]
    assert found.shape == (1, 6, 6)
    assert np.abs(found[0] - luma).max() <= 0.51


def test_unknown_options_are_refused():
    with pytest.raises(UserError, match="resize is 'squash'; expected one of crop, pad, stretch"):
        Preprocess((8, 8), resize="squash")
    with pytest.raises(UserError, match="2 channels"):
        Preprocess((8, 8), channels=2)(bars(8, 8))


def test_the_shape_is_that_of_the_upright_image(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    bars(10, 30).save(tmp_path / "a.jpg", exif=exif)
    assert image_shape(tmp_path / "a.jpg") == (30, 10)
    assert read_image(tmp_path / "a.jpg", Preprocess((30, 10))).shape == (3, 30, 10)
    (tmp_path / "b.pgm").write_bytes(b"P5 3 2 255\n" + bytes(6))
    assert image_shape(tmp_path / "b.pgm") == (2, 3)
    (tmp_path / "c").write_bytes(b"no image")
    with pytest.raises(UserError, match="c: not an image that can be opened"):
        image_shape(tmp_path / "c")
