"""The masked model: what it sees, what it is asked, and the colours it must tell."""

import numpy as np
import pytest
import tiny
from helpers import draw

from minivit.backend import RandomStream
from minivit.models import MaskedViT, ViT, ViTConfig, patch_colours

SIZES = {"image_size": (8, 12), "num_classes": 3, "dim": 8, "depth": 2, "num_heads": 2}


def model(pool="cls", outputs=5, **changes):
    config = ViTConfig(**{**SIZES, "pool": pool, **changes})
    return tiny.lively(MaskedViT(config, outputs, dtype="float64"))


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_a_masked_patch_is_not_seen(pool):
    """Other pixels under the mask change nothing; other pixels elsewhere do."""
    one, images = model(pool), draw(0, 2, 3, 8, 12)
    said, cache = one.forward(images, stream=RandomStream(3))
    assert said.shape == (2, 3, 5)
    hidden = cache.corruption
    in_sight = ~np.isin(np.arange(6), hidden.chosen[0])
    for seen, which in ((False, hidden.masked[0] > 0), (True, in_sight)):
        patches = np.flatnonzero(which)
        for patch in patches:
            if hidden.selection[0, :, patch].any() != seen:
                continue  # it stands in for another, or is itself replaced
            row, column = divmod(int(patch), 3)
            other = images.copy()
            other[0, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 1.0
            again, _ = one.forward(other, stream=RandomStream(3))
            assert (np.abs(again[0] - said[0]).max() > 1e-6) == seen
            np.testing.assert_array_equal(again[1], said[1])


def test_what_is_hidden_hangs_on_the_stream_alone():
    one, images = model(), draw(0, 2, 3, 8, 12)
    first, again, other = (
        one.forward(images, stream=RandomStream(seed))[1].corruption.chosen for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    _, without = one.forward(images)
    np.testing.assert_array_equal(without.corruption.chosen, first)
    second, _ = one.forward(images[1:], stream=RandomStream(0, 0, first=1))
    np.testing.assert_allclose(second[0], one.forward(images, stream=RandomStream(0))[0][1])


def test_the_encoder_is_a_vits():
    """Same names and shapes, so that fine-tuning takes them over."""
    names = {name: p.data.shape for name, p in model().named_parameters()}
    vit = {name: p.data.shape for name, p in ViT(ViTConfig(**SIZES)).named_parameters()}
    extra = {"mask_token": (1, 1, 8), "decoder.weight": (8, 5), "decoder.bias": (5,)}
    assert names == vit | extra


def test_colours_by_hand():
    pixels = np.zeros((1, 3, 4, 8))
    pixels[0, 0, :, 4:] = 1.0  # the right patch is red
    pixels[0, 2, :2, 4:6] = 0.5  # but for its upper left quarter, which is purple
    np.testing.assert_array_equal(patch_colours(pixels, 4, 1), [[[0], [7 * 64 + 1]]])
    cells = patch_colours(pixels, 4, 2)
    np.testing.assert_array_equal(cells[0, 1], [7 * 64 + 4, 7 * 64, 7 * 64, 7 * 64])
    assert patch_colours(np.ones((1, 3, 4, 4)), 4, 4).tolist() == [[[511] * 16]]


def test_every_cell_keeps_its_place():
    pixels = np.random.default_rng(0).random((2, 3, 8, 12))
    cells = patch_colours(pixels, 4, 4).reshape(2, 2, 3, 4, 4)
    for b, r, c, y, x in np.ndindex(2, 2, 3, 4, 4):
        red, green, blue = (pixels[b, :, 4 * r + y, 4 * c + x] * 8).astype(int)
        assert cells[b, r, c, y, x] == 64 * red + 8 * green + blue
