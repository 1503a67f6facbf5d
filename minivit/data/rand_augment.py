r"""RandAugment: a few random operations out of fourteen for each image (Cubuk et al. 2020).

Each operation takes a batch, uint8 (B, C, H, W) with C = 1 or 3, and one parameter per image (B,),
and returns a new uint8 batch equal to what Pillow makes of each image. Batches are grouped by
operation, so the only loop is over operations.

Two things keep this faithful to Pillow, which the paper used: geometric operations step through
the image in 16.16 fixed point and take the nearest pixel, and blends are truncated, not rounded.
"""

from collections.abc import Callable

import numpy as np

from minivit.data.grayscale import luma
from minivit.errors import UserError

MAX_MAGNITUDE = 10
FILL = 128
"""Gray level of pixels that a geometric operation brings in from outside the image, as in the
paper.
"""


def rand_augment(
    images: np.ndarray, rng: np.random.Generator, num_ops: int = 2, magnitude: float = 9
) -> np.ndarray:
    """Apply `num_ops` random operations to each image, each at strength `magnitude`.

    images: uint8 (B, C, H, W) -> uint8 (B, C, H, W). `num_ops` and `magnitude` (0 to 10) are the
    paper's N and M. Operations are drawn with replacement, and each gets a random sign.
    Raises UserError unless images have 1 or 3 channels; otherwise saturation is undefined.
    """
    rounds = (num_ops, len(images))
    which = rng.integers(len(OPERATIONS), size=rounds)
    levels = magnitude / MAX_MAGNITUDE * rng.choice((-1.0, 1.0), size=rounds)
    out = images.copy()
    for operation, level in zip(which, levels, strict=True):
        out = apply_operations(out, operation, level)
    return out


def apply_operations(images: np.ndarray, which: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Apply to image b operation number `which[b]` of `OPERATIONS` at `levels[b]` in [-1, 1].

    images: uint8 (B, C, H, W), which: int (B,), levels: float (B,) -> uint8 (B, C, H, W).
    """
    out = images.copy()
    for number, operation in enumerate(OPERATIONS.values()):
        rows = np.flatnonzero(which == number)
        if rows.size:
            out[rows] = operation(images[rows], levels[rows])
    return out


# Geometry: where in the old image does each pixel of the new one come from?


def affine(images: np.ndarray, matrix: np.ndarray, fill: int = FILL) -> np.ndarray:
    r"""Resample with the nearest pixel: out(x, y) = in(ax + by + c, dx + ey + f).

    images: uint8 (B, C, H, W), matrix: float (B, 6), the row (a, b, c, d, e, f) for each image.
    As `PIL.Image.transform(AFFINE, NEAREST)`: coordinates are those of pixel centers (x + 1/2),
    in 16.16 fixed point.
    """
    B, C, H, W = images.shape
    a, b, c, d, e, f = matrix.T
    a, b, c, d, e, f = (
        np.floor(v * 65536 + 0.5).astype(np.int32)[:, None, None]
        for v in (a, b, c + a * 0.5 + b * 0.5, d, e, f + d * 0.5 + e * 0.5)
    )
    x, y = np.arange(W, dtype=np.int32), np.arange(H, dtype=np.int32)[:, None]
    column = (a * x + (b * y + c)) >> 16
    row = (d * x + (e * y + f)) >> 16
    # Seen as unsigned, a negative coordinate is huge: one comparison tests both borders.
    inside = (column.view(np.uint32) < W) & (row.view(np.uint32) < H)
    # One extra pixel after each plane holds the fill value, and everything outside the image points
    # there.
    padded = np.full((B, C, H * W + 1), fill, np.uint8)
    padded[:, :, :-1] = images.reshape(B, C, H * W)
    source = np.where(inside, row * W + column, H * W)
    planes = np.arange(B * C).reshape(B, C, 1, 1) * (H * W + 1)
    return padded.reshape(-1).take(planes + source[:, None])


def rotate(images: np.ndarray, degrees: np.ndarray) -> np.ndarray:
    """Rotate counterclockwise about the image's center."""
    H, W = images.shape[-2:]
    angle = np.deg2rad(-degrees)
    cos, sin = np.cos(angle), np.sin(angle)
    x, y = W / 2, H / 2
    return affine(
        images, np.stack((cos, sin, x - x * cos - y * sin, -sin, cos, y + x * sin - y * cos), 1)
    )


def shear_x(images: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """Shear: shift each row left by `slope` times its distance from the top row."""
    return affine(images, _near_identity(slope, 1))


def shear_y(images: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """Shear: shift each column up by `slope` times its distance from the left edge."""
    return affine(images, _near_identity(slope, 3))


def translate_x(images: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Shift the image left by `pixels`."""
    return affine(images, _near_identity(pixels, 2))


def translate_y(images: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Shift the image up by `pixels`."""
    return affine(images, _near_identity(pixels, 5))


def _near_identity(value: np.ndarray, index: int) -> np.ndarray:
    """(B,) -> (B, 6): identity transforms except for the entry at `index`."""
    matrix = np.tile((1.0, 0.0, 0.0, 0.0, 1.0, 0.0), (len(value), 1))
    matrix[:, index] = value
    return matrix


# Enhancement: interpolation between a degenerate image (factor 0) and the image (factor 1), or
# extrapolation.


def color(images: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Saturation: 0 gives a gray image."""
    return _blend(_gray(images), images, factor)


def contrast(images: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Contrast: 0 gives the image's mean gray everywhere."""
    mean = _gray(images).mean((1, 2, 3), keepdims=True)
    return _blend(np.floor(mean + 0.5), images, factor)


def brightness(images: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Brightness: 0 gives black."""
    return _blend(np.zeros((1, 1, 1, 1)), images, factor)


def sharpness(images: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Sharpness: 0 gives a blur, 2 a sharpened image; the outermost pixels stay as they are."""
    wide = images.astype(np.uint16)
    blurred = wide.copy()
    across = wide[..., :-2] + wide[..., 1:-1] + wide[..., 2:]
    box = across[..., :-2, :] + across[..., 1:-1, :] + across[..., 2:, :]
    # The kernel is 1 everywhere, 5 in the middle, over 13; adding 6 rounds to nearest.
    blurred[..., 1:-1, 1:-1] = (box + 4 * wide[..., 1:-1, 1:-1] + 6) // 13
    return _blend(blurred, images, factor)


def _blend(degenerate: np.ndarray, images: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """degenerate + factor · (images - degenerate), clipped to 0..255 and truncated."""
    degenerate = degenerate.astype(np.float32)
    out = images - degenerate
    out *= factor.astype(np.float32)[:, None, None, None]
    out += degenerate
    return np.clip(out, 0, 255, out=out).astype(np.uint8)


def _gray(images: np.ndarray) -> np.ndarray:
    """uint8 (B, C, H, W) -> int (B, 1, H, W)."""
    channels = images.shape[1]
    if channels == 1:
        return images
    if channels != 3:
        raise UserError(f"images with {channels} channels: RandAugment expects 1 or 3")
    return luma(images)


# Tone: a lookup table per channel.


def autocontrast(images: np.ndarray) -> np.ndarray:
    """Stretch each channel so that its darkest pixel is 0 and its brightest 255."""
    low = images.min((2, 3)).astype(np.float64)[..., None]
    span = images.max((2, 3))[..., None] - low
    scale = 255 / np.maximum(span, 1)
    table = np.clip(np.arange(256) * scale - low * scale, 0, 255)
    return _look_up(images, np.where(span > 0, table, np.arange(256)))


def equalize(images: np.ndarray) -> np.ndarray:
    """Map each channel's levels so that its histogram is as flat as possible."""
    B, C, H, W = images.shape
    levels = images.reshape(B * C, H * W) + 256 * np.arange(B * C)[:, None]
    counts = np.bincount(levels.reshape(-1), minlength=B * C * 256).reshape(B, C, 256)
    brightest = images.max((2, 3))[..., None]
    step = (H * W - np.take_along_axis(counts, brightest, 2)) // 255
    below = np.cumsum(counts, 2) - counts
    table = np.minimum((below + step // 2) // np.maximum(step, 1), 255)
    return _look_up(images, np.where(step > 0, table, np.arange(256)))


def solarize(images: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """Invert every value at or above the threshold (0 to 256)."""
    bound = np.ceil(threshold).astype(np.int16)[:, None, None, None]
    return np.where(images < bound, images, 255 - images)


def posterize(images: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """Keep the highest `bits` bits (0 to 8) of every value."""
    mask = (0xFF << (8 - bits.astype(np.int64))) & 0xFF
    return images & mask.astype(np.uint8)[:, None, None, None]


def _look_up(images: np.ndarray, table: np.ndarray) -> np.ndarray:
    """out[b, c, y, x] = table[b, c, images[b, c, y, x]], with table (B, C, 256) truncated."""
    B, C = images.shape[:2]
    offsets = np.arange(B * C).reshape(B, C, 1, 1) * 256
    return table.astype(np.uint8).reshape(-1).take(images + offsets)


MAX_DEGREES, MAX_SHEAR, MAX_SHIFT, MAX_ENHANCE = 30, 0.3, 0.45, 0.9

OPERATIONS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "identity": lambda images, level: images.copy(),
    "autocontrast": lambda images, level: autocontrast(images),
    "equalize": lambda images, level: equalize(images),
    "rotate": lambda images, level: rotate(images, MAX_DEGREES * level),
    "solarize": lambda images, level: solarize(images, 256 * (1 - abs(level))),
    "color": lambda images, level: color(images, 1 + MAX_ENHANCE * level),
    "posterize": lambda images, level: posterize(images, 8 - np.rint(4 * abs(level))),
    "contrast": lambda images, level: contrast(images, 1 + MAX_ENHANCE * level),
    "brightness": lambda images, level: brightness(images, 1 + MAX_ENHANCE * level),
    "sharpness": lambda images, level: sharpness(images, 1 + MAX_ENHANCE * level),
    "shear-x": lambda images, level: shear_x(images, MAX_SHEAR * level),
    "shear-y": lambda images, level: shear_y(images, MAX_SHEAR * level),
    "translate-x": lambda images, level: translate_x(images, MAX_SHIFT * images.shape[3] * level),
    "translate-y": lambda images, level: translate_y(images, MAX_SHIFT * images.shape[2] * level),
}
"""The paper's fourteen: (images, level (B,) in [-1, 1]) -> images.

At level 0 only autocontrast and equalize, which have no strength, change the image. At level ±1:
30° either way, a shear of 0.3, a shift of 0.45 of the side, threshold 0, 4 bits, and factors 1.9 or
0.1. So every operation gets stronger with its level, as in torchvision and timm's "increasing" set;
in the paper's own code a larger M weakens some.
"""
