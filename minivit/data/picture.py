"""An image from a file, as a model takes it.

JPEG, PNG, GIF, BMP, TIFF, WebP and PBM/PGM/PPM are read, and nothing else that Pillow may know.
Of an animation the first frame counts; the orientation in the EXIF block is followed; transparency
lies over white (`image_modes`). Metadata never reaches a decoder (`image_bytes`), and the limits
below keep every file, whatever it claims, under 1 GB of memory.
"""

import contextlib
import io
import math
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageOps,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from minivit.data.image_bytes import Source, essence
from minivit.data.image_modes import opaque
from minivit.data.netpbm import netpbm_header, read_netpbm
from minivit.errors import UserError, shown, shown_path
from minivit.files import read_plain, reading

FORMATS = "JPEG, PNG, GIF, BMP, TIFF, WebP, PBM, PGM or PPM"
MOST_BYTES = 200_000_000
MOST_PIXELS = 40_000_000
# A JPEG with more pixels than that is decoded at 1/2, 1/4 or 1/8 of its size, which libjpeg does
# without the whole one; but a progressive one takes 2 bytes for each coefficient. 200 megapixels of
# a phone, with color at half the resolution, take 600 MB, as many without that would take 1.2 GB.
MOST_COEFFICIENTS = 310_000_000
# Each scan of a progressive JPEG goes over all of it. Ten are usual; here 200 megapixels have 12.
MOST_SCANNED = 2_500_000_000

# Pillow's own classes, since `Image.open` has a limit on pixels that is one for the whole program.
_DECODERS: dict[str, Callable] = {
    "BMP": BmpImagePlugin.BmpImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
}
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class _TooLargeError(Exception):
    """More pixels than fit into the memory that one image may take; the message is the limit."""


def open_picture(path: Path | str, size: tuple[int, int]) -> np.ndarray:
    """An image as uint8 (3, H, W): turned upright, its middle cut to shape, scaled to `size`.

    A JPEG of over 40 megapixels is scaled down while it is decoded.

    Raises UserError: no such file, not a regular or readable one, too large, not an image in one
    of the known formats, or a damaged one.
    """
    name = shown_path(path)
    try:
        source = _source(path, name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, about odd files: they open or they do not
            image = _decoded(source)
        return _fitted(image, source.orientation, size)
    except UserError:
        raise
    except _TooLargeError as error:
        raise UserError(f"{name}: {error}; scale it down first") from None
    except MemoryError:
        raise UserError(
            f"{name}: not enough memory for this image; scale it down, or free some"
        ) from None
    except Exception as error:  # decoders raise all kinds on a damaged file
        reason = shown(error, 200)
        raise UserError(
            f"{name}: a damaged image, or one of a kind that is not read: {reason}"
        ) from None


def _source(path: Path | str, name: str) -> Source:
    with reading(path):
        raw = read_plain(path, MOST_BYTES, "an image")
    source = essence(raw)
    if source is None:
        raise UserError(f"{name}: not an image that can be opened, expected {FORMATS}")
    return source


def _decoded(source: Source) -> Image.Image:
    """All of its pixels, in RGB."""
    if source.format == "PPM":
        _check_pixels(*netpbm_header(source.raw)[1:3])
        return Image.fromarray(read_netpbm(source.raw)).convert("RGB")
    try:
        image = _DECODERS[source.format](io.BytesIO(source.raw))
    except Image.DecompressionBombError:  # WebP's and GIF's own limit, higher than the one here
        raise _TooLargeError(f"more than {MOST_PIXELS / 1e6:.0f} megapixels") from None
    with image:
        if source.format == "JPEG":
            _draft(image, source.scans)
        _check_pixels(*image.size)
        with _quiet() if source.format == "TIFF" else contextlib.nullcontext():
            image.load()
        return opaque(image, source.clear)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Nothing on the process's standard error: libtiff writes there, past Python."""
    try:
        kept = os.dup(2)
    except OSError:  # closed, so there is nothing to keep quiet
        yield
        return
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _check_pixels(width: int, height: int, most: int | None = None, of: str = "") -> None:
    most = most or MOST_PIXELS
    if not 0 < width * height <= most:
        raise _TooLargeError(
            f"{width} × {height}, {width * height / 1e6:,.0f} megapixels, at most "
            f"{most / 1e6:.0f} are read{of}"
        )


def _draft(image: JpegImagePlugin.JpegImageFile, scans: int) -> None:
    """Has a JPEG of more than MOST_PIXELS decoded at a fraction of its size."""
    width, height = image.size
    widest, highest = (max(layer[i] for layer in image.layer) for i in (1, 2))
    share = sum(layer[1] * layer[2] for layer in image.layer) / (widest * highest)
    color = " of a JPEG with color at this resolution" * (share > 1)
    _check_pixels(width, height, int(MOST_COEFFICIENTS / share), color)
    if width * height * scans > MOST_SCANNED:
        most = MOST_SCANNED // (width * height)
        raise _TooLargeError(f"{width} × {height} pixels in {scans} scans, at most {most}")
    if width * height > MOST_PIXELS:
        scale = next(
            s for s in (2, 4, 8) if math.ceil(width / s) * math.ceil(height / s) <= MOST_PIXELS
        )
        image.draft(None, (width // scale, height // scale))


def _fitted(image: Image.Image, orientation: int, size: tuple[int, int]) -> np.ndarray:
    """Scaled before it is turned: turning is then cheap."""
    height, width = size
    stored = (height, width) if orientation >= 5 else (width, height)
    fitted = ImageOps.fit(image, stored, Image.Resampling.BICUBIC)
    if orientation in _TURNS:
        fitted = fitted.transpose(_TURNS[orientation])
    return np.asarray(fitted).transpose(2, 0, 1)
