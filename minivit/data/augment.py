"""Augmentation of whole batches: first everything is drawn, then it is applied.

The random part (`Drawn`) is a few numbers per image, drawn from the given `numpy.random.Generator`,
so a seed determines everything. It is applied here on the host, without a loop over images and
without changing arrays in place, or by the kernel backend/cuda/augment.cu on a GPU.

Images are uint8 (B, C, H, W) until `normalize` converts them to floats; mixup and cutmix come after
it. A rectangle is a row (top, bottom, left, right) of an int array (B, 4), bottom and right one
past its last pixel; all zeros mean no rectangle.
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import DTypeLike

from minivit.data.mix import Mix, draw_cutmix, draw_mixup, no_rectangles, rectangles
from minivit.data.rand_augment import MAX_MAGNITUDE, rand_augment
from minivit.data.statistics import Statistics
from minivit.errors import UserError
from minivit.ranges import Range, Ranged

PROBABILITY = Range(0, 1, "it is a probability")
ALPHA = Range(0, 100, "beyond that, every weight is a half")
ERASED_AREA, ERASED_ASPECT = (0.02, 1 / 3), (0.3, 3.3)
"""Random erasing's rectangles: their fraction of an image, and height / width (as in the paper)."""


def pad_crop(
    images: np.ndarray, padding: int, rng: np.random.Generator, fill: int = 0
) -> np.ndarray:
    """Crop each image at a random place after padding it by `padding` pixels of `fill`.

    images: uint8 (B, C, H, W) -> uint8 (B, C, H, W). Every offset 0..2·padding is equally likely.
    """
    dy, dx = draw_crop(len(images), rng, padding)
    return crop(_pad(images, padding, fill), dy, dx, images.shape[2:])


def draw_crop(B: int, rng: np.random.Generator, padding: int) -> np.ndarray:
    """Offsets dy, dx into padded images: int (2, B), each 0..2·padding."""
    return rng.integers(2 * padding + 1, size=(2, B))


def _pad(images: np.ndarray, padding: int, fill: int = 0) -> np.ndarray:
    B, C, H, W = images.shape
    padded = np.full((B, C, H + 2 * padding, W + 2 * padding), fill, images.dtype)
    padded[:, :, padding : padding + H, padding : padding + W] = images
    return padded


def crop(padded: np.ndarray, dy: np.ndarray, dx: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """out[b] = padded[b, :, dy[b] : dy[b] + H, dx[b] : dx[b] + W], with size = (H, W)."""
    windows = sliding_window_view(padded, size, axis=(2, 3))
    return windows[np.arange(len(padded)), :, dy, dx]


def flip(images: np.ndarray, rng: np.random.Generator, p: float = 0.5) -> np.ndarray:
    """Mirror each image left to right with probability p: (B, C, H, W) -> (B, C, H, W)."""
    return mirror(images, draw_flip(len(images), rng, p))


def draw_flip(B: int, rng: np.random.Generator, p: float) -> np.ndarray:
    """bool (B,): which images to mirror."""
    return rng.random(B) < p


def mirror(images: np.ndarray, flipped: np.ndarray) -> np.ndarray:
    """Mirror images left to right where flipped, bool (B,), is true."""
    out = images.copy()
    out[flipped] = images[flipped, :, :, ::-1]
    return out


def random_erasing(
    images: np.ndarray,
    rng: np.random.Generator,
    p: float = 0.25,
    area: tuple[float, float] = ERASED_AREA,
    aspect: tuple[float, float] = ERASED_ASPECT,
) -> np.ndarray:
    """Fill a random rectangle of each image with noise, with probability p (Zhong et al. 2020).

    images: uint8 (B, C, H, W) -> uint8 (B, C, H, W). Each pixel of the rectangle is drawn
    independently, uniform over 0..255 (the paper's RE-R). area, aspect: see `draw_erasing`.
    """
    return erase(images, *draw_erasing(images.shape, rng, p, area, aspect))


def draw_erasing(
    shape: tuple[int, ...],
    rng: np.random.Generator,
    p: float,
    area: tuple[float, float] = ERASED_AREA,
    aspect: tuple[float, float] = ERASED_ASPECT,
) -> tuple[np.ndarray, int]:
    """Rectangles to erase, int (B, 4), and the seed of their noise; shape: (B, C, H, W).

    The fraction of the image that a rectangle covers is drawn uniformly from `area`; its height /
    width log-uniformly from `aspect`, so that tall and wide are equally likely. The paper draws
    again when a side does not fit; here the side is clipped to the image.
    """
    B, _, H, W = shape
    rows = np.flatnonzero(rng.random(B) < p)
    target = rng.uniform(*area, len(rows)) * H * W
    low, high = np.log(aspect)
    ratio = np.exp(rng.uniform(low, high, len(rows)))
    height = np.clip(np.rint(np.sqrt(target * ratio)), 1, H).astype(np.int64)
    width = np.clip(np.rint(np.sqrt(target / ratio)), 1, W).astype(np.int64)
    top, left = rng.integers(H - height + 1), rng.integers(W - width + 1)
    erased = no_rectangles(B)
    erased[rows] = np.stack((top, top + height, left, left + width), 1)
    return erased, int(rng.integers(2**63))


def erase(images: np.ndarray, erased: np.ndarray, noise_seed: int) -> np.ndarray:
    """Replace rectangles, int (B, 4), by noise: uint8 (B, C, H, W) -> uint8 (B, C, H, W)."""
    rows = np.flatnonzero(erased.any(1))
    top, bottom, left, right = erased[rows].T
    inside = rectangles(top, bottom, left, right, images.shape[2:])[:, None]
    shape = (len(rows), *images.shape[1:])
    noise = np.random.default_rng(noise_seed).integers(256, size=shape, dtype=np.uint8)
    out = images.copy()
    out[rows] = np.where(inside, noise, images[rows])
    return out


def one_hot(labels: np.ndarray, num_classes: int, dtype: DTypeLike = np.float32) -> np.ndarray:
    """int (B,) -> dtype (B, K), 1 at the label. Raises UserError for a label outside 0..K-1."""
    if labels.size and not (labels.min() >= 0 and labels.max() < num_classes):
        raise UserError(
            f"labels {labels.min()} to {labels.max()}: expected 0 to {num_classes - 1} for "
            f"{num_classes} classes"
        )
    out = np.zeros((len(labels), num_classes), dtype)
    out[np.arange(len(labels)), labels] = 1
    return out


class Drawn(NamedTuple):
    """The augmentation of the B images of a batch, in this order; drawn without reading a pixel."""

    padding: int
    """Pixels of black around each image when it is cropped."""
    dy: np.ndarray
    """int (B,): the row of the padded image where the crop begins."""
    dx: np.ndarray
    """int (B,): its column."""
    flipped: np.ndarray
    """bool (B,): which images are mirrored left to right."""
    erased: np.ndarray
    """int (B, 4): the rectangles that are replaced by noise."""
    noise_seed: int
    """The seed of that noise on the host; augment.cu makes its own from the training seed and
    step.
    """
    mix: Mix | None
    """How images are mixed; None if they are not."""

    def images(self, images: np.ndarray, statistics: Statistics) -> np.ndarray:
        """uint8 (B, C, H, W) -> float32, normalized. Raises as `normalize` does."""
        if self.padding:
            images = crop(_pad(images, self.padding), self.dy, self.dx, images.shape[2:])
        if self.flipped.any():
            images = mirror(images, self.flipped)
        if self.erased.any():
            images = erase(images, self.erased, self.noise_seed)
        x = statistics.normalize(images)
        return x if self.mix is None else self.mix.images(x)

    def targets(self, labels: np.ndarray, num_classes: int) -> np.ndarray:
        """int (B,) -> the same if nothing is mixed, else float32 (B, K). Raises as `one_hot`."""
        if self.mix is None:
            return labels
        return self.mix.targets(one_hot(labels, num_classes))


@dataclass(frozen=True, kw_only=True)
class Augmentation(Ranged):
    """How training images are augmented; a value out of its range is refused (UserError)."""

    crop: Annotated[int, Range(0, 4_096, "images are not larger", "pixels")] = 4
    """Pixels of black padding for a random crop; 0 is off."""
    flip: Annotated[float, PROBABILITY] = 0.5
    """Probability that an image is mirrored left to right."""
    erasing: Annotated[float, PROBABILITY] = 0.0
    """Probability that a rectangle of an image is replaced by noise (random erasing)."""
    mixup: Annotated[float, ALPHA] = 0.0
    """Mixup's alpha: images are blended with weights from Beta(alpha, alpha); 0 is off."""
    cutmix: Annotated[float, ALPHA] = 0.0
    """Cutmix's alpha: the kept fraction of an image is drawn from Beta(alpha, alpha); 0 is off."""
    mix_prob: Annotated[float, PROBABILITY] = 1.0
    """Probability that a batch is mixed at all; with mixup and cutmix both on, one of them is
    chosen at random.
    """
    rand_augment: Annotated[int, Range(0, 16, "3 are strong; there are 14", "operations")] = 0
    """RandAugment's N: random operations per image; 0 is off."""
    magnitude: Annotated[int, Range(0, MAX_MAGNITUDE, "as in the paper")] = 9
    """RandAugment's M: the strength of its operations, 0 to 10."""

    def apply(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        num_classes: int,
        rng: np.random.Generator,
        statistics: Statistics,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Augment and normalize a training batch: uint8 (B, C, H, W) images, int (B,) labels.

        Returns float32 (B, C, H, W) and the targets: the labels unchanged if the batch was not
        mixed, else float32 (B, K), each row summing to 1. Raises as `normalize` and `one_hot` do.
        """
        if self.rand_augment:
            images = rand_augment(images, rng, self.rand_augment, self.magnitude)
        drawn = self.draw(images.shape, rng)
        return drawn.images(images, statistics), drawn.targets(labels, num_classes)

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> Drawn:
        """Draw everything but RandAugment, for a batch of shape (B, C, H, W).

        RandAugment works on images, on the host: it draws its own numbers as it goes, from the same
        `rng` and before this.
        """
        B = shape[0]
        dy, dx = draw_crop(B, rng, self.crop) if self.crop else np.zeros((2, B), np.int64)
        flipped = draw_flip(B, rng, self.flip) if self.flip else np.zeros(B, bool)
        erased, seed = no_rectangles(B), 0
        if self.erasing:
            erased, seed = draw_erasing(shape, rng, self.erasing)
        return Drawn(self.crop, dy, dx, flipped, erased, seed, self._draw_mix(shape, rng))

    def _draw_mix(self, shape: tuple[int, ...], rng: np.random.Generator) -> Mix | None:
        choices = [
            (draw, alpha)
            for draw, alpha in ((draw_mixup, self.mixup), (draw_cutmix, self.cutmix))
            if alpha
        ]
        if not choices or rng.random() >= self.mix_prob:
            return None
        draw, alpha = choices[rng.integers(len(choices))]
        return draw(shape, rng, alpha)
