"""Objectives: the model, its loss, and its evaluation.

An objective builds its model. Called with a micro-batch it returns the loss and accuracy, and a
function that runs backward, weighted by the micro-batch's fraction of the whole batch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np

from minivit.backend import Array, RandomStream
from minivit.data import Split, Statistics
from minivit.engine.evaluation import Evaluation, evaluate
from minivit.functional import cross_entropy_backward, cross_entropy_forward
from minivit.models import Build, ViT, ViTConfig

Done: TypeAlias = Callable[[int], None] | None
"""Called with the number of each block whose gradients are complete, last block first."""


class Backward(Protocol):
    """Backward through a micro-batch."""

    def __call__(self, fraction: float, done: Done = None) -> None:
        """share: the micro-batch's fraction of the batch."""


class StepResult(NamedTuple):
    """Results on a batch or a part of it, as 0-d arrays on the model's device.

    loss: its part of the batch's mean loss. correct: how many images were classified correctly.
    """

    loss: Array
    correct: Array


class Workers(Protocol):
    """Computes a model's logits and an objective's loss over large batches."""

    def logits(self, images: np.ndarray) -> np.ndarray:
        """images float32 (N, C, H, W), normalized -> logits (N, K), on the host."""

    def loss(
        self, images: np.ndarray, targets: np.ndarray, objective: "Objective", seed: int, step: int
    ) -> StepResult:
        """The mean loss, without dropout."""


class Objective(Protocol):
    """A task: its model, its loss, its evaluation. measures: words to put after "accuracy" that say
    what is predicted; empty for classes of images.
    """

    @property
    def measures(self) -> str: ...

    def build(self, vit: ViTConfig, seed: int, device: str, build: Build = ViT) -> Any:
        """A new model for this objective; build: makes the encoder."""

    def __call__(
        self,
        model: Any,
        images: Array,
        targets: Array,
        train: bool,
        stream: RandomStream | None,
    ) -> tuple[StepResult, Backward]:
        """Loss of a micro-batch.

        Args:
            model: from `build`. images: normalized, on its device. targets: the data set's labels.
            train: whether to apply dropout. stream: its random numbers.

        Returns:
            the micro-batch's mean loss and correct predictions; a function that runs backward and
            adds to the model's gradients.
        """

    def evaluate(
        self, workers: Workers, split: Split, statistics: Statistics, num_classes: int, seed: int
    ) -> Evaluation:
        """Evaluate the current model on a split."""


@dataclass(frozen=True)
class Classification:
    """Cross-entropy of the classes; smoothing: of the labels."""

    smoothing: float = 0.0
    measures = ""

    def build(self, vit: ViTConfig, seed: int, device: str, build: Build = ViT) -> ViT:
        """A new ViT."""
        return build(vit, seed=seed, device=device)

    def __call__(
        self,
        model: ViT,
        images: Array,
        targets: Array,
        train: bool,
        stream: RandomStream | None,
    ) -> tuple[StepResult, Backward]:
        """See `Objective`; targets: labels (B,), or float (B, K) where images were mixed."""
        logits, cache = model.forward(images, train, stream)
        loss, loss_cache = cross_entropy_forward(logits, targets, self.smoothing)
        best = targets if targets.ndim == 1 else targets.argmax(-1)

        def backward(fraction: float, done: Done = None) -> None:
            model.backward(cross_entropy_backward(fraction, loss_cache), cache, done=done)

        return StepResult(loss, (logits.argmax(-1) == best).sum()), backward

    def evaluate(
        self, workers: Workers, split: Split, statistics: Statistics, num_classes: int, seed: int
    ) -> Evaluation:
        """Accuracy, loss and confusion matrix."""
        return evaluate(workers.logits, split, statistics, num_classes)
