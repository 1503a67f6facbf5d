"""Training configuration."""

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from minivit import config
from minivit.data import Augmentation, Dataset, Preprocess, Request, Source, find_source
from minivit.data.locations import folder_of, shared_folder
from minivit.data.preprocess import Resize
from minivit.data.registry import is_path, require_name
from minivit.errors import UserError
from minivit.models import ViTConfig
from minivit.models.config import SIDE
from minivit.ranges import Range, Ranged

IMAGES = Range(1, 1_000_000_000, "no data set has more", "images")
TRAIN_SIZES = replace(SIDE, count=(0, 100))  # more stages than anybody has published
EPOCHS = Range(1, 100_000, "no known training on images takes more", "epochs")
WARMUP = Range(0, EPOCHS.high, EPOCHS.why, "epochs")
BATCH = Range(1, 1_000_000, "larger batches are not known to work", "images")
STEPS = Range(1, 1_000_000_000, "no run has more", "steps")
RATE = Range(0, 100, "a single larger step diverges")
CLIP_NORM = Range(1e-6, 1e6, "beyond that, all gradients are clipped, or none")
FRACTION = Range(0, 0.99, "at 1 nothing would be left")
TEST_FRACTION = Range(0.01, 0.9, "less leaves nothing to test, more nothing to train on")
DECAY = Range(0, 0.999999, "beyond that, it averages over more than 1,000,000 steps")
SEED = Range(0, 2**63 - 1, "kernels take 64 bits")
THREADS = Range(1, 1_024, "no machine has more cores")
TIMEOUT = Range(1, 1_000_000, "a week is longer than any step", "seconds")


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Ranged):
    """How to train; a value out of its range is refused (UserError)."""

    dataset: str = "auto"
    """The path of your own images: a folder of class folders (also in train, val and test), a .zip
    or .tar.gz of such a folder, a .npz of images and labels, or a .csv of paths and labels. Or the
    name of a data set: cifar10, cifar100, cifar100-coarse, mnist, fashion-mnist; shapes, drawn by
    code; or auto: cifar10 if it is found or can be downloaded, else shapes."""
    data_dir: Path | None = None
    """Folder where data sets are found or downloaded to. None: ./data if the data set is there,
    else the folder in the environment variable MINIVIT_DATA, else the user's cache folder."""
    data_url: str | None = None
    """Another address to download the data set from; None: the address of its authors."""
    resize: Resize = "crop"
    """How images of another shape are fitted to --image-size: cropped to their center, padded with
    black, or stretched.
    """
    test_fraction: Annotated[float, TEST_FRACTION] = 0.2
    """Fraction of each class held out as the test set, if your own images come without one."""
    strict: bool = False
    """Raise an error if one of your own images cannot be read; otherwise it is reported and left
    out.
    """
    cache: bool = True
    """Keep decoded copies of your own images in the cache folder."""
    val_fraction: Annotated[float, FRACTION] = 0.05
    """Fraction of the training set held out to choose the best weights; 0: use the last weights."""
    stratify: bool = False
    """Hold out the same fraction of each class; otherwise draw from all images."""
    train_images: Annotated[int | None, IMAGES] = None
    """Number of training images to use, drawn from each class in proportion; None: all."""
    balance: bool = False
    """Draw each class equally often per epoch: images of small classes are repeated, and some of
    large classes are left out, different ones in each epoch.
    """
    pretext: Literal["none", "colour", "colours", "pixels"] = "none"
    """What to predict for corrupted patches instead of classes: their mean color (colour), the
    colors of their 4×4 cells (colours), or their pixels; none: classes. See minivit pretrain.
    """
    vit: ViTConfig = field(default_factory=ViTConfig)
    augmentation: Augmentation = field(default_factory=Augmentation)
    train_sizes: Annotated[tuple[int, ...], TRAIN_SIZES] = ()
    """Progressive resizing: sides of the training images in pixels, each for an equal part of the
    training, such as 16 24 32; empty: always the model's size.
    """
    epochs: Annotated[int, EPOCHS] = 20
    """Epochs (passes over the training set)."""
    batch_size: Annotated[int, BATCH] = 128
    """Images per optimizer step."""
    optimizer: Literal["adamw", "muon", "adam", "sgd"] = "adamw"
    """AdamW, Muon (for matrices in blocks and convolutions, with AdamW for the rest), Adam (weight
    decay in the gradient), or SGD with momentum.
    """
    lr: Annotated[float, RATE] = 1.5e-3
    """Peak learning rate."""
    final_lr: Annotated[float, RATE] = 0.0
    """Final learning rate."""
    schedule: Literal["cosine", "linear", "constant"] = "linear"
    """How the learning rate decays after warm-up."""
    warmup: Annotated[float, WARMUP] = 2.0
    """Epochs of learning rate warm-up."""
    weight_decay: Annotated[float, Range(0, 100, "0.05 is usual, 0.3 is strong")] = 0.05
    """Weight decay of tensors with two or more axes."""
    betas: Annotated[tuple[float, float], DECAY] = (0.9, 0.999)
    """Adam's beta1 and beta2."""
    momentum: Annotated[float, DECAY] = 0.9
    """SGD's momentum; Muon's is 0.95."""
    nesterov: bool = False
    """Use Nesterov momentum in SGD."""
    clip_norm: Annotated[float | None, CLIP_NORM] = 1.0
    """Maximum global norm of the gradient; None for no clipping."""
    trainable: Literal["all", "head", "attention"] = "all"
    """Parameters to train: all; the head; or the attention layers and the head."""
    label_smoothing: Annotated[float, FRACTION] = 0.1
    """Fraction of the target that is spread over all classes."""
    ema_decay: Annotated[float | None, DECAY] = None
    """Evaluate and keep an exponential moving average of the weights, with this decay; None: the
    weights themselves."""
    seed: Annotated[int, SEED] = 0
    """Random seed for weights, data order, augmentation, dropout and the validation split."""
    device: str = "cpu"
    """cpu, cuda, or cuda:N."""
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    """fp32; on a GPU also tf32, matrix products with fewer bits; or bf16, the fastest, with fused
    kernels.
    """
    graph: bool = True
    """With bf16: run a whole step as one CUDA graph; otherwise launch each kernel, for
    debugging.
    """
    threads: Annotated[int | None, THREADS] = None
    """Worker threads on a CPU; None: one per physical core."""
    micro_batch: Annotated[int | None, BATCH] = None
    """Images per forward pass of a worker (gradient accumulation); None for about 1,024 tokens."""
    timeout: Annotated[int, TIMEOUT] = 300
    """With several processes (docs/distributed.md): seconds that a process waits for the others
    before all stop."""
    eval_every: Annotated[int, EPOCHS] = 1
    """Validate and save a checkpoint every N epochs, and after the last one."""
    log_every: Annotated[int, STEPS] = 50
    """Write a line of metrics every N steps."""
    save_every: Annotated[int | None, STEPS] = None
    """Also save a checkpoint every N steps; None: only after validation."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str = "") -> Self:
        """The defaults, overridden by these settings; see `config.overlay`."""
        return config.overlay(cls(), values, where)

    def to_dict(self) -> dict[str, Any]:
        """As JSON types; `from_dict` reads it."""
        return config.to_dict(self)

    @property
    def preprocess(self) -> Preprocess:
        """How image files are turned into the model's input."""
        return Preprocess(self.vit.image_hw, self.vit.in_channels, self.resize)

    def load_data(self, download: bool = True, source: Source | None = None) -> Dataset:
        """The data set, at the model's image size and with its channels.

        Args:
            download: whether it may be downloaded; an existing run expects it to be there.
            source: what `find_source` found, if known, so that the folder is not listed again.

        Raises:
            UserError: it can be neither found nor downloaded, or is damaged.
        """
        source = source or find_source(self.dataset)
        found = source.load(
            Request(
                folder_of(source, self.data_dir),
                self.vit.image_hw,
                self.data_url,
                download,
                self.vit.in_channels,
                self.resize,
                self.test_fraction,
                self.seed,
                self.strict,
                shared_folder() if self.cache else None,
            )
        )
        return found.with_channels(self.vit.in_channels)

    def resolved(self) -> Self:
        """The same with an absolute path to its data set, for use from another directory."""
        if is_path(self.dataset):
            return self.moved(Path(self.dataset))
        return self.moved(folder_of(find_source(self.dataset), self.data_dir))

    def moved(self, path: Path | None) -> Self:
        """The same with its data set at another path; None: unchanged."""
        if path is None:
            return self
        path = path.expanduser().resolve()
        if is_path(self.dataset):
            return dataclasses.replace(self, dataset=str(path))
        return dataclasses.replace(self, data_dir=path)

    @property
    def data_name(self) -> str:
        """The name of the data set, for use in the name of a folder."""
        if not is_path(self.dataset):
            return self.dataset
        stem = re.sub(r"[^\w-]+", "-", Path(self.dataset).name.split(".")[0])
        return stem.strip("-")[:40] or "images"

    def for_data(self, dataset: Dataset) -> Self:
        """The same with a model for the data set's classes and channels."""
        vit = dataclasses.replace(
            self.vit,
            num_classes=dataset.num_classes,
            in_channels=dataset.train.images.shape[1],
        )
        return dataclasses.replace(self, vit=vit)

    def adapted(self, train_sizes: Sequence[int]) -> Self:
        """The same with a recipe's `train_sizes` for this model and its images: scaled to their
        side and rounded up to whole patches; empty where progressive resizing is not supported.
        """
        H, W = self.vit.image_hw
        supported = H == W and self._interpolates_positions() and self.precision != "bf16"
        if not train_sizes or not supported:
            return dataclasses.replace(self, train_sizes=())
        P, largest = self.vit.patch_size, train_sizes[-1]
        sizes = tuple(math.ceil(size * H / (largest * P)) * P for size in train_sizes)
        return dataclasses.replace(self, train_sizes=sizes)

    def available(self, dataset: Dataset) -> int:
        """How many training images there are, without those held out for validation."""
        return len(dataset.train) - dataset.train.num_held_out(self.val_fraction)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dataset != "auto" and not is_path(self.dataset):
            require_name(self.dataset)
        if self.device == "cpu" and self.precision != "fp32":
            raise UserError(
                f"--precision {self.precision} needs --device cuda; a CPU computes in fp32"
            )
        if self.train_sizes:
            self._check_train_sizes()
        if self.augmentation.crop > min(self.vit.image_hw):
            raise UserError(
                f"crop is {self.augmentation.crop}; expected at most the {min(self.vit.image_hw)} "
                "pixels of the image: most crops would be black"
            )

    def _check_train_sizes(self) -> None:
        H, W = self.vit.image_hw
        P, found = self.vit.patch_size, " ".join(map(str, self.train_sizes))
        last_is_largest = self.train_sizes[-1] == max(self.train_sizes)
        whole = not any(size % P for size in self.train_sizes)
        if H != W or self.train_sizes[-1] != H or not last_is_largest or not whole:
            raise UserError(
                f"train_sizes is {found}; expected multiples of the patch size {P} that end with "
                f"the side of square images, the largest of them, found {H}×{W}"
            )
        if not self._interpolates_positions():
            raise UserError(
                "train_sizes needs pos_embed learned, sincos2d or none, rope none and pretext "
                f"none, found {self.vit.pos_embed}, {self.vit.rope}, {self.pretext}"
            )

    def _interpolates_positions(self) -> bool:
        """Whether the model can be trained on images of another size."""
        return self.vit.positions_are_added and self.pretext == "none"
