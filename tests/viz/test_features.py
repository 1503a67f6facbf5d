"""Colors and similarity of patch features: known answers on handmade features."""

import numpy as np
import pytest

from minivit.viz.features import (
    class_token_figure,
    components_figure,
    patch_components,
    patch_similarity,
    project,
)


def scene(seed=0, size=8):
    """Features of two images: a background, and an object of two parts somewhere inside."""
    rng = np.random.default_rng(seed)
    parts = rng.standard_normal((3, 16))
    parts[1:] += 4 * rng.standard_normal(16)  # what the parts of the object have in common
    kinds = np.zeros((2, size, size), int)
    kinds[0, 2:5, 2:4], kinds[0, 2:5, 4:6] = 1, 2
    kinds[1, 3:6, 1:4], kinds[1, 3:6, 4:7] = 2, 1
    features = parts[kinds] + 0.01 * rng.standard_normal((2, size, size, 16))
    return features, kinds


@pytest.mark.parametrize("seed", range(8))
def test_the_object_is_separated_from_the_background_and_its_parts_keep_their_color(seed):
    features, kinds = scene(seed)
    found = patch_components(features)
    np.testing.assert_array_equal(found.foreground, kinds > 0)
    assert not found.colors[kinds == 0].any()
    one, two = (found.colors[kinds == part] for part in (1, 2))
    assert np.abs(one.mean(0) - two.mean(0)).max() > 0.5
    assert np.ptp(one[:, np.abs(one.mean(0) - two.mean(0)).argmax()]) < 0.2  # in both images


def test_without_a_background_every_patch_is_colored():
    features, _ = scene()
    found = patch_components(features, background=False)
    assert found.foreground.all()
    assert (found.colors.sum(-1) > 0).mean() > 0.9


def test_projection_is_onto_the_principal_components():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((50, 6)) * [9, 1, 5, 1, 3, 1]
    found = project(rows, 3)
    values, vectors = np.linalg.eigh(np.cov(rows.T))
    expected = (rows - rows.mean(0)) @ vectors[:, ::-1][:, :3]
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-9)
    np.testing.assert_allclose(found.var(0, ddof=1), values[::-1][:3])
    assert project(rows[:2], 3)[:, 2] == pytest.approx(0)  # two points have a single direction


def test_a_patch_finds_similar_patches():
    features, kinds = scene()
    found = patch_similarity(features, 0, (3, 2))
    assert found[0, 3, 2] == pytest.approx(1)
    assert found[kinds == 1].min() > 0.99
    assert found[kinds != 1].max() < 0.99
    a, b = features[0, 3, 2], features[1, 7, 7]
    assert found[1, 7, 7] == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_figures_have_a_panel_for_each():
    features, _ = scene()
    sample_images = np.zeros((2, 3, 32, 48), np.uint8)
    assert len(components_figure(sample_images, patch_components(features)).axes) == 4
    *maps, bar = class_token_figure(sample_images[0], np.ones((6, 8, 8))).axes
    assert len(maps) == 7
    assert bar.get_ylabel().startswith("each map")
