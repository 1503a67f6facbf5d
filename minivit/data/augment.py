"""Augmentation of whole batches on the host: no loop over pictures, nothing changed in place.

Pictures are uint8 (B, C, H, W) until `normalize` makes floats of them; mixup and cutmix come after
it. What is drawn comes from the `numpy.random.Generator` given, so a seed decides everything.
Drawing and applying are apart where that lets a test say what must come out.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import DTypeLike

from minivit.data.rand_augment import MAX_MAGNITUDE, rand_augment
from minivit.errors import UserError


def pad_crop(
    images: np.ndarray, padding: int, rng: np.random.Generator, fill: int = 0
) -> np.ndarray:
    """Cut each picture at its own random place out of itself padded by `padding` pixels of `fill`.

    images: uint8 (B, C, H, W) -> uint8 (B, C, H, W). Every offset 0..2·padding is equally likely.
    """
    B, C, H, W = images.shape
    dy, dx = rng.integers(2 * padding + 1, size=(2, B))
    padded = np.full((B, C, H + 2 * padding, W + 2 * padding), fill, images.dtype)
    padded[:, :, padding : padding + H, padding : padding + W] = images
    return crop(padded, dy, dx, (H, W))


def crop(padded: np.ndarray, dy: np.ndarray, dx: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """out[b] = padded[b, :, dy[b] : dy[b] + H, dx[b] : dx[b] + W], with size = (H, W)."""
    windows = sliding_window_view(padded, size, axis=(2, 3))
    return windows[np.arange(len(padded)), :, dy, dx]


def flip(images: np.ndarray, rng: np.random.Generator, p: float = 0.5) -> np.ndarray:
    """Mirror each picture left to right with probability p: (B, C, H, W) -> (B, C, H, W)."""
    rows = np.flatnonzero(rng.random(len(images)) < p)
    out = images.copy()
    out[rows] = images[rows, :, :, ::-1]
    return out


def random_erasing(
    images: np.ndarray,
    rng: np.random.Generator,
    p: float = 0.25,
    area: tuple[float, float] = (0.02, 1 / 3),
    aspect: tuple[float, float] = (0.3, 3.3),
) -> np.ndarray:
    """Fill a random rectangle of each picture with noise, with probability p (Zhong et al. 2020).

    images: uint8 (B, C, H, W) -> uint8 (B, C, H, W). Each pixel of the rectangle is drawn anew,
    uniform over 0..255 (the paper's RE-R). The rectangle covers a share `area` of the picture,
    uniformly drawn, at height / width `aspect`, log-uniformly drawn so that tall and wide are alike
    likely. The paper draws again when a side does not fit; here the side is cut to the picture.
    """
    C, H, W = images.shape[1:]
    rows = np.flatnonzero(rng.random(len(images)) < p)
    target = rng.uniform(*area, len(rows)) * H * W
    ratio = np.exp(rng.uniform(*np.log(aspect), len(rows)))
    height = np.clip(np.rint(np.sqrt(target * ratio)), 1, H).astype(np.int64)
    width = np.clip(np.rint(np.sqrt(target / ratio)), 1, W).astype(np.int64)
    top, left = rng.integers(H - height + 1), rng.integers(W - width + 1)
    erased = rectangles(top, top + height, left, left + width, (H, W))
    noise = rng.integers(256, size=(len(rows), C, H, W), dtype=np.uint8)
    out = images.copy()
    out[rows] = np.where(erased[:, None], noise, images[rows])
    return out


def rectangles(
    top: np.ndarray,
    bottom: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
    size: tuple[int, int],
) -> np.ndarray:
    """bool (B, H, W): True in rows top..bottom-1 and columns left..right-1 of each picture."""
    y, x = np.arange(size[0]), np.arange(size[1])
    tall = (y >= top[:, None]) & (y < bottom[:, None])
    wide = (x >= left[:, None]) & (x < right[:, None])
    return tall[:, :, None] & wide[:, None, :]


def mixup(
    images: np.ndarray, targets: np.ndarray, rng: np.random.Generator, alpha: float
) -> tuple[np.ndarray, np.ndarray]:
    r"""Blend each picture, and its target, with another of the batch (Zhang et al. 2018).

    $\tilde x_b = \lambda_b x_b + (1 - \lambda_b) x_{\pi(b)}$ with $\lambda_b \sim
    \mathrm{Beta}(\alpha, \alpha)$ for each picture and one random permutation $\pi$.
    images: float32 (B, C, H, W), targets: float32 (B, K) -> the same.
    """
    share = rng.beta(alpha, alpha, len(images)).astype(images.dtype)
    partner = rng.permutation(len(images))
    return interpolate(images, partner, share), interpolate(targets, partner, share)


def interpolate(x: np.ndarray, partner: np.ndarray, share: np.ndarray) -> np.ndarray:
    """share[b] · x[b] + (1 - share[b]) · x[partner[b]]: (B, ...), (B,), (B,) -> (B, ...)."""
    share = share.reshape(-1, *(1,) * (x.ndim - 1))
    out = x[partner]
    out *= 1 - share
    out += share * x
    return out


def cutmix(
    images: np.ndarray, targets: np.ndarray, rng: np.random.Generator, alpha: float
) -> tuple[np.ndarray, np.ndarray]:
    r"""Paste a rectangle of another picture of the batch into each (Yun et al. 2019).

    The rectangle has sides $\sqrt{1 - \lambda_b}$ of the picture's, $\lambda_b \sim
    \mathrm{Beta}(\alpha, \alpha)$, its centre is uniform, and what sticks out is cut off. Targets
    are mixed by the share of pixels truly kept, so they do not depend on that cut.
    images: float32 (B, C, H, W), targets: float32 (B, K) -> the same.
    """
    B, _, H, W = images.shape
    side = np.sqrt(1 - rng.beta(alpha, alpha, B))
    partner = rng.permutation(B)
    top, bottom = _span(side, H, rng)
    left, right = _span(side, W, rng)
    pasted = rectangles(top, bottom, left, right, (H, W))[:, None]
    kept = 1 - (bottom - top) * (right - left) / (H * W)
    mixed = np.where(pasted, images[partner], images)
    return mixed, interpolate(targets, partner, kept.astype(targets.dtype))


def _span(side: np.ndarray, length: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Start and end of a stretch of share `side` (B,) around a random centre, cut to 0..length."""
    extent = np.rint(side * length).astype(np.int64)
    # A centre between pixels as well as on them, or even extents would lean to the top left.
    start = np.rint(rng.uniform(0, length, len(side)) - extent / 2).astype(np.int64)
    return np.clip(start, 0, length), np.clip(start + extent, 0, length)


def normalize(
    images: np.ndarray,
    mean: Sequence[float],
    std: Sequence[float],
    dtype: DTypeLike = np.float32,
) -> np.ndarray:
    """(images / 255 - mean) / std by channel: uint8 (B, C, H, W), (C,), (C,) -> dtype (B, C, H, W).

    Raises UserError unless there is one mean and one positive deviation a channel, and for
    pictures that are not uint8, as those may have been normalized before.
    """
    if images.dtype != np.uint8:
        raise UserError(f"pictures of {images.dtype}: normalize expects uint8, 0 to 255")
    mean, std = _by_channel(images, mean, std)
    # One product and one sum: x · 1/(255 std) - mean/std.
    out = images * (1 / (255 * std)).astype(dtype)
    out -= (mean / std).astype(dtype)
    return out


def denormalize(x: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """The inverse of `normalize`, rounded and clipped: float (B, C, H, W) -> uint8 (B, C, H, W)."""
    mean, std = _by_channel(x, mean, std)
    return np.clip(np.rint((x * std + mean) * 255), 0, 255).astype(np.uint8)


def _by_channel(
    images: np.ndarray, mean: Sequence[float], std: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Check mean and std against the pictures and shape them (C, 1, 1), float64."""
    mean, std = np.asarray(mean, np.float64), np.asarray(std, np.float64)
    channels = images.shape[1]
    if mean.shape != (channels,) or std.shape != (channels,) or not np.all(std > 0):
        raise UserError(
            f"mean {mean.tolist()} and std {std.tolist()}: expected a mean and a positive "
            f"deviation for each of the pictures' {channels} channels"
        )
    return mean[:, None, None], std[:, None, None]


def one_hot(labels: np.ndarray, num_classes: int, dtype: DTypeLike = np.float32) -> np.ndarray:
    """int (B,) -> dtype (B, K), 1 at the label. Raises UserError for a label outside 0..K-1."""
    if labels.size and not (labels.min() >= 0 and labels.max() < num_classes):
        raise UserError(
            f"labels {labels.min()} to {labels.max()}: expected 0 to {num_classes - 1}, "
            f"as there are {num_classes} classes"
        )
    out = np.zeros((len(labels), num_classes), dtype)
    out[np.arange(len(labels)), labels] = 1
    return out


@dataclass(frozen=True)
class Augmentation:
    """How training pictures are varied; a value out of its range is refused (UserError)."""

    crop: int = 4
    """Pixels of black padding out of which a random crop is cut; 0 is off."""
    flip: float = 0.5
    """Probability that a picture is mirrored left to right."""
    erasing: float = 0.0
    """Probability that a rectangle of a picture is replaced by noise (random erasing)."""
    mixup: float = 0.0
    """Mixup's alpha: pictures are blended by Beta(alpha, alpha); 0 is off."""
    cutmix: float = 0.0
    """Cutmix's alpha: the share kept of a picture is Beta(alpha, alpha); 0 is off."""
    mix_prob: float = 1.0
    """Probability that a batch is mixed at all; with mixup and cutmix both on, a coin picks one."""
    rand_augment: int = 0
    """RandAugment's N: random operations a picture; 0 is off."""
    magnitude: int = 9
    """RandAugment's M: the strength of its operations, 0 to 10."""

    def __post_init__(self) -> None:
        limits = {
            "crop": math.inf,
            "flip": 1,
            "erasing": 1,
            "mixup": math.inf,
            "cutmix": math.inf,
            "mix_prob": 1,
            "rand_augment": math.inf,
            "magnitude": MAX_MAGNITUDE,
        }
        for name, most in limits.items():
            value = getattr(self, name)
            if not (0 <= value <= most and math.isfinite(value)):
                expected = "0 or more" if most == math.inf else f"0 to {most}"
                raise UserError(f"augmentation {name} = {value}: expected {expected}")

    def apply(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        num_classes: int,
        rng: np.random.Generator,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> tuple[np.ndarray, np.ndarray]:
        """Augment and normalize a training batch: uint8 (B, C, H, W) pictures, int (B,) labels.

        Returns float32 (B, C, H, W) and the targets: the labels as they came if the batch was not
        mixed, else float32 (B, K), each row summing to 1. Raises as `normalize` and `one_hot` do.
        """
        if self.rand_augment:
            images = rand_augment(images, rng, self.rand_augment, self.magnitude)
        if self.crop:
            images = pad_crop(images, self.crop, rng)
        if self.flip:
            images = flip(images, rng, self.flip)
        if self.erasing:
            images = random_erasing(images, rng, self.erasing)
        return self._mix(normalize(images, mean, std), labels, num_classes, rng)

    def _mix(
        self, x: np.ndarray, labels: np.ndarray, num_classes: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        choices = [
            (mix, alpha) for mix, alpha in ((mixup, self.mixup), (cutmix, self.cutmix)) if alpha
        ]
        if not choices or rng.random() >= self.mix_prob:
            return x, labels
        mix, alpha = choices[rng.integers(len(choices))]
        return mix(x, one_hot(labels, num_classes), rng, alpha)
