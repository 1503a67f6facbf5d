"""Any of Pillow's modes as opaque RGB: transparency over white, 16-bit gray over its full range.

A model has no transparency, so transparent pixels get a white background, as in a viewer or on a
web page. Files that look the same there then give the same pixels.
"""

import numpy as np
from PIL import Image, ImageChops

WHITE = (255, 255, 255)
_OPAQUE = {"1", "L", "RGB", "RGBX", "CMYK", "YCbCr"}
_ALPHA = {"LA": "LA", "La": "LA", "PA": "RGBA", "RGBA": "RGBA", "RGBa": "RGBA"}
_GRAY_16 = {"I;16", "I;16L", "I;16B", "I;16N"}
_NEGATIVE = 0  # TIFF's color space in which 0 is white


def opaque(image: Image.Image, transparent: tuple[int, ...] | None) -> Image.Image:
    """`image` in mode RGB. `clear`: the transparent color, in the image's own levels.

    Raises ValueError for an unknown mode, or one whose levels have no known range.
    """
    mode, transparency = image.mode, image.info.get("transparency")
    if mode in _GRAY_16 or (mode == "I" and image.format == "PNG"):
        return Image.fromarray(_eight_bits(image, transparent)).convert("RGB")
    if mode in _ALPHA:
        return _over_white(image if mode == _ALPHA[mode] else image.convert(_ALPHA[mode]))
    if mode == "P":
        return image.convert("RGB") if transparency is None else _over_white(image.convert("RGBA"))
    if mode not in _OPAQUE:
        raise ValueError(f"{_levels(mode)}; save it with 8 or 16 bits, in grayscale or RGB")
    if mode in ("1", "L"):
        gray = image.convert("L")
        level = transparent[0] if transparent else transparency
        if isinstance(level, int):  # transparent becomes white; white stays white
            gray = gray.point([255 if i == level else i for i in range(256)])
        return gray.convert("RGB")
    image = image if mode == "RGB" else image.convert("RGB")
    return _whiten(image, transparent) if transparent else image


def _levels(mode: str) -> str:
    if mode in ("I", "F"):
        return "32-bit or signed levels, whose range is not known"
    return f"pixels of the unknown mode {mode}"


def _over_white(image: Image.Image) -> Image.Image:
    background = Image.new("RGB", image.size, WHITE)
    background.paste(image, (0, 0), image)
    return background


def _whiten(image: Image.Image, transparent: tuple[int, ...]) -> Image.Image:
    masks = [
        band.point([255 * (i == level) for i in range(256)])
        for band, level in zip(image.split(), transparent, strict=True)
    ]
    image.paste(WHITE, mask=ImageChops.darker(ImageChops.darker(masks[0], masks[1]), masks[2]))
    return image


def _eight_bits(image: Image.Image, transparent: tuple[int, ...] | None) -> np.ndarray:
    """16-bit gray (12 in some TIFFs) as uint8, rounded: 65535 / 257 is 255."""
    max_level, negative = 65535, False
    if image.format == "TIFF":
        tags = getattr(image, "tag_v2", {})
        max_level = 2 ** tags.get(258, (16,))[0] - 1
        negative = tags.get(262) == _NEGATIVE
    levels = np.asarray(image)
    gray = np.empty(levels.shape, np.uint8)
    for row, out in zip(levels, gray, strict=True):  # by rows: a 32-bit copy would be large
        out[:] = (np.clip(row, 0, max_level).astype(np.uint32) * 255 + max_level // 2) // max_level
    if transparent:
        gray[levels == transparent[0]] = 255
    return 255 - gray if negative else gray
