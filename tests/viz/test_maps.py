"""Combining attention maps: matrices with known answers, and common mistakes."""

import dataclasses
import math

import numpy as np
import pytest
from helpers import draw

from minivit.errors import UserError
from minivit.functional import softmax_forward
from minivit.models import ViTConfig
from minivit.viz.maps import (
    attention_distance,
    entropy,
    fuse_heads,
    gradient_rollout,
    patch_distances,
    patch_map,
    relevance,
    rollout,
    token_similarity,
)

CONFIG = ViTConfig(image_size=(8, 12), patch_size=4)


def random_maps(*shape):
    """Random maps whose rows sum to 1, without any symmetry."""
    return softmax_forward(2.0 * draw(len(shape), *shape))[0]


def by_hand(maps, heads=np.mean, discard=0.0):
    """Rollout of one image (L, H, T, T), one number at a time."""
    T = maps.shape[-1]
    total = np.eye(T)
    for layer in maps:
        fused = np.array(
            [[heads([head[i, j] for head in layer]) for j in range(T)] for i in range(T)]
        )
        weakest = sorted((fused[i, j], i, j) for i in range(T) for j in range(T))
        for _, i, j in weakest[: int(discard * T * T)]:
            fused[i, j] = 0.0
        step = np.zeros((T, T))
        for i in range(T):
            row = [fused[i, j] + (i == j) for j in range(T)]
            step[i] = np.array(row) / sum(row)
        total = step @ total
    return total


@pytest.mark.parametrize("heads", ["mean", "max", "min"])
@pytest.mark.parametrize("discard", [0.0, 0.3, 0.9])
def test_rollout_agrees_with_a_slow_loop(heads, discard):
    maps = random_maps(3, 2, 4, 5, 5)
    found = rollout(maps, heads, discard)
    fuse = {"mean": np.mean, "max": max, "min": min}[heads]
    for image in range(2):  # each image has its own map, not that of the first image
        expected = by_hand(maps[:, image], fuse, discard)
        np.testing.assert_allclose(found[-1, image], expected, atol=1e-12)
        first = by_hand(maps[:1, image], fuse, discard)
        np.testing.assert_allclose(found[0, image], first, atol=1e-12)


@pytest.mark.parametrize("discard", [0.0, 0.5, 0.95])
def test_rows_of_a_rollout_sum_to_one_even_after_discarding(discard):
    maps = random_maps(4, 2, 3, 7, 7)
    for heads in ("mean", "max", "min"):
        np.testing.assert_allclose(rollout(maps, heads, discard).sum(-1), 1.0)
    np.testing.assert_allclose(gradient_rollout(maps, draw(0, *maps.shape), discard).sum(-1), 1)


def test_rollout_of_maps_that_attend_to_one_token():
    """Token 0 attends to 1 in layer 1, token 1 attends to 2 in layer 2 (and all others to
    themselves): then the weight of 2 in row 1 comes only from layer 2, and that of 1 in row 0 from
    layer 1."""
    first, second = np.eye(3), np.eye(3)
    first[0], second[1] = [0, 1, 0], [0, 0, 1]
    maps = np.stack([first, second])[:, None, None]
    expected = [[0.5, 0.5, 0.0], [0.0, 0.5, 0.5], [0.0, 0.0, 1.0]]
    np.testing.assert_allclose(rollout(maps)[-1, 0], expected)
    # the layers in reverse order: 0 attends to 1, which attended to 2 before
    swapped = rollout(maps[::-1])[-1, 0]
    np.testing.assert_allclose(swapped, [[0.5, 0.25, 0.25], [0.0, 0.5, 0.5], [0.0, 0.0, 1.0]])


def test_relevance_by_hand():
    maps, dmaps = random_maps(3, 2, 2, 4, 4), draw(9, 3, 2, 2, 4, 4)
    found = relevance(maps, dmaps)
    for image in range(2):
        total = np.eye(4)
        for layer in range(3):
            positive = [
                np.clip(maps[layer, image, h] * dmaps[layer, image, h], 0, None) for h in (0, 1)
            ]
            total = total + (positive[0] + positive[1]) / 2 @ total
            np.testing.assert_allclose(found[layer, image], total - np.eye(4), atol=1e-12)


def test_reversing_the_list_of_gradients_changes_the_result():
    """A common mistake: hooks collect the last layer's gradient first."""
    maps, dmaps = random_maps(3, 1, 2, 4, 4), draw(9, 3, 1, 2, 4, 4)
    for view in (relevance, gradient_rollout):
        assert np.abs(view(maps, dmaps)[-1] - view(maps, dmaps[::-1])[-1]).max() > 0.01


def test_gradient_rollout_uses_positive_contributions_to_the_class():
    maps, dmaps = random_maps(3, 2, 2, 4, 4), draw(9, 3, 2, 2, 4, 4)
    weighted = np.maximum((maps * dmaps).mean(2, keepdims=True), 0)
    np.testing.assert_allclose(gradient_rollout(maps, dmaps), rollout(weighted), atol=1e-12)
    nothing = gradient_rollout(maps, -np.abs(dmaps))[-1]
    np.testing.assert_allclose(nothing, np.broadcast_to(np.eye(4), nothing.shape))


def test_arguments_are_not_modified():
    maps, dmaps = random_maps(2, 1, 2, 4, 4), draw(9, 2, 1, 2, 4, 4)
    before = maps.copy(), dmaps.copy()
    rollout(maps, discard=0.5), gradient_rollout(maps, dmaps, 0.5), relevance(maps, dmaps)
    np.testing.assert_array_equal(maps, before[0])
    np.testing.assert_array_equal(dmaps, before[1])


def test_patch_map_is_the_class_tokens_row_not_its_column():
    joint = np.arange(49.0).reshape(1, 7, 7)  # asymmetric; 2 × 3 patches and a class token
    np.testing.assert_array_equal(patch_map(joint, CONFIG), [[[1, 2, 3], [4, 5, 6]]])


def test_patch_map_excludes_registers():
    registers = dataclasses.replace(CONFIG, num_registers=2)
    joint = np.arange(81.0).reshape(1, 9, 9)
    np.testing.assert_array_equal(patch_map(joint, registers), [[[3, 4, 5], [6, 7, 8]]])
    mean = dataclasses.replace(registers, pool="mean")
    joint = np.arange(64.0).reshape(1, 8, 8)
    expected = joint[0, 2:, 2:].mean(0).reshape(1, 2, 3)  # no token attends to the registers
    np.testing.assert_array_equal(patch_map(joint, mean), expected)


def test_patch_map_of_two_class_tokens_is_the_mean_of_both():
    distilled = dataclasses.replace(CONFIG, distilled=True)
    joint = np.arange(64.0).reshape(1, 8, 8)
    np.testing.assert_array_equal(patch_map(joint, distilled), [[[6, 7, 8], [9, 10, 11]]])


def test_patch_map_without_a_class_token_averages_all_tokens():
    joint = np.arange(36.0).reshape(1, 6, 6)
    expected = joint.mean(1).reshape(1, 2, 3)
    mean = dataclasses.replace(CONFIG, pool="mean")
    np.testing.assert_array_equal(patch_map(joint, mean), expected)


@pytest.mark.parametrize(("T", "pool"), [(6, "cls"), (7, "mean")])
def test_a_class_token_is_not_guessed_from_the_count(T, pool):
    config = dataclasses.replace(CONFIG, pool=pool)
    with pytest.raises(UserError, match=f"{T} tokens"):
        patch_map(np.ones((1, T, T)), config)
    with pytest.raises(UserError, match=f"{T} tokens"):
        attention_distance(np.ones((1, 1, 1, T, T)), config.grid, 4, config.num_prefix)


def test_distance_of_heads_with_known_answers():
    """In head 0 each patch attends to itself, in head 1 to the upper left patch, in head 2
    uniformly."""
    N, T = 2, 6
    maps = np.zeros((1, N, 3, T, T))
    maps[:, :, 0] = np.eye(T)
    maps[:, :, 1, :, 0] = 1.0
    maps[:, :, 2] = 1 / T
    to_corner = [math.hypot(r, c) for r in range(2) for c in range(3)]
    everywhere = [
        math.hypot(r - s, c - d)
        for r in range(2)
        for c in range(3)
        for s in range(2)
        for d in range(3)
    ]
    expected = [0.0, 4 * np.mean(to_corner), 4 * np.mean(everywhere)]
    np.testing.assert_allclose(attention_distance(maps, (2, 3), 4, 0), [expected])
    assert patch_distances((2, 3)).mean() == pytest.approx(np.mean(everywhere))


@pytest.mark.parametrize("prefix", [1, 5])
def test_distance_excludes_prefix_tokens(prefix):
    maps = random_maps(2, 2, 3, prefix + 6, prefix + 6)
    patches = maps[..., prefix:, prefix:]
    renormalized = patches / patches.sum(-1, keepdims=True)
    found = attention_distance(maps, (2, 3), 4, prefix)
    np.testing.assert_allclose(found, attention_distance(renormalized, (2, 3), 4, 0))
    assert found.shape == (2, 3)


def test_entropy_of_attention_to_one_two_and_all_tokens():
    one, two, all_ = np.eye(4)[0], [0.5, 0.5, 0, 0], np.full(4, 0.25)
    np.testing.assert_allclose(entropy(np.stack([one, two, all_])), [0.0, 1.0, 2.0], atol=1e-12)
    assert entropy(np.eye(4, dtype=np.float32)).dtype == np.float32


def test_similarity_of_tokens():
    tokens = np.array([[[2.0, 0.0], [0.0, 3.0], [-1.0, 0.0], [1.0, 1.0]]])
    half = math.sqrt(0.5)
    expected = [[1, 0, -1, half], [0, 1, 0, half], [-1, 0, 1, -half], [half, half, -half, 1]]
    np.testing.assert_allclose(token_similarity(tokens), [expected], atol=1e-12)


def test_impossible_requests_are_refused_with_the_reason():
    maps = random_maps(2, 1, 2, 4, 4)
    with pytest.raises(UserError, match="mean, max, min"):
        fuse_heads(maps, "median")
    for discard in (-0.1, 1.0, 1.5):
        with pytest.raises(UserError, match="discard"):
            rollout(maps, discard=discard)
    for view in (relevance, gradient_rollout):
        with pytest.raises(UserError, match="gradients=True"):
            view(maps, None)
        with pytest.raises(UserError, match="equal shapes"):
            view(maps, maps[:1])
