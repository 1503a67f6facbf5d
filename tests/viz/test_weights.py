"""Positions and filters of models with known answers."""

import numpy as np
import pytest

from minivit.errors import UserError
from minivit.functional import sincos_2d
from minivit.models import ViT, ViTConfig
from minivit.viz.weights import patch_filters, position_similarity

SMALL = {"image_size": (8, 12), "num_classes": 3, "dim": 8, "depth": 1, "num_heads": 2}


def test_similarity_is_by_row_and_column_without_the_class_token():
    model = ViT(ViTConfig(**SMALL))
    table = np.zeros((7, 8))
    table[0] = 5.0  # the class token, similar to all; it must be excluded
    table[1:, :6] = np.eye(6)
    table[1 + 4, 0] = 1.0  # the patch in row 1, column 1 is half that of row 0, column 0
    model.pos_embed.data[...] = table
    found = position_similarity(model)
    assert found.shape == (2, 3, 2, 3)
    expected = np.zeros((2, 3))
    expected[0, 0], expected[1, 1] = 1.0, np.sqrt(0.5)
    np.testing.assert_allclose(found[0, 0], expected, atol=1e-7)


@pytest.mark.parametrize("embed_prefix", [True, False])
def test_similarity_covers_only_patches_even_if_prefix_tokens_have_positions(embed_prefix):
    model = ViT(ViTConfig(**SMALL, num_registers=2, embed_prefix=embed_prefix))
    table = model.pos_embed.data[0, -6:]
    cosine = table[0] @ table[5] / np.linalg.norm(table[0]) / np.linalg.norm(table[5])
    assert position_similarity(model)[0, 0, 1, 2] == pytest.approx(cosine, abs=1e-6)


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_fixed_positions_are_shown_too(pool):
    model = ViT(ViTConfig(**SMALL, pool=pool, pos_embed="sincos2d"))
    table = sincos_2d(2, 3, 8)
    cosine = table[0] @ table[5] / np.linalg.norm(table[0]) / np.linalg.norm(table[5])
    assert position_similarity(model)[0, 0, 1, 2] == pytest.approx(cosine, abs=1e-6)


def test_missing_positions_are_reported():
    with pytest.raises(UserError, match="no position embedding"):
        position_similarity(ViT(ViTConfig(**SMALL, pos_embed="none")))


def test_the_first_filter_is_the_common_pattern():
    """All filters are multiples of one pattern: a red gradient from left to right."""
    model = ViT(ViTConfig(**SMALL))
    pattern = np.zeros((3, 4, 4))
    pattern[0] = np.arange(4) - 1.5
    flat = pattern.transpose(1, 2, 0).reshape(-1)  # the order within a patch: row, column, channel
    model.patch_embed.proj.weight.data[...] = flat[:, None] * np.linspace(-1, 1, 8)
    filters = patch_filters(model, count=3)
    assert filters.components.shape == (3, 3, 4, 4)
    np.testing.assert_allclose(filters.explained_variance_ratio, [1, 0, 0], atol=1e-6)
    found = filters.components[0] * np.sign(filters.components[0, 0, 0, 3])
    np.testing.assert_allclose(found, pattern / np.linalg.norm(pattern), atol=1e-6)


def test_there_are_no_more_filters_than_directions():
    assert len(patch_filters(ViT(ViTConfig(**SMALL))).components) == 8  # of 48, in 8 filters
    gray = ViT(ViTConfig(image_size=4, patch_size=2, in_channels=1, dim=16, depth=1, num_heads=1))
    assert patch_filters(gray).components.shape == (4, 1, 2, 2)
