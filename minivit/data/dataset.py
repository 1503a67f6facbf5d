"""What a data set is to the rest of the house: pictures, labels and the names of the classes."""

from dataclasses import dataclass

import numpy as np

from minivit.errors import UserError


@dataclass(frozen=True)
class Split:
    """Pictures and their labels.

    images: uint8 (N, C, H, W), labels: int64 (N,), masks: bool (N, H, W), True where the labelled
    figure is, or None where nobody drew them.
    """

    images: np.ndarray
    labels: np.ndarray
    masks: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows) -> "Split":
        masks = None if self.masks is None else self.masks[rows]
        return Split(self.images[rows], self.labels[rows], masks)

    def hold_out(self, fraction: float, rng: np.random.Generator) -> tuple["Split", "Split"]:
        """(the rest, the share held out), drawn at random; at least one image is held out.

        Raises:
            UserError: nothing would be left.
        """
        order = rng.permutation(len(self))
        count = max(1, round(fraction * len(self)))
        if count >= len(self):
            raise UserError(
                f"val_fraction {fraction} leaves no image of {len(self)} to train on; "
                "choose a smaller one"
            )
        return self[order[count:]], self[order[:count]]


@dataclass(frozen=True)
class Dataset:
    """A training and a test split over the same classes.

    name: what to call it wherever a result measured on it is quoted.
    """

    name: str
    train: Split
    test: Split
    class_names: tuple[str, ...]

    @property
    def num_classes(self) -> int:
        return len(self.class_names)
