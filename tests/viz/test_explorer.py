"""The page as a file: its contents, its size, and what is refused."""

import numpy as np
import pytest
import tiny

from minivit.data import Statistics
from minivit.errors import UserError
from minivit.models import ViT, ViTConfig
from minivit.viz import explore, explorer
from minivit.viz.explorer import companded, directions
from minivit.viz.maps import token_similarity

SIZES = {"image_size": 8, "num_classes": 3, "dim": 8, "depth": 2, "num_heads": 2}


def model(**changes):
    return tiny.randomize(ViT(ViTConfig(**{**SIZES, **changes})))


def images(count=1, channels=3):
    return np.random.default_rng(0).standard_normal((count, channels, 8, 8), np.float32)


def test_a_byte_represents_every_weight_to_within_0_004():
    weights = np.linspace(0, 1, 100_001)
    back = (companded(weights) / 255.0) ** 2
    assert np.abs(back - weights).max() < 0.004
    small = weights < 0.001
    assert np.abs(back - weights)[small].max() < 0.00015, "small weights are kept far better"


def test_bytes_preserve_cosines_of_features_even_with_outliers():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((50, 384))
    features[:, 7] = 15.0  # as published models have
    cosines = token_similarity(features)
    assert np.ptp(cosines) > 0.7
    decoded = directions(features)
    assert decoded.dtype == np.int8
    assert np.abs(token_similarity(decoded.astype(float)) - cosines).max() < 0.006
    assert not directions(np.zeros((1, 4))).any()


def test_the_page_refers_to_no_host():
    page = explore(model(), images()).html
    # a namespace, not an address that is loaded
    assert "http:" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "https:" not in page
    assert "default-src 'none'" in page


def test_the_same_images_give_the_same_page(tmp_path):
    first, again = (explore(model(), images(2)) for _ in range(2))
    assert first.html == again.html
    first.save(tmp_path / "new" / "page.html")
    assert (tmp_path / "new" / "page.html").read_text(encoding="utf-8") == first.html


def test_bytes_and_floats_of_an_image_give_the_same_page():
    pixels = np.arange(192, dtype=np.uint8).reshape(1, 3, 8, 8)
    pixels.flat[-1] = 255
    from_bytes = explore(model(), pixels, statistics=Statistics((0.0,) * 3, (1.0,) * 3))
    from_floats = explore(model(), pixels.astype(np.float32) / 255)
    assert from_bytes.html == from_floats.html


def test_non_finite_numbers_are_refused():
    one = model()
    one.head.bias.data[0] = np.nan
    with pytest.raises(UserError, match="image 1: the model's outputs are not finite"):
        explore(one, images())


def test_one_channel_is_shown_in_gray():
    assert explore(model(in_channels=1), images(channels=1)).html


def test_models_that_cannot_be_shown_are_refused_with_the_reason():
    one = model()
    with pytest.raises(UserError, match="statistics="):
        explore(one, np.zeros((1, 3, 8, 8), np.uint8))
    with pytest.raises(UserError, match="expected \\(N"):
        explore(one, images()[0])
    with pytest.raises(UserError, match="N ≥ 1"):
        explore(one, images(0))
    resnet = ViT(ViTConfig(image_size=8, dim=64, depth=0, stem="resnet"))
    with pytest.raises(UserError, match="no attention"):
        explore(resnet, images())
    for layers in ([], [2], [-1]):
        with pytest.raises(UserError, match="0 to 1"):
            explore(one, images(), layers=layers)


def test_large_pages_cause_a_warning_and_larger_ones_are_refused(monkeypatch):
    one = model()
    size = len(explore(one, images()).html)
    assert explore(one, images()).too_large is None
    monkeypatch.setattr(explorer, "WARN_BYTES", size - 1)
    assert "--test" in explore(one, images()).too_large
    monkeypatch.setattr(explorer, "MAX_BYTES", size - 1)
    with pytest.raises(UserError, match="--layers"):
        explore(one, images())


def test_a_page_that_is_far_too_large_is_refused_before_it_is_computed(monkeypatch):
    one = model()
    monkeypatch.setattr(explorer, "look", lambda *_: pytest.fail("it was computed"))
    monkeypatch.setattr(explorer, "MAX_BYTES", 100)
    with pytest.raises(UserError, match="more than"):
        explore(one, images(20))


def test_the_size_is_as_documented():
    """65 tokens, 6 layers of 8 heads: about 0.3 MB per image."""
    one = model(image_size=32, depth=6, num_heads=8)
    sample_images = np.zeros((3, 3, 32, 32), np.float32)
    sizes = [len(explore(one, sample_images[:n]).html) for n in (1, 3)]
    assert 0.25e6 < (sizes[1] - sizes[0]) / 2 < 0.32e6
