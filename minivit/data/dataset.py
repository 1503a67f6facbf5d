"""Data sets: images, labels and class names."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from minivit.backend.machine import require_memory
from minivit.data.grayscale import with_channels
from minivit.data.preprocess import Preprocess, Resize
from minivit.data.stored import Images, blocks, take
from minivit.errors import UserError

MAX_NAME_LENGTH = 200


def is_name(name: str) -> bool:
    """Whether a name, such as a class's, may be printed: in any script, on one line of bounded
    length; one from a file could contain terminal control sequences.
    """
    return 0 < len(name) <= MAX_NAME_LENGTH and name.isprintable()


@dataclass(frozen=True)
class Split:
    """Images and their labels.

    images: uint8 (N, C, H, W), in memory or in a file; `pixels` has them in memory. labels: int64
    (N,). masks: bool (N, H, W), True where the labeled figure is, or None if there are none.
    names: str (N,), of the image files, or None if there are none.

    Raises:
        UserError: the numbers of labels and images differ.
    """

    images: Images
    labels: np.ndarray
    masks: np.ndarray | None = None
    names: np.ndarray | None = None

    def __post_init__(self) -> None:
        arrays = {"images": self.images, "masks": self.masks, "names": self.names}
        for name, array in arrays.items():
            if array is not None and len(array) != len(self.labels):
                raise UserError(
                    f"{len(array)} {name} and {len(self.labels)} labels; expected equal numbers"
                )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: slice | np.ndarray) -> "Split":
        masks, names = (None if a is None else a[rows] for a in (self.masks, self.names))
        return Split(take(self.images, rows), self.labels[rows], masks, names)

    @property
    def pixels(self) -> np.ndarray:
        """All images, in memory."""
        return np.asarray(self.images)

    def class_counts(self, num_classes: int) -> np.ndarray:
        """The number of images of each class, int (K,)."""
        return np.bincount(self.labels, minlength=num_classes)

    def num_held_out(self, fraction: float) -> int:
        """How many images `hold_out` takes: at least one, or none if the fraction is 0."""
        return max(1, round(fraction * len(self))) if fraction else 0

    def hold_out(
        self, fraction: float, rng: np.random.Generator, *, stratify: bool = False
    ) -> tuple["Split", "Split"]:
        """(rest, held out), drawn at random: at least one image is held out, or none if the
        fraction is 0.

        stratify: hold out classes in proportion (to within one image).

        Raises:
            UserError: nothing would be left to train on.
        """
        order = self._stratified_order(rng) if stratify else rng.permutation(len(self))
        count = self.num_held_out(fraction)
        if count >= len(self):
            raise UserError(
                f"val_fraction {fraction} leaves none of the {len(self)} images to train on; "
                "choose a smaller one"
            )
        return self[order[count:]], self[order[:count]]

    def hold_out_of_each(
        self, fraction: float, rng: np.random.Generator
    ) -> tuple["Split", "Split"]:
        """(rest, held out), drawn at random within each class: at least one image of a class, but
        none of a class with a single image.
        """
        order = rng.permutation(len(self))
        held_out: list[np.ndarray] = []
        for k in np.unique(self.labels):
            rows = order[self.labels[order] == k]
            held_out.append(rows[: min(max(1, round(fraction * len(rows))), len(rows) - 1)])
        mask = np.zeros(len(self), bool)
        mask[np.concatenate(held_out)] = True
        return self[np.flatnonzero(~mask)], self[np.flatnonzero(mask)]

    def sample(self, count: int, rng: np.random.Generator) -> "Split":
        """`count` images drawn at random, classes in proportion (to within one image).

        Raises:
            UserError: there are fewer images.
        """
        if count > len(self):
            raise UserError(
                f"{count} images requested, but there are {len(self)}; choose at most that many"
            )
        return self[self._stratified_order(rng)[:count]]

    def _stratified_order(self, rng: np.random.Generator) -> np.ndarray:
        """All rows in random order, such that the first n, for any n, have the classes in
        proportion.
        """
        order = rng.permutation(len(self))
        labels = self.labels[order]
        by_class = np.argsort(labels, kind="stable")
        starts = np.searchsorted(labels[by_class], labels[by_class])
        turn = np.arange(len(self)) - starts  # the first of each class, the second of each, …
        sizes = np.bincount(labels)[labels[by_class]]
        return order[by_class[np.argsort((turn + 0.5) / sizes, kind="stable")]]

    def resized(self, size: tuple[int, int], resize: Resize = "crop") -> "Split":
        """The same images at another (height, width), resized as by `Preprocess`; masks by the
        nearest pixel.

        Raises:
            UserError: not enough memory.
        """
        preprocess = Preprocess(size, self.images.shape[1], resize)
        masks = None if self.masks is None else preprocess.of_masks(self.masks)
        return Split(preprocess.of_arrays(self.pixels), self.labels, masks, self.names)

    def with_channels(self, channels: int) -> "Split":
        """The same images as grayscale (1) or RGB (3); see `grayscale.with_channels`.

        Raises:
            UserError: neither 1 nor 3 channels, or not enough memory.
        """
        count, _, H, W = self.images.shape
        require_memory(f"a set of {count:,} images", {"images": count * channels * H * W})
        return replace(self, images=with_channels(self.images, channels))


@dataclass(frozen=True)
class Dataset:
    """A training and a test split over the same classes, and a validation split if the data set
    comes with one; else part of the training split is held out for it.

    name: to be stated with every result measured on it.

    Raises:
        UserError: an empty split, or a label outside the classes.
    """

    name: str
    train: Split
    test: Split
    class_names: tuple[str, ...]
    val: Split | None = None

    def __post_init__(self) -> None:
        for name, split in self.splits.items():
            if not len(split):
                raise UserError(f"{self.name}: the {name} set is empty; expected at least 1 image")
            low, high = int(split.labels.min()), int(split.labels.max())
            if low < 0 or high >= self.num_classes:
                raise UserError(
                    f"{self.name}: the {name} set has labels from {low} to {high}; expected 0 to "
                    f"{self.num_classes - 1}, as there are {self.num_classes} classes"
                )

    @property
    def splits(self) -> dict[str, Split]:
        """The existing splits by name: training, test, validation."""
        found = {"training": self.train, "test": self.test, "validation": self.val}
        return {name: split for name, split in found.items() if split is not None}

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the class names and of all images and labels in order."""
        digest = hashlib.sha256(repr(self.class_names).encode())
        for split in self.splits.values():
            images, labels = split.images, split.labels
            digest.update(f"{images.dtype.str} {images.shape}".encode())
            for block in blocks(images):
                digest.update(np.ascontiguousarray(block).data)
            digest.update(f"{labels.dtype.str} {labels.shape}".encode())
            digest.update(np.ascontiguousarray(labels).data)
        return digest.hexdigest()

    def resized(self, size: tuple[int, int], resize: Resize = "crop") -> "Dataset":
        """The same with images of another (height, width); itself if they already have it.

        resize: how the aspect ratio is changed, see `Preprocess`.
        """
        if self.train.images.shape[2:] == size:
            return self
        return self._changed(lambda split: split.resized(size, resize))

    def with_channels(self, channels: int) -> "Dataset":
        """The same with grayscale (1) or RGB images (3); itself if it already has them."""
        if self.train.images.shape[1] == channels:
            return self
        return self._changed(lambda split: split.with_channels(channels))

    def _changed(self, change: Callable[[Split], Split]) -> "Dataset":
        val = None if self.val is None else change(self.val)
        return replace(self, train=change(self.train), test=change(self.test), val=val)
