"""Shared by the tests of the live page: small models, their pages, and the numbers in a page."""

from types import SimpleNamespace

import numpy as np
import tiny

from minivit.data import Statistics
from minivit.models import ViT, ViTConfig
from minivit.viz import live_page

NAMES = ["cat", "dog", "owl"]
SIZES = {"image_size": (8, 12), "num_classes": 3, "dim": 8, "depth": 3, "num_heads": 2}
STATISTICS = Statistics((0.4, 0.5, 0.6), (0.2, 0.2, 0.3))
SETTLED = (
    "new Promise((done) => { const see = () => isIdle() ? done() : setTimeout(see, 5); see() })"
)


def model(**changes):
    """A model with selective heads, and weights that float16 represents exactly."""
    vit = tiny.randomize(ViT(ViTConfig(**{**SIZES, **changes})))
    vit.flat.data[...] = (3.0 * vit.flat.data).astype(np.float16)
    return vit


def sample_images(count=2, channels=3):
    return np.random.default_rng(0).integers(0, 256, (count, channels, 8, 12), dtype=np.uint8)


def made(vit=None, images=None, **options):
    options = {"statistics": STATISTICS, "class_names": NAMES, **options}
    return live_page(vit or model(), sample_images() if images is None else images, **options)


def settle(page):
    """Wait until the model has finished running."""
    page.evaluate(SETTLED)


def numbers(page):
    """The model's current outputs: probs (K,), logits (K,), maps (L, H, T, T)."""
    settle(page)
    found = page.evaluate(
        "({probs: [...shown.probs], logits: [...shown.logits], maps: [...shown.maps], "
        "sizes: [data.depth, HEADS, T, T]})"
    )
    maps = np.array(found["maps"]).reshape(found["sizes"])
    return SimpleNamespace(
        probs=np.array(found["probs"]), logits=np.array(found["logits"]), maps=maps
    )


def same(found, expected):
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
