"""Runs that differ in one setting, like the paper's studies.

Each member is a separate run, in a directory named after it; finished runs are not repeated, and
stopped ones are resumed. Most have the size of Nano/4, 0.3 million parameters, so that a study
takes an hour and not a day; those of the study `recipe` have the size of Micro/4.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from minivit.config import overlay
from minivit.data import Dataset
from minivit.engine.budget import epochs_within, seconds_per_epoch
from minivit.engine.config import TrainConfig
from minivit.engine.once import train_once
from minivit.engine.recipes import base_settings
from minivit.engine.run import Run
from minivit.models.config import preset_for_data


@dataclass(frozen=True)
class Member:
    """One row of the table: a curve's name, the point on the curve, and the settings it changes."""

    group: str
    value: str
    changes: dict[str, Any]


def data_size() -> Iterator[Member]:
    """The paper's figure 3: how much data does each need?"""
    for model in ("Nano/4", "hybrid-Nano/4", "resnet-11"):
        for count in (1_000, 2_000, 5_000, 10_000, 20_000, 45_000):
            yield Member(model, f"{count}", {"train_images": count, **preset_for_data(model)})


def position() -> Iterator[Member]:
    """The paper's table 8."""
    for kind in ("none", "learned", "sincos2d", "relative"):
        yield Member("positions", kind, {**preset_for_data("Nano/4"), "pos_embed": kind})


def pooling() -> Iterator[Member]:
    """The paper's figure 9: each with several learning rates."""
    for pool in ("cls", "mean", "seq"):
        for lr in (6e-4, 1.25e-3, 2.5e-3, 5e-3):
            yield Member(pool, f"{lr:g}", {**preset_for_data("Nano/4"), "pool": pool, "lr": lr})


def shape() -> Iterator[Member]:
    """The paper's figure 8, at about the cost of Nano/4 each (45 MFLOP per image)."""
    variants: dict[str, dict[str, Any]] = {
        "baseline: 96 × 4, patch 4": {},
        "deeper: 64 × 8": {"dim": 64, "depth": 8},
        "wider: 136 × 2": {"dim": 136, "depth": 2},
        "larger patches: 204 × 4, patch 8": {"dim": 204, "patch_size": 8},
        "smaller patches: 48 × 2, patch 2": {"dim": 48, "depth": 2, "patch_size": 2},
    }
    yield from _one_at_a_time("shape", preset_for_data("Nano/4"), variants)


def regularisation() -> Iterator[Member]:
    """One at a time, added to the recipe without any, on few images, for many epochs."""
    none = {**preset_for_data("Nano/4"), "train_images": 5_000}
    none |= {"crop": 0, "flip": 0.0, "label_smoothing": 0.0, "weight_decay": 0.0}
    variants: dict[str, dict[str, Any]] = {
        "none": {},
        "weight decay": {"weight_decay": 0.05},
        "dropout": {"dropout": 0.1},
        "drop path": {"drop_path": 0.1},
        "label smoothing": {"label_smoothing": 0.1},
        "crop and flip": {"crop": 4, "flip": 0.5},
        "MixUp": {"mixup": 0.8},
        "CutMix": {"cutmix": 1.0},
        "RandAugment": {"rand_augment": 2},
    }
    yield from _one_at_a_time("regularisation", none, variants)


def recipe() -> Iterator[Member]:
    """The effect of each part of a recipe, one at a time. The plain recipe is the first one of
    CIFAR-10, so that its numbers stay valid when the recipe changes.
    """
    plain = {**preset_for_data("Micro/4"), "pool": "mean", "pos_embed": "sincos2d"}
    plain |= {"activation": "gelu_tanh", "optimizer": "muon", "lr": 2.5e-3, "warmup": 0.5}
    plain |= {"betas": (0.9, 0.95), "crop": 4, "flip": 0.5}
    variants: dict[str, dict[str, Any]] = {
        "plain": {},
        "convolutional stem": {"stem": "conv"},
        "convolutional stem, Nano": {**preset_for_data("hybrid-Nano/4"), "pool": "mean"},
        "two residual convolutions, 4 blocks": {"stem": "conv", "residual_convs": 2, "depth": 4},
        "strided convolutions": {"stem": "strided"},
        "images of 24, then 32 pixels": {"train_sizes": (24, 32)},
        "images of 16, 24, then 32 pixels": {"train_sizes": (16, 24, 32)},
        "PatchDropout 0.5": {"patch_dropout": 0.5},
        "PatchDropout 0.25": {"patch_dropout": 0.25},
        "batch of 64": {"batch_size": 64},
        "batch of 256": {"batch_size": 256},
        "learning rate 0.00125": {"lr": 1.25e-3},
        "learning rate 0.005": {"lr": 5e-3},
        "cosine": {"schedule": "cosine"},
        "moving average": {"ema_decay": 0.998},
        "RandAugment": {"rand_augment": 2},
        "RandAugment, one weaker operation": {"rand_augment": 1, "magnitude": 5},
        "MixUp": {"mixup": 0.2},
        "CutMix, half of the batches": {"cutmix": 1.0, "mix_prob": 0.5},
        "random erasing": {"erasing": 0.25},
        "drop path": {"drop_path": 0.1},
        "no label smoothing": {"label_smoothing": 0.0},
        "rotary positions": {"rope": "axial"},
        "mimetic initialization": {"attention_init": "mimetic"},
        "wider: 160 × 4, 2 heads": {"dim": 160, "depth": 4, "num_heads": 2},
        "wider: 192 × 3": {"dim": 192, "depth": 3},
        "deeper: 96 × 10": {"dim": 96, "depth": 10},
        "MLP ratio 4": {"mlp_ratio": 4.0},
    }
    yield from _one_at_a_time("recipe", plain, variants)


def _one_at_a_time(
    group: str, base: Mapping[str, Any], variants: Mapping[str, Mapping[str, Any]]
) -> Iterator[Member]:
    """A member for each named change to the base."""
    for name, changes in variants.items():
        yield Member(group, name, {**base, **changes})


VALIDATIONS = 5
"""How often a member is validated: after each of hundreds of short epochs, validation would take
longer than training.
"""

QUICK: Mapping[str, Any] = {"train_images": 32, "batch_size": 16, "val_fraction": 0.001}
QUICK_IMAGES = 64
QUICK_TEST = 50
"""--quick: four steps for each member, and so many test images, to check that everything works."""

STUDIES: dict[str, Callable[[], Iterator[Member]]] = {
    "data-size": data_size,
    "position": position,
    "pooling": pooling,
    "shape": shape,
    "regularisation": regularisation,
    "recipe": recipe,
}
"""The members of each study, by its name."""


@dataclass(frozen=True)
class Plan:
    """The settings common to all members of a study.

    dataset: by name or path. images: how many each run sees, epochs times the training set. budget:
    seconds of training for each, instead of `images`: as many epochs as fit. quick: a few steps for
    each member, and of members that differ in the number of images, only the one with the fewest.
    """

    study: str
    dataset: str
    images: int
    quick: bool
    data_dir: Path | None = None
    budget: float | None = None

    @cached_property
    def data(self) -> Dataset:
        """The data set, the same for all members; read once."""
        dataset = self.config(Member("", "", {}), 0).load_data()
        if not self.quick:
            return dataset
        return dataclasses.replace(dataset, test=dataset.test[:QUICK_TEST])

    @cached_property
    def base_settings(self) -> Mapping[str, Any]:
        """The settings of the data set, which each member changes."""
        return base_settings(self.dataset)

    @property
    def data_name(self) -> str:
        """The name of the data set in the name of a folder."""
        return TrainConfig(dataset=self.dataset).data_name

    def available(self) -> int:
        """The number of training images, without those held out for validation."""
        return self.config(Member("", "", {}), 0).available(self.data)

    def members(self, available: int) -> list[Member]:
        """The members of the study for which there are enough images, divisible into patches."""
        sides = self.config(Member("", "", {}), 0).vit.image_hw
        found = [
            m
            for m in STUDIES[self.study]()
            if m.changes.get("train_images", 0) <= available
            and not any(side % m.changes.get("patch_size", 1) for side in sides)
        ]
        if not self.quick:
            return found
        fewest: dict[str, int] = {}
        for member in found:
            count = member.changes.get("train_images", 0)
            fewest[member.group] = min(count, fewest.get(member.group, count))
        return [m for m in found if m.changes.get("train_images", 0) == fewest[m.group]]

    def config(self, member: Member, seed: int) -> TrainConfig:
        """The settings of the data set with the member's changes."""
        quick = QUICK if self.quick else {}
        settings = {**self.base_settings, **member.changes, **quick, "seed": seed}
        train_sizes = settings.pop("train_sizes", ())
        config = overlay(TrainConfig(), {**settings, "data_dir": self.data_dir})
        return config.adapted(train_sizes).resolved()

    def train(self, folder: Path, member: Member, seed: int, available: int) -> float:
        """Test accuracy of one run: trained, resumed, or read if it is finished."""
        config = self.config(member, seed)
        name = f"{member.group}-{member.value}-seed{seed}".replace("/", "_").replace(" ", "_")
        data = self.data.resized(config.vit.image_hw, config.resize)
        if not Run(folder / name).config_file.exists():  # otherwise its own config applies
            epochs = self.epochs(config, data, available)
            eval_every = math.ceil(epochs / VALIDATIONS)
            config = dataclasses.replace(config, epochs=epochs, eval_every=eval_every)
        return train_once(folder / name, config, data)

    def epochs(self, config: TrainConfig, data: Dataset, available: int) -> int:
        """As many epochs as give the study's number of images, or fit its budget."""
        if self.budget is not None and not self.quick:
            timed_config = dataclasses.replace(config, eval_every=VALIDATIONS)
            seconds = seconds_per_epoch(timed_config.for_data(data), data)
            return epochs_within(self.budget, seconds)
        images = QUICK_IMAGES if self.quick else self.images
        return max(1, round(images / (config.train_images or available)))
