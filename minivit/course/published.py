"""A published model for chapter 17, or a small substitute."""

from pathlib import Path

from minivit.data import Preprocess, Statistics
from minivit.engine import Trained
from minivit.interop import load
from minivit.interop.timm import IMAGENET
from minivit.models import ViT, ViTConfig


def published(folder: str, side: int) -> Trained:
    """The model in a folder, for images of side × side pixels.

    If there is no such folder, a small model with random weights is used instead, so that all cells
    run. A printed line says which of the two it is.
    """
    if Path(folder).exists():
        found = load(folder, size=(side, side))
        print(f"{folder}: {found.model.num_parameters:,} numbers, {', '.join(found.notes)}")
        return found
    print(
        f"{folder}: not found (see docs/models.md for how to get one). A small model with random "
        "weights is used instead; its outputs mean nothing"
    )
    config = ViTConfig(image_size=side, patch_size=14, num_classes=0, dim=32, depth=2, num_heads=2)
    preprocess = Preprocess((side, side), 3)
    return Trained(ViT(config, seed=0), Statistics(**IMAGENET), preprocess, (), "random weights")
