"""Batches, prepared in advance while the model computes."""

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from enum import IntEnum
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np

from minivit.backend.random import Purpose, generator
from minivit.data.augment import Augmentation, Drawn
from minivit.data.dataset import Split
from minivit.data.mix import Mix
from minivit.data.statistics import Statistics
from minivit.errors import UserError


class Field(IntEnum):
    """The rows of `Plan.packed`, and of augment.cu's `Field`."""

    ROW = 0
    DY = 1
    DX = 2
    FLIPPED = 3
    ERASED_TOP = 4
    ERASED_BOTTOM = 5
    ERASED_LEFT = 6
    ERASED_RIGHT = 7
    PARTNER = 8
    PASTED_TOP = 9
    PASTED_BOTTOM = 10
    PASTED_LEFT = 11
    PASTED_RIGHT = 12
    BLEND = 13
    FIRST = 14
    SECOND = 15
    KEPT = 16


class Plan(NamedTuple):
    """The contents of a step's batch, without its pixels."""

    rows: np.ndarray
    """int (B,): indices of its images in the split."""
    labels: np.ndarray
    """int (B,): their labels."""
    drawn: Drawn
    """Their augmentation."""

    def packed(self) -> np.ndarray:
        """Everything that augment.cu and cross_entropy.cu need, in one array to copy to a device.

        int32 (17, B), one row per `Field`; BLEND and KEPT are float32, stored as their bits. FIRST
        and SECOND are the labels of an image and of its partner, KEPT the weight of the first.
        """
        drawn, mix = self.drawn, self.drawn.mix or Mix.identity(len(self.rows))
        ints = (self.rows, drawn.dy, drawn.dx, drawn.flipped, *drawn.erased.T)
        ints += (mix.partner, *mix.pasted.T)
        out = np.empty((len(Field), len(self.rows)), np.int32)
        out[: Field.BLEND] = ints
        out[Field.BLEND] = mix.blend.view(np.int32)
        out[Field.FIRST], out[Field.SECOND] = self.labels, self.labels[mix.partner]
        out[Field.KEPT] = mix.kept.view(np.int32)
        return out


class Batches:
    """The training batches of a whole run, in order.

    Batch number `step` is a function of the seed and the step alone, so a resumed run sees the same
    batches as an uninterrupted one. Each epoch has its own order; the last images, if they do
    not fill a batch, are left out of that epoch.

    balance: draw each class equally often in an epoch, whose length is unchanged.

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
        balance: bool = False,
    ):
        if batch_size > len(split):
            raise UserError(
                f"batch_size {batch_size} is larger than the training set of {len(split)} images; "
                f"choose at most {len(split)}"
            )
        self.split, self.batch_size, self.num_classes = split, batch_size, num_classes
        self.augmentation, self.statistics, self.seed = augmentation, statistics, seed
        self.per_epoch = len(split) // batch_size
        order = partial(_balanced_order, split.labels) if balance else partial(_order, len(split))
        self._order = lru_cache(maxsize=1)(partial(order, seed))  # kept for the next step

    def batch(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Images float32 (B, C, H, W), augmented and normalized, and targets: int64 (B,), or
        float32 (B, K) where images were mixed."""
        rows = self.rows(step)
        return self.augmentation.apply(
            self.split.images[rows],
            self.split.labels[rows],
            self.num_classes,
            self.rng(step),
            self.statistics,
        )

    def plan(self, step: int, rng: np.random.Generator | None = None) -> Plan:
        """The same batch, with its augmentation drawn but not applied.

        RandAugment is not included, as it works on images, on the host. To train with it, call
        `rand_augment` on the images `rows(step)` with `rng(step)`, and pass that on as `rng`; then
        the plan continues as `batch` does.
        """
        rows = self.rows(step)
        shape = (len(rows), *self.split.images.shape[1:])
        drawn = self.augmentation.draw(shape, self.rng(step) if rng is None else rng)
        return Plan(rows, self.split.labels[rows], drawn)

    def rows(self, step: int) -> np.ndarray:
        """int (B,): the indices in the split of a step's images."""
        epoch, index = divmod(step, self.per_epoch)
        order = self._order(epoch)
        return order[index * self.batch_size : (index + 1) * self.batch_size]

    def rng(self, step: int) -> np.random.Generator:
        """The generator of a step's augmentation."""
        return generator(self.seed, Purpose.AUGMENT, step)

    def ahead(
        self, start: int, stop: int, prepare: Callable[[int], Any] | None = None
    ) -> Generator[Any, None, None]:
        """prepare(step) for steps start … stop - 1; each is prepared in a thread while the
        previous one is used. Without `prepare`: their batches."""
        prepare = prepare or self.batch
        with ThreadPoolExecutor(1, "minivit-batches") as worker:
            future: Any = worker.submit(prepare, start) if start < stop else None
            for step in range(start, stop):
                current = future.result()
                future = worker.submit(prepare, step + 1) if step + 1 < stop else None
                yield current


def _order(count: int, seed: int, epoch: int) -> np.ndarray:
    """An epoch's order, int (count,), read-only because it is used for many steps."""
    order = generator(seed, Purpose.ORDER, epoch).permutation(count)
    order.flags.writeable = False
    return order


def _balanced_order(labels: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """Rows for an epoch as long as `_order`'s, int (N,): round after round, each with one image of
    every class. So all classes are drawn equally often, to within one image, even if the last rows
    do not fill a batch; and so are all images of a class.
    """
    rng = generator(seed, Purpose.ORDER, epoch)
    count = len(labels)
    shuffled = rng.permutation(count)
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    _, starts, sizes = np.unique(labels[by_class], return_index=True, return_counts=True)
    rounds = -(-count // len(sizes))
    classes = rng.permuted(np.tile(np.arange(len(sizes)), (rounds, 1)), axis=1).ravel()[:count]
    turn = np.arange(count) // len(sizes)
    order = by_class[starts[classes] + turn % sizes[classes]]
    order.flags.writeable = False
    return order
