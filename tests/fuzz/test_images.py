"""Images of each format and mode with bytes changed, with or without corrected PNG checksums."""

import zlib

import numpy as np
import pytest
from fuzz.corpus.images import ENTRIES, encoded
from fuzz.harness import attempt, check, check_apart, mutated
from hypothesis import strategies as st
from PIL import Image

from minivit.data import Preprocess, read_image
from minivit.errors import UserError

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 9, 4), np.uint8)
RGBA = Image.fromarray(PIXELS)
RGB, GRAY, PALETTE = RGBA.convert("RGB"), RGBA.convert("L"), RGBA.convert("RGB").quantize(16)
GREY_16 = Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 257)
EXIF = Image.Exif()
EXIF[0x0112] = 6
SEEDS = {
    "PNG": [
        encoded(RGB, "PNG", exif=EXIF),
        encoded(RGBA, "PNG"),
        encoded(PALETTE, "PNG", transparency=3),
        encoded(GRAY, "PNG", transparency=7),
        encoded(GRAY.convert("1"), "PNG"),
        encoded(GREY_16, "PNG"),
        encoded(RGBA.convert("LA"), "PNG"),
    ],
    "JPEG": [
        encoded(RGB, "JPEG", exif=EXIF),
        encoded(RGB, "JPEG", progressive=True),
        encoded(RGB.convert("CMYK"), "JPEG"),
        encoded(GRAY, "JPEG"),
    ],
    "GIF": [
        encoded(PALETTE, "GIF", transparency=3),
        encoded(PALETTE, "GIF", save_all=True, append_images=[GRAY], comment=b"words"),
    ],
    "BMP": [encoded(image, "BMP") for image in (RGB, PALETTE, GRAY.convert("1"), RGBA)],
    "TIFF": [
        encoded(RGB, "TIFF"),
        encoded(RGBA, "TIFF", compression="tiff_lzw"),
        encoded(GREY_16, "TIFF"),
        encoded(GRAY.convert("1"), "TIFF", compression="group4"),
        encoded(RGB, "TIFF", compression="tiff_adobe_deflate"),
        encoded(RGB.convert("CMYK"), "TIFF", compression="packbits"),
        encoded(RGBA.convert("LA"), "TIFF"),
    ],
    "WEBP": [
        encoded(RGBA, "WEBP", lossless=True, exif=EXIF),
        encoded(RGB, "WEBP"),
        encoded(RGB, "WEBP", save_all=True, append_images=[RGBA]),
    ],
    "PPM": [
        b"P3 # a comment\n2 2\n9\n" + b"1 2 3 " * 4,
        b"P1 2 2\n0 1 1 0",
        b"P4 9 2\n" + bytes(4),
        encoded(RGB, "PPM"),
        b"P5 9 12 999\n" + PIXELS[..., :2].tobytes(),
    ],
}


@pytest.fixture
def read(tmp_path):
    path = tmp_path / "in" / "image"
    path.parent.mkdir()

    def read(raw: bytes, how=check):
        path.write_bytes(raw)
        return how(lambda: read_image(path, Preprocess((8, 6))), path.parent)

    return read


def checksums_right(raw: bytes) -> bytes:
    """Correct the checksums of a PNG, as far as its chunks can be parsed."""
    new, at = bytearray(raw), 8
    while at + 12 <= len(new):
        end = at + 8 + int.from_bytes(new[at : at + 4], "big")
        if end + 4 > len(new):
            break
        new[end : end + 4] = zlib.crc32(new[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(new)


@pytest.mark.parametrize("kind", SEEDS)
def test_an_image_with_bytes_changed(read, kind):
    seeds = SEEDS[kind]
    for seed in seeds:
        assert read(seed).shape == (3, 8, 6)

    def one(raw, right):
        found = read(checksums_right(raw) if right and kind == "PNG" else raw)
        assert isinstance(found, UserError) or (found.shape, found.dtype) == ((3, 8, 6), np.uint8)

    raw = st.one_of([mutated(seed, list(range(min(len(seed), 64)))) for seed in seeds])
    attempt(120, one, raw=raw, right=st.booleans())


def test_any_bytes_after_each_file_signature(read):
    starts = [seed[:12] for seeds in SEEDS.values() for seed in seeds]
    raw = st.builds(bytes.__add__, st.sampled_from(starts), st.binary(max_size=60))
    attempt(100, lambda raw: read(raw), raw=raw)


@pytest.mark.parametrize("name", ENTRIES)
def test_every_known_failure_stays_fixed(read, name):
    found = read(ENTRIES[name](), check_apart)
    assert found.startswith(("UserError", "ndarray"))
