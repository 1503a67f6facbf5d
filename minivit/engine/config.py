"""Training configuration."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from minivit import config
from minivit.data import Augmentation, Dataset, Request, find_source
from minivit.errors import UserError
from minivit.models import ViTConfig


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How to train; a value out of its range is refused (UserError)."""

    dataset: str = "auto"
    """Data set by name: cifar10; shapes, drawn by code; or auto: cifar10 where it is or can be
    downloaded, else shapes."""
    data_dir: Path = Path("data")
    """Folder where data sets lie or are downloaded to."""
    data_url: str | None = None
    """Another address to download the data set from; None for its authors'."""
    val_fraction: float = 0.05
    """Share of the training set held out to choose the best weights by; 0: the last are taken."""
    train_images: int | None = None
    """Training images to use, of each class alike; None: all."""
    pretext: Literal["none", "colour", "colours", "pixels"] = "none"
    """What to learn of corrupted patches in place of classes: their mean colour, the colours of
    their 4×4 cells, or their pixels; none: classes. See minivit pretrain."""
    vit: ViTConfig = field(default_factory=ViTConfig)
    augmentation: Augmentation = field(default_factory=Augmentation)
    epochs: int = 20
    """Passes over the training set."""
    batch_size: int = 128
    """Images per step of the optimizer."""
    optimizer: Literal["adamw", "muon", "adam", "sgd"] = "adamw"
    """AdamW, Muon (and AdamW for what is no hidden matrix), Adam (weight decay in the gradient), or
    SGD with momentum."""
    lr: float = 1.5e-3
    """Highest learning rate."""
    final_lr: float = 0.0
    """Learning rate at the end."""
    schedule: Literal["cosine", "linear", "constant"] = "linear"
    """How the learning rate falls after the warm-up."""
    warmup: float = 2.0
    """Epochs over which the learning rate rises."""
    weight_decay: float = 0.05
    """Decay of tensors with two or more axes."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Adam's beta1 and beta2."""
    momentum: float = 0.9
    """SGD's momentum; Muon keeps its own, 0.95."""
    nesterov: bool = False
    """Nesterov's form of SGD's momentum."""
    clip_norm: float | None = 1.0
    """Longest gradient (global norm); None for no clipping."""
    trainable: Literal["all", "head", "attention"] = "all"
    """What learns: all; the head; or the attention layers and the head."""
    label_smoothing: float = 0.1
    """Share of the target that is spread over all classes."""
    ema_decay: float | None = None
    """Evaluate and keep an exponential moving average of the weights; None for the weights."""
    seed: int = 0
    """Random seed for weights, data order, augmentation, dropout and the validation split."""
    device: str = "cpu"
    """cpu, cuda, or cuda:N."""
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    """fp32; on a GPU also tf32, products with fewer bits; or bf16, fused kernels: the fast one."""
    graph: bool = True
    """With bf16: a whole step as one CUDA graph; without, each kernel is launched, to debug."""
    threads: int | None = None
    """Workers on a CPU; None: one per physical core."""
    micro_batch: int | None = None
    """Images at a time in a worker (gradient accumulation); None for what the CPU's cache holds."""
    eval_every: int = 1
    """Validate and save a checkpoint every N epochs, and after the last one."""
    log_every: int = 50
    """Write a line of metrics every N steps."""
    save_every: int | None = None
    """Also save a checkpoint every N steps; None: only after validation."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str = "") -> Self:
        """The defaults with these settings in their place; see `config.overlay`."""
        return config.overlay(cls(), values, where)

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it; `from_dict` reads it."""
        return config.to_dict(self)

    def load_data(self, data_dir: Path | None = None, download: bool = True) -> Dataset:
        """The data set, at the model's image size.

        Args:
            data_dir: where it is, if it has moved since; None for where the config says.
            download: whether it may be downloaded; a run that had it needs no second copy.

        Raises:
            UserError: it can neither be found nor downloaded, or is damaged.
        """
        place = data_dir or self.data_dir
        request = Request(place, self.vit.image_hw, self.data_url, download)
        return find_source(self.dataset).load(request)

    def for_data(self, dataset: Dataset) -> Self:
        """The same with a model for as many classes and channels as the data set has."""
        vit = dataclasses.replace(
            self.vit,
            num_classes=dataset.num_classes,
            in_channels=dataset.train.images.shape[1],
        )
        return dataclasses.replace(self, vit=vit)

    def __post_init__(self) -> None:
        if self.dataset != "auto":
            find_source(self.dataset)
        at_least = {
            "train_images": 1,
            "epochs": 1,
            "batch_size": 1,
            "lr": 0,
            "final_lr": 0,
            "warmup": 0,
            "weight_decay": 0,
            "seed": 0,
            "threads": 1,
            "micro_batch": 1,
            "eval_every": 1,
            "log_every": 1,
            "save_every": 1,
        }
        for name, least in at_least.items():
            value = getattr(self, name)
            if value is not None and not value >= least:  # NaN is refused too
                raise UserError(f"{name} is {value}; expected at least {least}")
        shares = {"val_fraction": self.val_fraction, "label_smoothing": self.label_smoothing}
        shares |= {"momentum": self.momentum, "beta1": self.betas[0], "beta2": self.betas[1]}
        shares["ema_decay"] = self.ema_decay or 0.0
        for name, value in shares.items():
            if not 0.0 <= value < 1.0:
                raise UserError(f"{name} is {value}; expected at least 0 and below 1")
        if self.device == "cpu" and self.precision != "fp32":
            raise UserError(
                f"--precision {self.precision} needs --device cuda; a CPU computes in fp32"
            )
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise UserError(f"clip_norm is {self.clip_norm}; expected above 0, or None")
