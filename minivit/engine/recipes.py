"""Recipes: combinations of settings, by name."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from minivit.data import SOURCES, Source, find_source


def base_settings(dataset: str, source: Source | None = None) -> Mapping[str, Any]:
    """The settings of a data set that suit every task, for pre-training, fine-tuning and studies.

    source, Raises: as `recipe_of`.
    """
    return {"dataset": dataset, **(source or find_source(dataset)).recipe}


_CIFAR10 = base_settings("cifar10")
_HYBRID = {"stem": "conv", "residual_convs": 2, "depth": 4}
_HALF_HOUR = {**_CIFAR10, "train_sizes": (16, 24, 32), "rand_augment": 1, "magnitude": 7}
_FIVE_MINUTES = {**_CIFAR10, "train_sizes": (16, 16, 24, 32)}

RECIPES: dict[str, Mapping[str, Any]] = {
    **{name: base_settings(name) for name in SOURCES},
    # two minutes
    "shapes": {**base_settings("shapes"), "train_sizes": (16, 24, 32), "epochs": 6},
    # half an hour
    "cifar10": {**_HALF_HOUR, "epochs": 52},
    "cifar10-hybrid": {**_HALF_HOUR, **_HYBRID, "epochs": 22},
    # an hour
    "cifar10-hybrid-hour": {**_HALF_HOUR, **_HYBRID, "rand_augment": 2, "epochs": 48},
    # five minutes
    "cifar10-5min": {**_FIVE_MINUTES, "epochs": 6},
    "cifar10-hybrid-5min": {**_FIVE_MINUTES, **_HYBRID, "epochs": 5},
    # ViT-Lite-7/4, mostly with the recipe of Lee et al. (2021), longer; not measured yet
    "cifar10-gpu": {
        "dataset": "cifar10",
        "dim": 256,
        "depth": 7,
        "num_heads": 4,
        "pool": "mean",
        "activation": "gelu_tanh",
        "device": "cuda",
        "precision": "bf16",
        "epochs": 1000,
        "batch_size": 512,
        "lr": 1e-3,
        "schedule": "cosine",
        "warmup": 10.0,
        "weight_decay": 0.05,
        "betas": (0.9, 0.95),
        "drop_path": 0.1,
        "mixup": 0.8,
        "cutmix": 1.0,
        "mix_prob": 0.5,
        "erasing": 0.25,
        "ema_decay": 0.9998,
        "eval_every": 10,
        "log_every": 500,
    },
}
"""The changes that each makes to `TrainConfig`'s defaults: one recipe for every data set, and
others.
"""


class Measured(NamedTuple):
    """The result of a recipe; docs/experiments.md says on which CPU.

    minutes: of training with validation. accuracy: on the test set, the mean over the seeds.
    """

    minutes: float
    accuracy: float
    seeds: int


MEASURED: dict[str, Measured] = {
    "shapes": Measured(3, 0.985, 1),
    "cifar10": Measured(133, 0.841, 3),
    "cifar10-hybrid": Measured(61, 0.868, 3),
    "cifar10-hybrid-hour": Measured(174, 0.883, 1),
    "cifar10-5min": Measured(13, 0.725, 1),
    "cifar10-hybrid-5min": Measured(14, 0.796, 1),
}
"""By the recipe's name, in minutes of one core; CIFAR-10 was re-encoded as JPEG."""

BUDGET_RECIPES = ("cifar10", "cifar10-5min")
"""Recipes that `recipe_for` chooses from, all of a plain ViT."""

QUICK: Mapping[str, Any] = {"epochs": 1, "train_images": 2000}
"""One epoch of at most so many images, to check that everything works."""


def recipe_for(dataset: str, ratio: float) -> str:
    """The name of a data set's recipe that was measured nearest to a time.

    ratio: of that time to the time of the data set's own recipe.
    """
    names = [name for name in BUDGET_RECIPES if RECIPES[name]["dataset"] == dataset]
    reference = MEASURED.get(dataset)
    if reference is None or not names:
        return dataset
    return min(
        names, key=lambda name: abs(math.log(MEASURED[name].minutes / reference.minutes / ratio))
    )


def recipe_of(dataset: str, source: Source | None = None) -> Mapping[str, Any]:
    """The recipe of a data set, by its name or path: for your own images, one for about as many.

    source: what `find_source` found there, if known, so that the folder is not listed again.

    Raises:
        UserError: there is no such data set.
    """
    return RECIPES.get(dataset) or base_settings(dataset, source)
