"""Decoding of image files for a model.

JPEG, PNG, GIF, BMP, TIFF, WebP and PBM/PGM/PPM are read, and nothing else that Pillow may support.
Only the first frame of an animation is used; the EXIF orientation is applied; transparency is
composited over white (`image_modes`). Metadata never reaches a decoder (`image_bytes`), and the
limits below keep every file, whatever it claims, under 1 GB of memory.
"""

import contextlib
import io
import math
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from minivit.data.image_bytes import Source, strip_metadata
from minivit.data.image_modes import opaque
from minivit.data.netpbm import netpbm_header, read_netpbm
from minivit.data.preprocess import SIDEWAYS, Preprocess
from minivit.errors import UserError, shown, shown_path
from minivit.files import read_plain, reading

FORMATS = "JPEG, PNG, GIF, BMP, TIFF, WebP, PBM, PGM or PPM"
MAX_BYTES = 200_000_000
MAX_PIXELS = 40_000_000
# A JPEG with more pixels is decoded at 1/2, 1/4 or 1/8 of its size, which libjpeg does without
# decoding the full size; but a progressive one takes 2 bytes per coefficient. 200 megapixels from a
# phone, with color at half the resolution, take 600 MB; at full color resolution they would take
# 1.2 GB.
MAX_COEFFICIENTS = 310_000_000
# Each scan of a progressive JPEG covers the whole image. Ten are usual; with this limit 200
# megapixels may have 12.
MAX_SCANNED = 2_500_000_000

# Pillow's classes directly, since the pixel limit of `Image.open` is global.
_DECODERS: dict[str, Callable] = {
    "BMP": BmpImagePlugin.BmpImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
}


class _TooLargeError(Exception):
    """More pixels than fit into the memory allowed for one image; the message is the limit."""


def read_image(path: Path | str, preprocess: Preprocess) -> np.ndarray:
    """An image file as uint8 (channels, H, W); see `decode_image`.

    Raises UserError: no such file, not a regular or readable one, and as `decode_image` does.
    """
    raw = _read(path)
    with no_warnings():
        return decode_image(raw, shown_path(path), preprocess)


def image_shape(path: Path | str) -> tuple[int, int]:
    """Height and width of an image file, after applying its orientation; its pixels are not
    decoded.

    Raises UserError as `read_image` does.
    """
    name = shown_path(path)
    raw = _read(path)
    with no_warnings(), _decoder_errors(name):
        source = _source(raw, name)
        if source.format == "PPM":
            width, height = netpbm_header(source.raw)[1:3]
        else:
            with _opened(source) as image:
                width, height = image.size
        return (width, height) if source.orientation >= SIDEWAYS else (height, width)


def _read(path: Path | str) -> bytes:
    with reading(path):
        return read_plain(path, MAX_BYTES, "an image")


@contextlib.contextmanager
def no_warnings() -> Iterator[None]:
    """Wraps decoding, in any number of threads: silences Pillow's warnings about odd files."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def decode_image(raw: bytes, name: str, preprocess: Preprocess) -> np.ndarray:
    """The bytes of an image file as uint8 (channels, H, W): upright, resized according to
    `preprocess`. A JPEG of over 40 megapixels is scaled down while it is decoded.

    name: of the file, for messages.

    Raises UserError: too large, not an image in one of the known formats, or a damaged one.
    """
    with _decoder_errors(name):
        source = _source(raw, name)
        return preprocess(_decoded(source), source.orientation)


@contextlib.contextmanager
def _decoder_errors(name: str) -> Iterator[None]:
    """Turns whatever a decoder raises into a UserError that names the file."""
    try:
        yield
    except UserError:
        raise
    except _TooLargeError as error:
        raise UserError(f"{name}: {error}; scale it down first") from None
    except MemoryError:
        raise UserError(
            f"{name}: not enough memory for this image; scale it down, or free some memory"
        ) from None
    except Exception as error:  # decoders raise all kinds on a damaged file
        reason = shown(error, 200)
        raise UserError(f"{name}: a damaged image, or an unsupported kind: {reason}") from None


def _source(raw: bytes, name: str) -> Source:
    source = strip_metadata(raw)
    if source is None:
        raise UserError(f"{name}: not an image that can be opened, expected {FORMATS}")
    return source


def _decoded(source: Source) -> Image.Image:
    """All pixels, in RGB."""
    if source.format == "PPM":
        _check_pixels(*netpbm_header(source.raw)[1:3])
        return Image.fromarray(read_netpbm(source.raw)).convert("RGB")
    with _opened(source) as image:
        if source.format == "JPEG":
            _draft(image, source.scans)
        _check_pixels(*image.size)
        with _quiet() if source.format == "TIFF" else contextlib.nullcontext():
            image.load()
        return opaque(image, source.transparent)


def _opened(source: Source) -> Any:
    try:
        return _DECODERS[source.format](io.BytesIO(source.raw))
    except Image.DecompressionBombError:  # WebP's and GIF's own limit, higher than ours
        raise _TooLargeError(f"more than {MAX_PIXELS / 1e6:.0f} megapixels") from None


_ERROR_OUTPUT = threading.Lock()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences the process's standard error, where libtiff writes, bypassing Python. All threads
    share it, so one at a time.
    """
    with _ERROR_OUTPUT, _stderr_to_devnull():
        yield


@contextlib.contextmanager
def _stderr_to_devnull() -> Iterator[None]:
    try:
        saved_stderr = os.dup(2)
    except OSError:  # closed, so there is nothing to silence
        yield
        return
    try:
        with open(os.devnull, "wb") as devnull:
            os.dup2(devnull.fileno(), 2)
        yield
    finally:
        os.dup2(saved_stderr, 2)
        os.close(saved_stderr)


def _check_pixels(width: int, height: int, max_pixels: int | None = None, suffix: str = "") -> None:
    max_pixels = max_pixels or MAX_PIXELS
    if not 0 < width * height <= max_pixels:
        raise _TooLargeError(
            f"{width} × {height}, {width * height / 1e6:,.0f} megapixels, "
            f"at most {max_pixels / 1e6:.0f} are read{suffix}"
        )


def _draft(image: JpegImagePlugin.JpegImageFile, scans: int) -> None:
    """Makes the decoder read a JPEG of more than MAX_PIXELS at a fraction of its size."""
    width, height = image.size
    widest, highest = (max(layer[i] for layer in image.layer) for i in (1, 2))
    coefficients_per_pixel = sum(layer[1] * layer[2] for layer in image.layer) / (widest * highest)
    color = " for a JPEG with color at this resolution" * (coefficients_per_pixel > 1)
    _check_pixels(width, height, int(MAX_COEFFICIENTS / coefficients_per_pixel), color)
    if width * height * scans > MAX_SCANNED:
        max_scans = MAX_SCANNED // (width * height)
        raise _TooLargeError(f"{width} × {height} pixels in {scans} scans, at most {max_scans}")
    if width * height > MAX_PIXELS:
        scale = next(
            s for s in (2, 4, 8) if math.ceil(width / s) * math.ceil(height / s) <= MAX_PIXELS
        )
        image.draft(None, (width // scale, height // scale))
