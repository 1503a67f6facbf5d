"""Pictures: where they come from, how they are varied, and how they come in batches."""

from minivit.data.augment import Augmentation, denormalize, normalize
from minivit.data.batches import Batches, Statistics
from minivit.data.dataset import Dataset, Split
from minivit.data.picture import open_picture

__all__ = [
    "Augmentation",
    "Batches",
    "Dataset",
    "Split",
    "Statistics",
    "denormalize",
    "normalize",
    "open_picture",
]
