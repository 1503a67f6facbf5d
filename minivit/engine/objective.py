"""What a model is trained to do: which model, which loss, how it is evaluated.

An objective builds its model. Called with a micro-batch it returns what it measured and a function
that runs backward with the micro-batch's share of the whole batch.
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
"""Called with the number of each block whose gradients are there, the last block's first."""


class Backward(Protocol):
    """Backward through a micro-batch."""

    def __call__(self, share: float, done: Done = None) -> None:
        """share: the micro-batch's, of the batch."""


class StepResult(NamedTuple):
    """Of a batch or a part of it, 0-d arrays on the model's device.

    loss: its share of the batch's mean loss. correct: how many images were classified correctly.
    """

    loss: Array
    correct: Array


class Workers(Protocol):
    """Who computes a model's logits, and an objective's loss, over large batches."""

    def logits(self, images: np.ndarray) -> np.ndarray:
        """images float32 (N, C, H, W), normalized -> logits (N, K), on the host."""

    def loss(
        self, images: np.ndarray, targets: np.ndarray, objective: "Objective", seed: int, step: int
    ) -> StepResult:
        """The mean loss, with dropout at rest."""


class Objective(Protocol):
    """A task: its model, its loss, its evaluation. measures: what accuracy is the accuracy of, as
    words after it; nothing for that of images."""

    @property
    def measures(self) -> str: ...

    def build(self, vit: ViTConfig, seed: int, device: str, build: Build = ViT) -> Any:
        """A fresh model of the kind that this objective is for; build: makes the encoder."""

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
            train: dropout at work. stream: its random numbers.

        Returns:
            the micro-batch's mean loss and correct answers; what runs backward, adding to the
            model's gradients.
        """

    def evaluate(
        self, workers: Workers, split: Split, statistics: Statistics, num_classes: int, seed: int
    ) -> Evaluation:
        """The model as it is now, on a split."""


@dataclass(frozen=True)
class Classification:
    """Cross-entropy of the classes; smoothing: of the labels."""

    smoothing: float = 0.0
    measures = ""

    def build(self, vit: ViTConfig, seed: int, device: str, build: Build = ViT) -> ViT:
        """A fresh ViT."""
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

        def backward(share: float, done: Done = None) -> None:
            model.backward(cross_entropy_backward(share, loss_cache), cache, done=done)

        return StepResult(loss, (logits.argmax(-1) == best).sum()), backward

    def evaluate(
        self, workers: Workers, split: Split, statistics: Statistics, num_classes: int, seed: int
    ) -> Evaluation:
        """Accuracy, loss and confusion."""
        return evaluate(workers.logits, split, statistics, num_classes)
