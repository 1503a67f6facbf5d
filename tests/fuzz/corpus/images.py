"""Images that once caused a failure: by name, the bytes of a file."""

import io
import struct
import zlib

import numpy as np
from PIL import Image


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def png(width: int, height: int, depth: int, color: int, *more: bytes) -> bytes:
    """An all-black image, with the chunks `more` before the pixels."""
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
    zip_ = zlib.compressobj(1)
    row = bytes(1 + (width * depth * samples + 7) // 8)
    data = b"".join([*(zip_.compress(row) for _ in range(height)), zip_.flush()])
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    parts = [chunk(b"IHDR", header), *more, chunk(b"IDAT", data), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff(*tags: tuple[int, int, int, int], data: bytes = b"", pad: int = 0) -> bytes:
    """Tags (number, type, count, value); `data` begins at byte 8."""
    at = 8 + len(data)
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    return b"II*\0" + at.to_bytes(4, "little") + data + directory + bytes(pad)


GRAY = [(256, 4, 1, 2), (257, 4, 1, 2), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
STRIP = [(273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, 2), (279, 4, 1, 4)]


def scans(times: int, side: int = 16) -> bytes:
    raw = encoded(Image.new("RGB", (side, side)), "JPEG", progressive=True)
    last = raw.rindex(b"\xff\xda")
    return raw[:-2] + raw[last:-2] * times + b"\xff\xd9"


def large_exif() -> bytes:
    """Many segments, each with a directory of tags that span the whole segment."""
    tags = b"".join(struct.pack("<HHII", n, 1, 60_000, 8) for n in range(1000, 5000))
    block = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 4000) + tags
    segment = b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block
    raw = encoded(Image.new("RGB", (16, 16)), "JPEG")
    return raw[:2] + segment * 500 + raw[2:]


def claims(raw: bytes, at: int, size: bytes) -> bytes:
    """`raw` with a huge width and height written at byte `at`."""
    return raw[:at] + size + raw[at + len(size) :]


SMALL = Image.new("RGB", (16, 16))
ENTRIES = {
    "a PNG of 13,300 by 13,300": lambda: png(13_300, 13_300, 8, 2),
    "a PNG of 6,300 by 6,300 with alpha": lambda: png(6_300, 6_300, 8, 6),
    "a PNG of 6,300 by 6,300, gray with alpha": lambda: png(6_300, 6_300, 16, 4),
    "a PNG of 6,300 by 6,300 with a clear color": lambda: png(
        6_300, 6_300, 8, 2, chunk(b"tRNS", bytes(6))
    ),
    "a PNG of 6,300 by 6,300 of 16 bits": lambda: png(
        6_300, 6_300, 16, 0, chunk(b"tRNS", bytes(2))
    ),
    "a PNG of 6,300 by 6,300 with a palette": lambda: png(
        6_300, 6_300, 8, 3, chunk(b"PLTE", bytes(768)), chunk(b"tRNS", bytes(256))
    ),
    "a PNG of 2**31 by 2**31": lambda: png(1, 1, 8, 0).replace(
        chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)),
        chunk(b"IHDR", struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 0, 0, 0, 0)),
    ),
    "a PNG with 16 MB of text 100 times": lambda: png(
        2, 2, 8, 0, *[chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(1 << 24)))] * 100
    ),
    "a PNG with 1,000,000 chunks": lambda: png(2, 2, 8, 0, *[chunk(b"teXt", b"")] * 1_000_000),
    "a GIF of 65,535 by 65,535": lambda: claims(encoded(SMALL, "GIF"), 6, b"\xff" * 4),
    "a GIF with an endless comment": lambda: b"GIF89a\2\0\2\0\0\0\0!\xfe" + b"\1x" * 10_000_000,
    "a JPEG of 65,500 by 65,500": lambda: claims(
        encoded(SMALL, "JPEG"), encoded(SMALL, "JPEG").index(b"\xff\xc0") + 5, b"\xff\xdc\xff\xdc"
    ),
    "a progressive JPEG of 5,000 by 5,000": lambda: encoded(
        Image.new("RGB", (5_000, 5_000)), "JPEG", progressive=True, subsampling=0
    ),
    "a JPEG of 5,000 scans": lambda: scans(5000),
    "a JPEG of 60 scans of 3,000 by 3,000": lambda: scans(50, 3000),
    "a JPEG whose EXIF names itself 2,000,000 times": large_exif,
    "a TIFF whose tags each name the whole file": lambda: tiff(
        *GRAY, *STRIP, *[(n, 1, 1_000_000, 8) for n in range(40_000, 40_900)], pad=1_000_000
    ),
    "a TIFF of 65,009 tags": lambda: tiff(
        *GRAY, *STRIP, *[(n, 1, 9, 8) for n in range(400, 65_400)]
    ),
    "a TIFF of 60,000 strips that are all of it": lambda: tiff(
        (256, 4, 1, 6000), (257, 4, 1, 6000), *GRAY[2:],
        (273, 4, 60_000, 8), (277, 3, 1, 1), (278, 4, 1, 5999), data=bytes(240_000), pad=10_000_000,
    ),
    "a TIFF with a tile of 2**31": lambda: tiff(
        *GRAY[:3], (259, 3, 1, 5), GRAY[4],
        (322, 4, 1, 1 << 31), (323, 4, 1, 1 << 31), (324, 4, 1, 8), (325, 4, 1, 4),
    ),
    "a TIFF of 65,535 samples": lambda: tiff(*GRAY, STRIP[0], (277, 3, 1, 65_535), *STRIP[2:]),
    "a TIFF of itself": lambda: b"II*\0\0\0\0\0",
    "a BMP of 2**31 by 2**31": lambda: claims(encoded(SMALL, "BMP"), 18, b"\xff\xff\xff\x7f" * 2),
    "a BMP with run lengths": lambda: claims(
        encoded(Image.new("P", (6000, 6000)), "BMP"), 30, b"\1\0\0\0"
    ),
    "a WebP of 16,383 by 16,383": lambda: (
        b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0\x2f\xff\xff\xff\x0f" + bytes(9)
    ),
    "a WebP of 5,000 by 5,000": lambda: encoded(
        Image.new("RGBA", (5000, 5000)), "WEBP", lossless=True, method=0
    ),
    "a PPM with an endless comment": lambda: b"P6 #" + b"x" * 20_000_000,
    "a PPM of 10**18 pixels": lambda: b"P6 999999999 999999999 255\n",
    "a PGM of 36 million pixels of 9 bits": lambda: b"P5 6000 6000 511\n" + bytes(72_000_000),
    "a PPM in digits": lambda: b"P3 2000 2000 255\n" + b"1 2 3 " * 4_000_000,
    "a PPM in digits of 60 MB": lambda: b"P2 2 2 255\n" + b"9" * 60_000_000,
    "32-bit levels": lambda: encoded(Image.fromarray(np.zeros((9, 9), np.int32)), "TIFF"),
    "a DDS": lambda: encoded(SMALL, "DDS"),
    "a BLP": lambda: encoded(SMALL.convert("P"), "BLP"),
    "an EPS": lambda: encoded(SMALL, "EPS"),
    "a PNG whose name is a lie": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "a damaged DDS": lambda: encoded(SMALL, "DDS")[:100],
    "nothing": lambda: b"",
}  # fmt: skip
