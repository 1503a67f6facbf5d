"""Accuracy and loss of a model on a split."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from minivit.data import Split, Statistics
from minivit.functional import cross_entropy_forward, softmax_forward

CHUNK = 1000
"""Number of images converted to floats at a time."""


class Predictions(NamedTuple):
    """The two most probable classes of each image.

    classes: int (N, 2), the most probable one first. probs: float (N, 2), their probabilities.
    """

    classes: np.ndarray
    probs: np.ndarray


@dataclass(frozen=True)
class Evaluation:
    """The results of a model on a split.

    accuracy: fraction of the images classified correctly. loss: mean cross-entropy, without
    smoothing. confusion: int (K, K), images of class [row] classified as [column]. predictions: per
    image. Without classes, confusion and predictions are None.

    The numbers of each class follow from the confusion matrix C. They are NaN for 0/0: the recall
    of a class without images, the precision of one that was never predicted.
    """

    accuracy: float
    loss: float
    confusion: np.ndarray | None
    predictions: Predictions | None = None

    @property
    def counts(self) -> np.ndarray:
        """Number of images of each class, int (K,): n_k = Σ_j C_kj."""
        return self._confusion.sum(1)

    @property
    def recall(self) -> np.ndarray:
        """Fraction of each class's images classified correctly, (K,): C_kk / Σ_j C_kj. Also called
        the accuracy of the class.
        """
        return _divide(np.diag(self._confusion), self.counts)

    @property
    def precision(self) -> np.ndarray:
        """Fraction of the images classified as each class that belong to it: C_kk / Σ_i C_ik."""
        return _divide(np.diag(self._confusion), self._confusion.sum(0))

    @property
    def f1(self) -> np.ndarray:
        """Harmonic mean of precision and recall, (K,): 2 C_kk / (Σ_j C_kj + Σ_i C_ik)."""
        return _divide(2 * np.diag(self._confusion), self.counts + self._confusion.sum(0))

    @property
    def balanced_accuracy(self) -> float:
        """Mean recall of the classes that have images: each class has the same weight, whatever its
        size.
        """
        return float(np.nanmean(self.recall))

    @property
    def _confusion(self) -> np.ndarray:
        if self.confusion is None:
            raise ValueError("nothing was classified, so there is no confusion matrix")
        return self.confusion


def _divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """numerator / denominator, NaN where the denominator is 0."""
    return np.where(denominator > 0, numerator / np.maximum(denominator, 1), np.nan)


def chunks(split: Split, statistics: Statistics) -> Iterator[tuple[int, Split, np.ndarray]]:
    """A split in parts: (index of the part's first image, the part, its normalized images)."""
    for start in range(0, len(split), CHUNK):
        part = split[start : start + CHUNK]
        yield start, part, statistics.normalize(part.pixels)


def evaluate(
    logits_of: Callable[[np.ndarray], np.ndarray],
    split: Split,
    statistics: Statistics,
    num_classes: int,
    flip: bool = False,
) -> Evaluation:
    """Evaluate a whole split, without augmentation.

    Args:
        logits_of: images (N, C, H, W) -> logits (N, K). flip: classify each image by the mean of
            its logits and those of its mirror image (test-time augmentation).
    """
    loss = 0.0
    confusion = np.zeros((num_classes, num_classes), np.int64)
    predictions = []
    for _, part, images in chunks(split, statistics):
        logits = logits_of(images)
        if flip:
            logits = 0.5 * (logits + logits_of(images[..., ::-1]))
        loss += float(cross_entropy_forward(logits, part.labels)[0]) * len(part)
        predictions.append(top_two(logits))
        np.add.at(confusion, (part.labels, predictions[-1].classes[:, 0]), 1)
    return Evaluation(
        float(np.trace(confusion)) / len(split),
        loss / len(split),
        confusion,
        Predictions(*map(np.concatenate, zip(*predictions, strict=True))),
    )


def top_two(logits: np.ndarray) -> Predictions:
    """Of logits (N, K); a single class is also the second. Ties go to the first."""
    probs, _ = softmax_forward(logits)
    rows = np.arange(len(logits))
    best = logits.argmax(-1)
    others = logits.copy()
    others[rows, best] = -np.inf
    second = others.argmax(-1)
    return Predictions(
        np.stack([best, second], 1), np.stack([probs[rows, best], probs[rows, second]], 1)
    )
