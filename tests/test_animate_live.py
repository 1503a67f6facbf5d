"""The README's animation in a small version: an untrained model on noise, a small window."""

import animate_live
import numpy as np
import tiny
from PIL import Image

from minivit.data import Preprocess, Statistics
from minivit.engine import Trained
from minivit.models import ViT


def test_the_animation_is_recorded(tmp_path):
    model = tiny.randomize(ViT(tiny.VIT))
    statistics = Statistics((0.5,) * 3, (0.25,) * 3)
    trained = Trained(model, statistics, Preprocess((8, 8), 3), tiny.NAMES, "Tints")
    pixels = tiny.dataset().test.images[:2]
    frames = animate_live.film(trained, pixels)
    still = [image for image, milliseconds in frames if milliseconds >= 500]
    assert len({image.tobytes() for image in still}) > 3, "what is clicked changes the page"
    assert animate_live.save(frames, tmp_path / "live.png") > 10_000
    with Image.open(tmp_path / "live.png") as animation:
        assert animation.n_frames > 10
        assert animation.size == (1280, 800)


def test_covering_the_chosen_patches_changes_the_class():
    model = tiny.randomize(ViT(tiny.VIT))
    image = np.random.default_rng(0).standard_normal((1, 3, 8, 8), np.float32)
    patches, changed = animate_live.covers(model, image)
    covered = animate_live.cover_patches(image, patches, 4)
    assert (model(covered).argmax() != model(image).argmax()) == changed
    assert len(set(patches)) == len(patches)
