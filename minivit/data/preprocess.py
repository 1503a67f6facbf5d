"""How an image of any size is prepared for a model, except for normalization."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from PIL import Image, ImageOps

from minivit.backend.machine import require_memory
from minivit.errors import UserError, shown

Resize = Literal["crop", "pad", "stretch"]
Interpolation = Literal["bicubic", "bilinear"]

_MODES = {1: "L", 3: "RGB"}
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = 5
"""With this EXIF orientation or a higher one, height and width are swapped."""


@dataclass(frozen=True)
class Preprocess:
    """Size, shape and channels that a model expects; mean and standard deviation are in
    `Statistics`.

    size: height and width in pixels. channels: 3, or 1 for grayscale (ITU-R 601 luma).
    resize: how another shape becomes this one: center crop, black padding on two sides, or
    stretching. crop_share: the fraction of the crop's height and width that is kept, 224 / 256 in
    many published models.

    Raises:
        UserError: an unknown resize mode.
    """

    size: tuple[int, int]
    channels: int = 3
    resize: Resize = "crop"
    crop_share: float = 1.0
    interpolation: Interpolation = "bicubic"

    def __post_init__(self) -> None:
        if self.resize not in get_args(Resize):
            known = ", ".join(get_args(Resize))
            raise UserError(f"resize is {shown(self.resize)}; expected one of {known}")

    def __call__(self, image: Image.Image, orientation: int = 1) -> np.ndarray:
        """An RGB or grayscale image as uint8 (channels, H, W).

        orientation: EXIF's number. The image is resized before it is rotated, which makes rotation
        cheap.

        Raises UserError for a number of channels that image files do not have.
        """
        if self.channels not in _MODES:
            raise UserError(
                f"the model expects images with {self.channels} channels; image files have 3 or 1"
            )
        height, width = self.size
        size = (height, width) if orientation >= SIDEWAYS else (width, height)
        fitted = self._fitted(image, size, Image.Resampling[self.interpolation.upper()])
        if orientation in _TURNS:
            fitted = fitted.transpose(_TURNS[orientation])
        mode = _MODES[self.channels]
        pixels = np.asarray(fitted if fitted.mode == mode else fitted.convert(mode))
        return pixels.reshape(height, width, self.channels).transpose(2, 0, 1)

    def of_arrays(self, images: np.ndarray) -> np.ndarray:
        """uint8 (N, 1 or 3, h, w) -> (N, channels, H, W).

        Raises UserError if there is not enough memory.
        """
        needs = {"images": len(images) * self.channels * math.prod(self.size)}
        height, width = self.size
        require_memory(f"a set of {len(images):,} images of {height}×{width} pixels", needs)
        return np.stack([self(_as_image(one)) for one in images])

    def of_masks(self, masks: np.ndarray) -> np.ndarray:
        """bool (N, h, w) -> (N, H, W), by the nearest pixel."""
        images = map(Image.fromarray, masks.astype(np.uint8))
        size, method = self.size[::-1], Image.Resampling.NEAREST
        return np.stack([np.asarray(self._fitted(one, size, method)) for one in images]) > 0

    def _fitted(
        self, image: Image.Image, size: tuple[int, int], method: Image.Resampling
    ) -> Image.Image:
        if self.resize == "crop":
            return ImageOps.fit(image, size, method, bleed=(1 - self.crop_share) / 2)
        if self.resize == "pad":
            return ImageOps.pad(image, size, method)
        return image.resize(size, method)


def _as_image(pixels: np.ndarray) -> Image.Image:
    """uint8 (1 or 3, H, W)."""
    if len(pixels) == 1:
        return Image.fromarray(pixels[0])
    return Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
