"""Scores of maps: compared with masks of the objects, with the model, and with shuffled weights.

maps are (N, rows, columns), where larger is more important; masks are bool (N, H, W).
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from minivit.backend import to_device
from minivit.errors import UserError
from minivit.functional import patchify_forward, softmax_forward, unpatchify_forward
from minivit.models import ViT
from minivit.viz.look import look
from minivit.viz.methods import method


def to_pixels(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(N, rows, columns) -> float32 (N, H, W), bilinear between the patch centers."""
    H, W = size
    images = (Image.fromarray(one.astype(np.float32)) for one in maps)
    return np.stack([np.asarray(p.resize((W, H), Image.Resampling.BILINEAR)) for p in images])


# Compared with a mask


def pointing_game(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Whether the map's highest pixel is on the figure (Zhang et al., 2016): bool (N,)."""
    flat = _matched(maps, masks).reshape(len(maps), -1)
    return masks.reshape(len(maps), -1)[np.arange(len(maps)), flat.argmax(-1)]


def energy_inside(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Fraction of the map's sum on the figure (Wang et al., 2020): (N,), 0 to 1.

    A constant map scores the fraction of the image that the figure covers.
    """
    pixels = _matched(maps, masks)
    return (pixels * masks).sum((1, 2)) / np.maximum(pixels.sum((1, 2)), np.finfo(np.float32).tiny)


def best_iou(maps: np.ndarray, masks: np.ndarray) -> tuple[float, float]:
    """Mean intersection over union of the masks and the highest pixels of each map.

    The number of pixels is the same fraction of every image: the best of 1 % to 99 %.

    Returns:
        the mean IoU, the fraction kept.
    """
    N = len(maps)
    order = np.argsort(-_matched(maps, masks).reshape(N, -1), axis=-1, kind="stable")
    hits = np.take_along_axis(masks.reshape(N, -1), order, -1).cumsum(-1)
    total = masks.reshape(N, -1).sum(-1, keepdims=True)
    fractions = np.arange(1, 100) / 100
    counts = np.maximum((fractions * order.shape[1]).astype(int), 1)
    inside = hits[:, counts - 1]
    iou = (inside / (total + counts - inside)).mean(0)
    return float(iou.max()), float(fractions[iou.argmax()])


def _matched(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    if len(maps) != len(masks):
        raise UserError(f"{len(maps)} maps and {len(masks)} masks; expected equal numbers")
    return to_pixels(maps, masks.shape[1:])


# Compared with the model


def deletion_insertion(
    predict: Callable[[np.ndarray], np.ndarray],
    images: np.ndarray,
    classes: np.ndarray,
    maps: np.ndarray,
    patch_size: int,
    steps: int = 8,
) -> tuple[np.ndarray, np.ndarray]:
    """Deletion and insertion curves of the class's probability (Petsiuk et al., 2018).

    Deletion: patches are replaced by the mean color, most important first; with a good map the
    probability falls early. Insertion: patches are added to an image of the mean color.

    Args:
        predict: normalized images (M, channels, H, W), where 0 is the mean color, -> logits.
        images: (N, channels, H, W). classes: (N,). maps: (N, rows, columns).
        steps: number of steps, each with the same number of patches.

    Returns:
        deletion, insertion: (N, steps + 1), probabilities; see `area`.
    """
    N, patches = len(images), maps[0].size
    rank = np.argsort(np.argsort(-maps.reshape(N, -1), axis=-1, kind="stable"), axis=-1)
    pixels, _ = patchify_forward(images, patch_size)
    curves = np.empty((2, N, steps + 1), np.float32)
    for step, count in enumerate(np.linspace(0, patches, steps + 1).round()):
        first = (rank < count)[..., None]
        for curve, kept in zip(curves, (pixels * ~first, pixels * first), strict=True):
            inputs, _ = unpatchify_forward(kept, patch_size, images.shape[2:])
            probs, _ = softmax_forward(predict(inputs))
            curve[:, step] = probs[np.arange(N), classes]
    return curves[0], curves[1]


def area(curve: np.ndarray) -> np.ndarray:
    """(N, steps + 1) -> (N,): area under a curve over [0, 1], by trapezoids."""
    return (curve[:, :-1] + curve[:, 1:]).mean(-1) / 2


# Compared with a randomized model


def shuffled(model: ViT, seed: int = 0) -> ViT:
    """A copy of a model with the numbers of each parameter shuffled (Adebayo et al., 2018)."""
    rng = np.random.default_rng(seed)
    replica = model.copy()
    for name, value in model.flat.host_views(model.flat.data).items():
        permuted = rng.permutation(value.ravel()).reshape(value.shape)
        replica.flat.views(replica.flat.data)[name][...] = to_device(permuted, model.device)
    return replica


def rank_correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation of two maps of each image: (N, …), (N, …) -> (N,), -1 to 1.

    If a map hardly changes when the weights are shuffled (near 1), it says nothing about what was
    learned. For a constant map, which has no ranks, the correlation is 0.
    """
    ranks = [np.apply_along_axis(_ranks, 1, m.reshape(len(m), -1)) for m in (a, b)]
    x, y = (r - r.mean(1, keepdims=True) for r in ranks)
    norm = np.sqrt((x * x).sum(1) * (y * y).sum(1))
    return (x * y).sum(1) / np.maximum(norm, np.finfo(float).tiny)


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks in ascending order; equal values get their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = counts.cumsum()
    return (last - (counts - 1) / 2)[inverse]


# All scores


BASELINES = ("random", "centre")
"""Maps that ignore the image: noise, and a bump in the middle, where figures tend to be."""

BATCH_SIZE = 32  # images: their maps and gradients fit in memory for any model


def score_methods(
    model: ViT,
    images: np.ndarray,
    masks: np.ndarray | None,
    predict: Callable[[np.ndarray], np.ndarray],
    names: Sequence[str],
    seed: int = 0,
) -> list[dict]:
    """All scores of the methods `names` and of `BASELINES`, one dict each.

    Keys: "method"; with masks "pointing", "iou" and "energy" (larger is better); "deletion"
    (smaller is better) and "insertion" (larger is better), areas under the predicted class's
    probability; "shuffled", the rank correlation with the map after shuffling the weights (near 0
    is better), None for baselines.

    Args:
        images: normalized (N, channels, H, W), on the host. masks: bool (N, H, W) or None.
        predict: images on the host -> logits on the host, for deletion and insertion.
    """
    maps, classes = _maps_of(model, images, names)
    after, _ = _maps_of(shuffled(model, seed), images, names)
    maps |= _baselines(len(images), model.config.grid, seed)
    rows = []
    for name, heatmaps in maps.items():
        row: dict[str, Any] = {"method": name}
        if masks is not None:
            row["pointing"] = float(pointing_game(heatmaps, masks).mean())
            row["iou"], _ = best_iou(heatmaps, masks)
            row["energy"] = float(energy_inside(heatmaps, masks).mean())
        curves = deletion_insertion(predict, images, classes, heatmaps, model.config.patch_size)
        row["deletion"], row["insertion"] = (float(area(curve).mean()) for curve in curves)
        known = name in after
        row["shuffled"] = float(rank_correlation(heatmaps, after[name]).mean()) if known else None
        rows.append(row)
    return rows


def _maps_of(
    model: ViT, images: np.ndarray, names: Sequence[str]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Maps by method, and the predicted classes."""
    maps: dict[str, list[np.ndarray]] = {name: [] for name in names}
    classes = []
    for start in range(0, len(images), BATCH_SIZE):
        batch = to_device(images[start : start + BATCH_SIZE], model.device)
        seen = look(model, batch, gradients=True)
        classes.append(seen.classes)
        for name in names:
            maps[name].append(method(name)(seen, model.config))
    return {name: np.concatenate(parts) for name, parts in maps.items()}, np.concatenate(classes)


def _baselines(count: int, grid: tuple[int, int], seed: int) -> dict[str, np.ndarray]:
    rows, columns = (np.linspace(-1, 1, side) for side in grid)
    bump = np.exp(-2 * (rows[:, None] ** 2 + columns**2))
    noise = np.random.default_rng(seed).random((count, *grid))
    return {"random": noise, "centre": np.broadcast_to(bump, (count, *grid))}
