"""Shared by several tests: images, models and runs small enough to take almost no time."""

import dataclasses
from pathlib import Path

import numpy as np

from minivit.data import Augmentation, Dataset, Split
from minivit.engine import Run, TrainConfig, Trainer, load_checkpoint
from minivit.models import ViT, ViTConfig

NAMES = ("red", "green", "blue", "plain")
VIT = ViTConfig(image_size=8, patch_size=4, num_classes=4, dim=16, depth=2, num_heads=2)
AS_IS = Augmentation(crop=0, flip=0.0)
CONFIG = TrainConfig(
    dataset="shapes",
    vit=VIT,
    augmentation=AS_IS,
    epochs=3,
    batch_size=16,
    lr=3e-3,
    warmup=0.5,
    val_fraction=0.2,
    label_smoothing=0.0,
    threads=1,
    log_every=3,
)
"""On the 80 images of `dataset()`: 16 to validate, four steps an epoch."""


def as_flags(settings: dict) -> list[str]:
    """{"dim": 64, "augmentation": {"flip": 0.5}} -> --dim 64 --flip 0.5."""
    flags = []
    for name, value in settings.items():
        flag = f"--{name}".replace("_", "-")
        if isinstance(value, dict):
            flags += as_flags(value)
        elif isinstance(value, bool):
            flags.append(flag if value else flag.replace("--", "--no-"))
        else:
            flags += [flag, *map(str, value if isinstance(value, list | tuple) else [value])]
    return flags


FLAGS = as_flags(dataclasses.asdict(CONFIG))
"""`CONFIG` on a command line."""


def split(num_images: int, seed: int) -> Split:
    """Noise tinted by class: even a tiny model quickly learns to classify it."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(num_images) % len(NAMES))
    images = rng.integers(0, 160, (num_images, 3, 8, 8), dtype=np.uint8)
    images += 80 * np.eye(4, 3, dtype=np.uint8)[labels][:, :, None, None]
    return Split(images, labels)


def dataset(num_train: int = 80, num_test: int = 16) -> Dataset:
    return Dataset("Tints", split(num_train, 0), split(num_test, 1), NAMES)


def config(**changes) -> TrainConfig:
    """`CONFIG` with changes; those to `vit` and `augmentation` are given as dicts."""
    for name in ("vit", "augmentation"):
        fields = dataclasses.asdict(getattr(CONFIG, name)) | changes.get(name, {})
        changes[name] = type(getattr(CONFIG, name))(**fields)
    return dataclasses.replace(CONFIG, **changes)


def trainer(root: Path, data: Dataset | None = None, **changes) -> Trainer:
    """A trainer for a new run in its own directory under `root`."""
    settings = config(**changes)
    return Trainer(settings, data or dataset(), Run.create(root, settings))


def contents(run: Run) -> tuple[list, list]:
    """The complete result of a run, except for the times."""
    found = []
    for path in (run.last, run.best):
        checkpoint = load_checkpoint(path)
        groups = {"weights": checkpoint.weights, **checkpoint.groups}
        found.append(
            {
                f"{g}/{name}": a.tobytes()
                for g, arrays in groups.items()
                for name, a in arrays.items()
            }
        )
    lines = [{k: v for k, v in m.items() if k not in ("seconds", "rate")} for m in run.metrics()]
    return found, lines


def randomize(model: ViT, seed: int = 0) -> ViT:
    """Randomize all weights: initially the head is zero, and no gradient passes through it."""
    model.flat.data[...] = np.random.default_rng(seed).normal(0, 0.2, model.flat.data.shape)
    return model
