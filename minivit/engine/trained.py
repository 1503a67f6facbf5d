"""A trained model with everything needed to use it or to start another training run from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minivit.backend import get_xp, use_device
from minivit.data import Preprocess, Statistics
from minivit.engine.checkpoint import Checkpoint, copy_into, load_checkpoint
from minivit.engine.run import Run
from minivit.engine.state import TrainState
from minivit.errors import UserError, pasteable, shown
from minivit.models import Build, Model, ViT, ViTConfig


@dataclass(frozen=True)
class Pretrained:
    """What training may start from.

    weights: arrays by the model's names. statistics: for normalizing its images. preprocess: how
    image files are prepared for it. class_names: of its outputs. pretext: what it learned instead
    of classes, or "none". own_layers: see `Model`.
    """

    vit: ViTConfig
    weights: Mapping[str, np.ndarray]
    statistics: Statistics
    preprocess: Preprocess
    class_names: tuple[str, ...]
    pretext: str = "none"
    own_layers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Trained:
    """model: with the best weights. statistics: for normalizing its images. preprocess: how image
    files are prepared for it. class_names: of its outputs. data: the name of the data set
    that it was trained on, or of the file that it came from. notes: assumptions about what the file
    does not specify, one line each. data_digest: of that data set (`Dataset.digest`); "" if
    unknown. build: the function that made the model.
    """

    model: ViT
    statistics: Statistics
    preprocess: Preprocess
    class_names: tuple[str, ...]
    data: str
    notes: tuple[str, ...] = ()
    data_digest: str = ""
    build: Build = ViT


def load_pretrained(path: Path) -> Pretrained:
    """The best weights of a run, or those of a checkpoint file; the moving average if the run kept
    one.

    Args:
        path: a run's directory or a .safetensors file from it.

    Raises:
        UserError: not a run, no checkpoint yet, or a damaged one.
    """
    _, checkpoint, state = _best(path)
    return Pretrained(
        state.vit,
        weights_to_use(checkpoint),
        state.statistics,
        state.preprocess,
        state.class_names,
        state.pretext,
        state.own_layers,
    )


def load_model(path: Path, device: str = "cpu", build: Build = ViT) -> Trained:
    """The best weights of a run, or those of a checkpoint file, as a model.

    Args:
        path: a run's directory or a .safetensors file from it. build: the function that made the
        model, if it has layers of your own.

    Raises:
        UserError: not a run, no checkpoint yet, or a checkpoint that is damaged, has other layers,
        has weights that are not finite, or is of a model that was pre-trained on patches and has no
        classes.
    """
    file, checkpoint, state = _best(path)
    if state.pretext != "none":
        raise UserError(
            f"{file}: pre-trained on patches, without classes; train it on a data set with minivit "
            f"finetune --from {pasteable(path)}"
        )
    use_device(device)
    model = build(state.vit, seed=None, device=device)
    require_layers(model, state.own_layers, str(file))
    restore_weights(model, checkpoint, str(file))
    if not get_xp(model.flat.data).isfinite(model.flat.data).all():
        raise UserError(f"{file}: a weight is infinite or NaN; use an earlier checkpoint")
    return Trained(
        model,
        state.statistics,
        state.preprocess,
        state.class_names,
        state.data,
        data_digest=state.data_digest,
        build=build,
    )


def _best(path: Path) -> tuple[Path, Checkpoint, TrainState]:
    file = best_checkpoint(path)
    checkpoint = load_checkpoint(file)
    return file, checkpoint, TrainState.from_dict(checkpoint.state, str(file))


def best_checkpoint(path: Path) -> Path:
    """The file with the best weights of a run, or the last ones; a .safetensors file is returned as
    it is.

    Raises:
        UserError: not a run.
    """
    if path.suffix == ".safetensors":
        return path
    run = Run.open(path)
    return run.best if run.best.exists() else run.last


def require_layers(model: Model, saved: tuple[str, ...], source: str) -> None:
    """Raises UserError if a model's custom layers are not those that the weights come from; they
    are compared by name.
    """
    if model.own_layers != saved:
        had, has = (", ".join(map(shown, one)) or "none" for one in (saved, model.own_layers))
        raise UserError(
            f"{source}: layers that are not minivit's: {had}; expected {has}; use it from Python "
            "with the build= that made it (docs/change-one-thing.md)"
        )


def weights_to_use(checkpoint: Checkpoint) -> dict[str, np.ndarray]:
    """The moving average if the run kept one."""
    return checkpoint.groups.get("ema", checkpoint.weights)


def restore_weights(model: Model, checkpoint: Checkpoint, source: str) -> None:
    """Copy a checkpoint's weights, or their moving average, into a model."""
    copy_into(model.flat.views(model.flat.data), weights_to_use(checkpoint), source)
