"""A model's predictions of hidden patches."""

from typing import NamedTuple

import numpy as np

from minivit.backend import RandomStream, to_device, to_host
from minivit.engine.patch_prediction import PatchPrediction
from minivit.functional import patchify_forward, unpatchify_forward
from minivit.models import MaskedViT
from minivit.viz.style import Figure, panels, show_image

GRAY = 128  # the color of a masked patch


class Restored(NamedTuple):
    """Three uint8 arrays (N, channels, H, W): the images, the model's input, its prediction."""

    originals: np.ndarray
    corrupted: np.ndarray
    predicted: np.ndarray


def restore(
    model: MaskedViT, objective: PatchPrediction, images: np.ndarray, seed: int = 0
) -> Restored:
    """Hide patches of uint8 images (N, channels, H, W) and let the model predict them."""
    P, size = model.config.patch_size, images.shape[2:]
    normalized = objective.statistics.normalize(images)
    inputs = to_device(normalized.astype(model.dtype), model.device)
    numbers, cache = model.forward(inputs, stream=RandomStream(seed))
    hidden = cache.corruption
    patches, _ = patchify_forward(images.astype(np.float32), P)
    corrupted_patches = hidden.selection @ patches + GRAY * hidden.masked[..., None]
    predicted_patches, rows = patches.copy(), np.arange(len(images))[:, None]
    predicted_patches[rows, hidden.chosen] = _pixels(objective, to_host(numbers), P)
    corrupted, predicted = (
        np.rint(unpatchify_forward(p, P, size)[0]).clip(0, 255).astype(np.uint8)
        for p in (corrupted_patches, predicted_patches)
    )
    return Restored(images, corrupted, predicted)


def _pixels(objective: PatchPrediction, numbers: np.ndarray, P: int) -> np.ndarray:
    """(N, M, outputs) -> (N, M, P·P·channels) from 0 to 255."""
    N, M, _ = numbers.shape
    if objective.target == "pixels":
        flat = numbers.reshape(N * M, P, P, -1).transpose(0, 3, 1, 2)
        pixels = objective.statistics.denormalize(flat)
        return pixels.transpose(0, 2, 3, 1).reshape(N, M, -1)
    cells = objective.cells(P)
    colors = numbers.reshape(N, M, cells, cells, objective.num_colors).argmax(-1)
    powers = 8 ** np.arange(len(objective.statistics.mean))[::-1]
    levels = colors[..., None] // powers % 8
    large = levels.repeat(P // cells, axis=2).repeat(P // cells, axis=3)
    return ((large + 0.5) * 32.0).reshape(N, M, -1)  # the middle of each eighth of 256


def patches_figure(restored: Restored) -> Figure:
    """One column per image: original, corrupted, predicted."""
    names = ("original", "corrupted", "predicted")
    figure, axes = panels(3, len(restored.originals), 1.35, right=0.8)
    for row, name, images in zip(axes, names, restored, strict=True):
        for ax, image in zip(row, images, strict=True):
            show_image(ax, image)
        row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
    return figure
