"""A run's directory: config.json, metrics.jsonl, figures, checkpoints."""

import dataclasses
import json
from datetime import datetime
from pathlib import Path

from minivit.backend import use_device
from minivit.cli import as_flags, parse, read_flags
from minivit.engine.checkpoint import Checkpoint, copy_into, load_checkpoint, write_atomically
from minivit.engine.config import TrainConfig
from minivit.errors import UserError
from minivit.models import ViT, ViTConfig


class Run:
    """The files of one training.

    config.json: every field of its `TrainConfig`. metrics.jsonl: a line a log step and an epoch.
    checkpoints/last.safetensors: where to go on. checkpoints/best.safetensors: the weights that did
    best on the validation split.
    """

    def __init__(self, path: Path):
        self.path = path
        self.config_file = path / "config.json"
        self.metrics_file = path / "metrics.jsonl"
        self.last = path / "checkpoints" / "last.safetensors"
        self.best = path / "checkpoints" / "best.safetensors"

    @classmethod
    def create(cls, root: Path, config: TrainConfig) -> "Run":
        """A fresh directory `root/DATE-TIME-DATASET`, numbered where that exists already."""
        stem = f"{datetime.now():%Y%m%d-%H%M%S}-{config.dataset}"
        for number in range(1, 1000):
            path = root / (stem if number == 1 else f"{stem}-{number}")
            try:
                path.mkdir(parents=True)
            except FileExistsError:
                continue
            (path / "checkpoints").mkdir()
            run = cls(path)
            write_atomically(run.config_file, to_json(config).encode())
            return run
        raise UserError(f"{root}: a thousand runs began in this second; wait for the next")

    @classmethod
    def open(cls, path: Path) -> "Run":
        """An existing run. Raises UserError where `path` is not one."""
        run = cls(path)
        if not run.config_file.is_file():
            what = "no such directory" if not path.exists() else "not a run: it has no config.json"
            raise UserError(f"{path}: {what}; expected a directory that minivit.train made")
        return run

    def read_config(self) -> TrainConfig:
        """What config.json says. Raises UserError where that is no training's."""
        return parse(TrainConfig, as_flags(read_flags(self.config_file)), str(self.config_file))

    def append(self, **metrics) -> None:
        """One line of metrics.jsonl."""
        with open(self.metrics_file, "a") as file:
            file.write(json.dumps(metrics) + "\n")

    def metrics(self) -> list[dict]:
        """All whole lines of metrics.jsonl (a crash may have cut the last)."""
        if not self.metrics_file.exists():
            return []
        lines = self.metrics_file.read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def forget_after(self, step: int) -> None:
        """Drop the metrics of steps that a resumed training will do again."""
        kept = [line for line in self.metrics() if line["step"] <= step]
        write_atomically(
            self.metrics_file, "".join(json.dumps(line) + "\n" for line in kept).encode()
        )


def to_json(config: TrainConfig) -> str:
    return json.dumps(dataclasses.asdict(config), indent=2, default=str) + "\n"


def load_model(path: Path, device: str = "cpu") -> tuple[ViT, dict]:
    """The best weights of a run, or those of a checkpoint file, as a model.

    Args:
        path: a run's directory or a .safetensors file of it.

    Returns:
        model, state: what the checkpoint says besides ("class_names", "mean", "std", …).

    Raises:
        UserError: not a run, no checkpoint yet, or a damaged one.
    """
    file = best_checkpoint(path)
    checkpoint = load_checkpoint(file)
    if checkpoint.state.get("pretext", "none") != "none":
        raise UserError(
            f"{file}: was pre-trained on patches and knows no classes; "
            f"python -m minivit.finetune --from {path} teaches it some"
        )
    use_device(device)
    model = ViT(ViTConfig(**checkpoint.state["vit"]), device=device)
    restore_weights(model, checkpoint, str(file))
    return model, checkpoint.state


def best_checkpoint(path: Path) -> Path:
    """The file with the best weights of a run, or the last; a .safetensors file is itself.

    Raises:
        UserError: not a run.
    """
    if path.suffix == ".safetensors":
        return path
    run = Run.open(path)
    return run.best if run.best.exists() else run.last


def restore_weights(model: ViT, checkpoint: Checkpoint, source: str) -> None:
    """The weights to use: the moving average where the training kept one."""
    arrays = checkpoint.groups.get("ema", checkpoint.weights)
    copy_into(model.flat.views(model.flat.data), arrays, source)
