"""MixUp and CutMix: two images of a batch become one, and so do their labels.

The random choices (`Mix`) are separate from their application: a GPU applies them in a kernel.
"""

from typing import NamedTuple

import numpy as np


def no_rectangles(B: int) -> np.ndarray:
    """int (B, 4): no rectangle in any image."""
    return np.zeros((B, 4), np.int64)


def rectangles(
    top: np.ndarray,
    bottom: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
    size: tuple[int, int],
) -> np.ndarray:
    """bool (B, H, W): True in rows top..bottom-1 and columns left..right-1 of each image."""
    y, x = np.arange(size[0]), np.arange(size[1])
    in_rows = (y >= top[:, None]) & (y < bottom[:, None])
    in_columns = (x >= left[:, None]) & (x < right[:, None])
    return in_rows[:, :, None] & in_columns[:, None, :]


class Mix(NamedTuple):
    """How the images of a batch are mixed: all are blended, or a rectangle is pasted into each."""

    partner: np.ndarray
    """int (B,): the image that each is mixed with."""
    blend: np.ndarray
    """float32 (B,): the weight of the image's own pixels; 1 without blending."""
    pasted: np.ndarray
    """int (B, 4): the rectangle of the partner's pixels."""
    kept: np.ndarray
    """float32 (B,): the weight of the image's own label, which is the fraction of its own
    pixels.
    """

    @classmethod
    def identity(cls, B: int) -> "Mix":
        """No mixing."""
        one = np.ones(B, np.float32)
        return cls(np.arange(B), one, no_rectangles(B), one)

    def images(self, x: np.ndarray) -> np.ndarray:
        """float (B, C, H, W) -> the same."""
        if not self.pasted.any():
            return interpolate(x, self.partner, self.blend)
        top, bottom, left, right = self.pasted.T
        pasted = rectangles(top, bottom, left, right, x.shape[2:])[:, None]
        return np.where(pasted, x[self.partner], x)

    def targets(self, targets: np.ndarray) -> np.ndarray:
        """float (B, K) -> the same."""
        return interpolate(targets, self.partner, self.kept)


def mixup(
    images: np.ndarray, targets: np.ndarray, rng: np.random.Generator, alpha: float
) -> tuple[np.ndarray, np.ndarray]:
    r"""Blend each image and its target with another of the batch (Zhang et al. 2018).

    $\tilde x_b = \lambda_b x_b + (1 - \lambda_b) x_{\pi(b)}$ with $\lambda_b \sim
    \mathrm{Beta}(\alpha, \alpha)$ for each image and one random permutation $\pi$.
    images: float32 (B, C, H, W), targets: float32 (B, K) -> the same.
    """
    mix = draw_mixup(images.shape, rng, alpha)
    return mix.images(images), mix.targets(targets)


def draw_mixup(shape: tuple[int, ...], rng: np.random.Generator, alpha: float) -> Mix:
    """Mixup's λ and π for images of shape (B, C, H, W)."""
    B = shape[0]
    lam = rng.beta(alpha, alpha, B).astype(np.float32)
    return Mix(rng.permutation(B), blend=lam, pasted=no_rectangles(B), kept=lam)


def interpolate(x: np.ndarray, partner: np.ndarray, lam: np.ndarray) -> np.ndarray:
    """lam[b] · x[b] + (1 - lam[b]) · x[partner[b]]: (B, ...), (B,), (B,) -> (B, ...)."""
    lam = lam.reshape(-1, *(1,) * (x.ndim - 1))
    out = x[partner]
    out *= 1 - lam
    out += lam * x
    return out


def cutmix(
    images: np.ndarray, targets: np.ndarray, rng: np.random.Generator, alpha: float
) -> tuple[np.ndarray, np.ndarray]:
    r"""Paste into each image a rectangle of another image of the batch (Yun et al. 2019).

    The rectangle has sides $\sqrt{1 - \lambda_b}$ of the image's, $\lambda_b \sim
    \mathrm{Beta}(\alpha, \alpha)$, its center is uniform, and it is clipped to the image. Targets
    are mixed by the fraction of pixels actually kept, which accounts for the clipping. images:
    float32 (B, C, H, W), targets: float32 (B, K) -> the same.
    """
    mix = draw_cutmix(images.shape, rng, alpha)
    return mix.images(images), mix.targets(targets)


def draw_cutmix(shape: tuple[int, ...], rng: np.random.Generator, alpha: float) -> Mix:
    """CutMix's partners and rectangles for images of shape (B, C, H, W)."""
    B, _, H, W = shape
    side = np.sqrt(1 - rng.beta(alpha, alpha, B))
    partner = rng.permutation(B)
    top, bottom = _span(side, H, rng)
    left, right = _span(side, W, rng)
    kept = 1 - (bottom - top) * (right - left) / (H * W)
    pasted = np.stack((top, bottom, left, right), 1)
    return Mix(partner, np.ones(B, np.float32), pasted, kept.astype(np.float32))


def _span(side: np.ndarray, length: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Start and end of an interval of relative length `side` (B,) around a random center, clipped
    to 0..length.
    """
    extent = np.rint(side * length).astype(np.int64)
    # Centers between pixels as well as on them, or even extents would be biased to the top left.
    start = np.rint(rng.uniform(0, length, len(side)) - extent / 2).astype(np.int64)
    return np.clip(start, 0, length), np.clip(start + extent, 0, length)
