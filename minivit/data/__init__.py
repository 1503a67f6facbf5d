"""Pictures: where they come from, how they are varied, and how they come in batches."""

from minivit.data.augment import Augmentation, Drawn, denormalize, normalize, scale_and_offset
from minivit.data.batches import Batches, Field, Plan, Statistics
from minivit.data.dataset import Dataset, Split
from minivit.data.picture import open_picture

__all__ = [
    "Augmentation",
    "Batches",
    "Dataset",
    "Drawn",
    "Field",
    "Plan",
    "Split",
    "Statistics",
    "denormalize",
    "normalize",
    "open_picture",
    "scale_and_offset",
]
