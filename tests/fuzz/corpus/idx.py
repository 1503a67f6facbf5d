"""IDX files that once caused a failure, or are built to: by name, the bytes of the image file, and
whether it is a .gz."""

import gzip
import struct
import zlib


def header(*numbers: int) -> bytes:
    return struct.pack(f">{len(numbers)}I", *numbers)


IMAGES = header(0x0803, 2, 28, 28)


def bomb() -> bytes:
    """A gigabyte of zeros after a valid header, compressed to a megabyte."""
    zip_ = zlib.compressobj(9, wbits=31)
    parts = [zip_.compress(IMAGES), *(zip_.compress(bytes(1 << 20)) for _ in range(1 << 10))]
    return b"".join([*parts, zip_.flush()])


ENTRIES = {
    "2**32 - 1 images": (lambda: header(0x0803, 2**32 - 1, 28, 28), False),
    "axes whose product is 2**96": (lambda: header(0x0803, *[2**32 - 1] * 3), False),
    "255 axes": (lambda: header(0x08FF, *[1] * 255) + b"x", False),
    "no axes": (lambda: header(0x0800) + b"x", False),
    "axes of length 0": (lambda: header(0x0803, 0, 0, 0), False),
    "doubles": (lambda: header(0x0E03, 2, 28, 28) + bytes(8 * 2 * 784), False),
    "little-endian": (lambda: struct.pack("<4I", 0x0803, 2, 28, 28) + bytes(2 * 784), False),
    "labels in place of images": (lambda: header(0x0801, 2) + b"\1\2", False),
    "half a header": (lambda: IMAGES[:9], False),
    "a gigabyte, gzipped": (bomb, True),
    "2,000,000 empty gzip streams": (lambda: gzip.compress(b"") * 2_000_000, True),
    "a gzip file in another": (lambda: gzip.compress(gzip.compress(IMAGES)), True),
    "gzip's own name, of 60 MB": (
        lambda: b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * (60 << 20),
        True,
    ),
    "nothing": (lambda: b"", False),
    "nothing, gzipped": (lambda: gzip.compress(b""), True),
}
