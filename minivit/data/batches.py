"""Batches, prepared ahead while the model computes."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from minivit.backend.random import Purpose, generator
from minivit.data.augment import Augmentation
from minivit.data.dataset import Split
from minivit.errors import UserError


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of each colour, over pixels scaled to 0…1."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, images: np.ndarray) -> "Statistics":
        """Of uint8 (N, C, H, W); a colour that never varies gets std 1."""
        channels = np.moveaxis(images, 1, 0).reshape(images.shape[1], -1)
        # counts of the 256 grey levels: exact, and no float copy of the whole set
        counts = np.stack([np.bincount(channel, minlength=256) for channel in channels])
        level = np.arange(256) / 255.0
        mean = counts @ level / channels.shape[1]
        variance = counts @ level**2 / channels.shape[1] - mean**2
        std = np.sqrt(np.maximum(variance, 0.0))
        return cls(tuple(mean.tolist()), tuple(np.where(std > 1e-6, std, 1.0).tolist()))

    @classmethod
    def of_state(cls, state: dict) -> "Statistics":
        """Those that a checkpoint's state holds as "mean" and "std"."""
        return cls(tuple(state["mean"]), tuple(state["std"]))


class Batches:
    """The training batches of a whole training, in order.

    Batch number `step` is a function of the seed and the step alone: what an interrupted training
    would have seen next, it sees when it is resumed. Each epoch has its own order; the last images
    of an order that fill no batch are left out of that epoch.

    Raises:
        UserError: a batch larger than the set.
    """

    def __init__(
        self,
        split: Split,
        batch_size: int,
        num_classes: int,
        augmentation: Augmentation,
        statistics: Statistics,
        seed: int,
    ):
        if batch_size > len(split):
            raise UserError(
                f"batch_size {batch_size} is larger than the training set of {len(split)} images; "
                f"choose at most {len(split)}"
            )
        self.split, self.batch_size, self.num_classes = split, batch_size, num_classes
        self.augmentation, self.statistics, self.seed = augmentation, statistics, seed
        self.per_epoch = len(split) // batch_size

    def batch(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Images float32 (B, C, H, W), augmented and normalised, and targets: int64 (B,), or
        float32 (B, K) where images were mixed."""
        epoch, place = divmod(step, self.per_epoch)
        order = generator(self.seed, Purpose.ORDER, epoch).permutation(len(self.split))
        rows = order[place * self.batch_size : (place + 1) * self.batch_size]
        return self.augmentation.apply(
            self.split.images[rows],
            self.split.labels[rows],
            self.num_classes,
            generator(self.seed, Purpose.AUGMENT, step),
            self.statistics.mean,
            self.statistics.std,
        )

    def ahead(self, start: int, stop: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Batches start … stop - 1; each is prepared in a thread while the one before is used."""
        with ThreadPoolExecutor(1, "minivit-batches") as worker:
            coming = worker.submit(self.batch, start) if start < stop else None
            for step in range(start, stop):
                current = coming.result()
                coming = worker.submit(self.batch, step + 1) if step + 1 < stop else None
                yield current
