"""Chapter 17's model: a published one if its folder exists, otherwise a small one."""

import numpy as np

from minivit import ViT, ViTConfig, course
from minivit.data import Preprocess, Statistics
from minivit.engine import Trained
from minivit.interop.exports import to_timm


def test_a_small_model_replaces_a_missing_published_model(tmp_path, capsys):
    found = course.published(str(tmp_path / "dinov2"), 56)
    images = np.zeros((2, 3, 56, 56), np.float32)
    assert found.model.tokens(images).shape == (2, 17, 32)
    assert found.statistics.mean == (0.485, 0.456, 0.406)
    printed = capsys.readouterr().out
    assert "not found (see docs/models.md for how to get one)" in printed
    assert "mean nothing" in printed


def test_a_published_model_is_opened_at_the_given_size(tmp_path, capsys):
    config = ViTConfig(
        image_size=28, patch_size=14, num_classes=3, dim=128, depth=1, num_heads=2, mlp_ratio=1.0
    )
    small = ViT(config, seed=0)
    side = Preprocess((28, 28), 3)
    trained = Trained(small, Statistics((0.5,) * 3, (0.5,) * 3), side, ("a", "b", "c"), "drawn")
    to_timm(trained, tmp_path / "model.safetensors")
    found = course.published(str(tmp_path), 56)
    assert found.model.config.image_hw == (56, 56)
    assert found.model.num_parameters > small.num_parameters, "positions of a finer grid"
    assert f"{found.model.num_parameters:,} numbers, timm" in capsys.readouterr().out
