"""Accuracy and loss of a model on a split."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from minivit.data import Split, Statistics
from minivit.functional import cross_entropy_forward

CHUNK = 1000
"""Images that are floats at a time."""


@dataclass(frozen=True)
class Evaluation:
    """accuracy: share of the images classified correctly. loss: mean cross-entropy, without
    smoothing. confusion: int (K, K), images of class [row] classified as [column]; None where there
    are no classes.
    """

    accuracy: float
    loss: float
    confusion: np.ndarray | None


def chunks(split: Split, statistics: Statistics) -> Iterator[tuple[int, Split, np.ndarray]]:
    """(place of its first image, part of the split, its images normalized), part by part."""
    for start in range(0, len(split), CHUNK):
        part = split[start : start + CHUNK]
        yield start, part, statistics.normalize(part.pixels)


def evaluate(
    logits_of: Callable[[np.ndarray], np.ndarray],
    split: Split,
    statistics: Statistics,
    num_classes: int,
) -> Evaluation:
    """Over a whole split, without augmentation; logits_of: images (N, C, H, W) -> (N, K)."""
    loss = 0.0
    confusion = np.zeros((num_classes, num_classes), np.int64)
    for _, part, images in chunks(split, statistics):
        logits = logits_of(images)
        loss += float(cross_entropy_forward(logits, part.labels)[0]) * len(part)
        np.add.at(confusion, (part.labels, logits.argmax(-1)), 1)
    return Evaluation(float(np.trace(confusion)) / len(split), loss / len(split), confusion)
