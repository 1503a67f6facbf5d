"""All that decides a training, and the recipes that have names."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from minivit.data import Augmentation
from minivit.errors import UserError
from minivit.models import ViTConfig


@dataclass(frozen=True)
class TrainConfig:
    """How to train; a value out of its range is refused (UserError)."""

    dataset: Literal["auto", "cifar10", "shapes"] = "auto"
    """cifar10; shapes, drawn by code; or auto: cifar10 where it is or can be had, else shapes."""
    data_dir: Path = Path("data")
    """Where CIFAR-10 lies or is downloaded to."""
    data_url: str | None = None
    """Another address to download CIFAR-10 from; None for its authors'."""
    val_fraction: float = 0.05
    """Share of the training set held out to choose the best weights by."""
    train_images: int | None = None
    """Training pictures to use, of each class alike; None for all."""
    pretext: Literal["none", "colour", "colours", "pixels"] = "none"
    """What to learn of corrupted patches in place of classes: their mean colour, the colours of
    their 4×4 cells, or their pixels; none: classes. See minivit.pretrain."""
    vit: ViTConfig = field(default_factory=ViTConfig)
    augmentation: Augmentation = field(default_factory=Augmentation)
    epochs: int = 20
    """Passes over the training set."""
    batch_size: int = 128
    """Images a step of the optimizer."""
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
    """Of weights, order, augmentation, dropout and the validation split."""
    device: str = "cpu"
    """cpu, cuda, or cuda:N."""
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    """fp32; on a GPU also tf32, products with fewer bits; or bf16, fused kernels: the fast one."""
    graph: bool = True
    """With bf16: a whole step as one CUDA graph; without, each kernel is launched, to debug."""
    threads: int | None = None
    """Workers on a CPU; None for one a physical core."""
    micro_batch: int | None = None
    """Images at a time in a worker (gradient accumulation); None for what the CPU's cache holds."""
    eval_every: int = 1
    """Epochs between two looks at the validation pictures, each with a checkpoint, besides the one
    after the last."""
    log_every: int = 50
    """Steps between two lines of metrics."""
    save_every: int | None = None
    """Steps between two checkpoints, besides the one after each look; None for those alone."""

    def __post_init__(self):
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


RECIPES: dict[str, dict] = {
    "cifar10": {
        "dataset": "cifar10",
        "pool": "mean",
        "pos_embed": "sincos2d",
        "activation": "gelu_tanh",
        "epochs": 19,
        "optimizer": "muon",
        "lr": 2.5e-3,
        "warmup": 0.5,
        "betas": (0.9, 0.95),
    },
    # ViT-Lite-7/4, mostly by the recipe of Lee et al. (2021), longer; not measured yet
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
    # the figures are upright and whole: no crop, no flip, and few passes do
    "shapes": {
        "dataset": "shapes",
        "dim": 96,
        "depth": 4,
        "epochs": 5,
        "optimizer": "muon",
        "lr": 2.5e-3,
        "warmup": 0.3,
        "betas": (0.9, 0.95),
        "label_smoothing": 0.0,
        "crop": 0,
        "flip": 0.0,
    },
}
"""Recipes by name: what they change of `TrainConfig`'s defaults, as flags."""
