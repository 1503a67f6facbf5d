"""The quality of attention maps: scores of maps with known answers."""

import numpy as np
import pytest
import tiny
from helpers import draw

from minivit.errors import UserError
from minivit.models import ViT, ViTConfig
from minivit.viz.methods import METHODS
from minivit.viz.scores import (
    BASELINES,
    area,
    best_iou,
    deletion_insertion,
    energy_inside,
    pointing_game,
    rank_correlation,
    score_methods,
    shuffled,
    to_pixels,
)

MASK = np.zeros((1, 8, 8), bool)
MASK[0, :4, 4:] = True  # the upper right of 2 × 2 patches of 4 pixels


def on(row, column, low=0.0):
    """A map (1, 2, 2) that highlights one patch."""
    heat = np.full((1, 2, 2), low)
    heat[0, row, column] = 1.0
    return heat


def test_upsampling_keeps_each_patch_in_place():
    pixels = to_pixels(on(0, 1), (8, 8))
    assert pixels.shape == (1, 8, 8)
    assert pixels[0, 0, 7] == pixels.max() == 1.0
    assert pixels[0, 7, 0] == 0.0
    wide = to_pixels(np.eye(2, 4)[None], (8, 16))
    assert wide[0, 0, 0] > wide[0, 0, 8]


def test_a_map_on_the_figure_scores_higher_than_one_next_to_it():
    hit, miss = on(0, 1), on(1, 0)  # if transposed, the order would be reversed
    assert pointing_game(hit, MASK).all()
    assert not pointing_game(miss, MASK).any()
    assert energy_inside(hit, MASK)[0] > 0.7
    assert energy_inside(miss, MASK)[0] < 0.05
    iou, fraction = best_iou(hit, MASK)
    assert iou > 0.9
    assert fraction == pytest.approx(0.25, abs=0.02)
    assert best_iou(miss, MASK)[0] < 0.3


def test_a_map_without_contrast_scores_the_figures_share_of_the_area():
    assert energy_inside(np.ones((1, 2, 2)), MASK)[0] == pytest.approx(0.25)


def test_each_image_has_its_own_mask():
    masks = np.concatenate([MASK, ~MASK])
    maps = np.concatenate([on(0, 1), on(0, 1)])
    np.testing.assert_array_equal(pointing_game(maps, masks), [True, False])
    with pytest.raises(UserError, match="1 maps and 2 masks"):
        energy_inside(maps[:1], masks)


def corner(images):
    """Two logits; the first grows with the brightness of the upper right patch."""
    seen = images[:, 0, :4, 4:].mean((1, 2))
    return np.stack([seen, np.zeros_like(seen)], 1)


def test_deletion_falls_and_insertion_rises_at_the_decisive_patch():
    images, classes = np.full((1, 1, 8, 8), 3.0), np.array([0])
    high, low = 1 / (1 + np.exp(-3.0)), 0.5
    for heat, seen_first in ((on(0, 1), True), (-on(0, 1), False)):
        deletion, insertion = deletion_insertion(corner, images, classes, heat, 4, steps=4)
        at = 1 if seen_first else 4  # when the patch's turn comes
        expected = np.where(np.arange(5) < at, high, low)
        np.testing.assert_allclose(deletion[0], expected, rtol=1e-6)
        np.testing.assert_allclose(insertion[0], high + low - expected, rtol=1e-6)
    assert area(np.array([[1.0, 0.5, 0.0]]))[0] == 0.5
    assert area(np.array([[1.0, 0.0, 0.0]]))[0] == 0.25


def test_rank_correlation_agrees_with_a_known_value():
    a = np.array([[1.0, 2.0, 3.0, 4.0]])
    np.testing.assert_allclose(rank_correlation(a, 10 * a**3), 1.0)
    np.testing.assert_allclose(rank_correlation(a, -a), -1.0)
    np.testing.assert_allclose(rank_correlation(a, a[:, [1, 0, 2, 3]]), 0.8)  # 1 - 6·2 / (4·15)
    np.testing.assert_allclose(rank_correlation(a, np.ones((1, 4))), 0.0)
    ties = np.array([[1.0, 2.0, 2.0, 3.0]])  # ranks 1, 2.5, 2.5, 4
    np.testing.assert_allclose(rank_correlation(a, ties), 4.5 / np.sqrt(5 * 4.5))


def test_shuffled_weights_are_the_same_numbers_in_other_positions():
    model = tiny.randomize(ViT(tiny.VIT))
    before = model.flat.data.copy()
    shuffled_model = shuffled(model)
    np.testing.assert_array_equal(model.flat.data, before)
    parameters = dict(shuffled_model.named_parameters())
    for name, parameter in model.named_parameters():
        found = parameters[name].data
        np.testing.assert_array_equal(np.sort(found.ravel()), np.sort(parameter.data.ravel()))
        if found.size > 20:
            assert (found != parameter.data).any(), name


@pytest.mark.parametrize(
    "prefix", [{"pool": "cls"}, {"pool": "mean"}, {"distilled": True, "num_registers": 2}]
)
def test_every_method_gets_every_score(prefix):
    config = ViTConfig(image_size=8, num_classes=3, dim=8, depth=2, num_heads=2, **prefix)
    model = tiny.randomize(ViT(config))
    images = draw(0, 40, 3, 8, 8).astype(np.float32)  # more than are processed at once
    masks = np.repeat(MASK, 40, 0)
    rows = score_methods(model, images, masks, model, tuple(METHODS))
    assert [row["method"] for row in rows] == [*METHODS, *BASELINES]
    for row in rows:
        for key in ("pointing", "iou", "energy", "deletion", "insertion"):
            assert 0.0 <= row[key] <= 1.0
        assert (row["shuffled"] is None) == (row["method"] in BASELINES)
    without = score_methods(model, images[:3], None, model, ["rollout"])
    assert "iou" not in without[0]
