"""TIFF's directory of tags: its orientation, and a copy with only the tags that pixels depend on.

A directory refers to up to 65,535 values anywhere in the file, each possibly as long as the file
and all at the same place, and Pillow reads every one. So the tags that pixels depend on are checked
for consistency and copied to a new directory at the end of the file; the decoder sees no other.

Source: Adobe, "TIFF Revision 6.0" (1992).
"""

import math
import struct
from typing import Any, NamedTuple

MAX_TAGS = 1000
MAX_VALUES = 1 << 16  # values of one tag: also the maximum number of strips or tiles
MAX_BITS = 64  # per pixel

_WIDTH, _HEIGHT, _BITS, _COMPRESSION = 256, 257, 258, 259
_STRIPS, _SAMPLES, _ROWS, _STRIP_BYTES, _PLANAR = 273, 277, 278, 279, 284
_TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES = 322, 323, 324, 325
_ORIENTATION = 274
_COPIED = {
    *(_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _STRIPS, _SAMPLES, _ROWS, _STRIP_BYTES, _PLANAR),
    *(_TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES),
    *(262, 266, 317, 320, 338, 339),  # color space, bit order, predictor, palette, alpha, format
}
_TYPES = {1: "B", 3: "H", 4: "I"}
# None, three fax codes, LZW, Deflate under its two numbers, PackBits.
_COMPRESSIONS = (1, 2, 3, 4, 5, 8, 32946, 32773)


class _Tag(NamedTuple):
    number: int
    type: int
    count: int  # type: ignore[assignment]
    entry: bytes  # all twelve bytes of the entry
    value_at: int  # where the value, or its offset, is


def exif_orientation(exif: bytes) -> int:
    """The orientation, 1 to 8, in an EXIF block; 1 if there is none or the block is damaged."""
    try:
        exif = exif.removeprefix(b"Exif\0\0")
        order = {b"II*\0": "<", b"MM\0*": ">"}[exif[:4]]
        tags = _directory(exif, order)
        return _orientation(exif, order, tags)
    except (KeyError, ValueError, struct.error):
        return 1


def tiff_source(raw: bytes) -> tuple[bytes, int]:
    """The TIFF with only the tags that pixels depend on, and its orientation.

    Raises ValueError or struct.error if they are damaged, inconsistent, or unknown.
    """
    order = "<" if raw[:2] == b"II" else ">"
    tags = _directory(raw, order)
    copied = [tag for number, tag in sorted(tags.items()) if number in _COPIED]
    values = {tag.number: _values(raw, order, tag) for tag in copied}
    _check(values, len(raw))
    at = len(raw) + len(raw) % 2
    directory = struct.pack(order + "H", len(copied)) + b"".join(tag.entry for tag in copied)
    body: Any = memoryview(raw)[8:]  # not copied
    parts = [raw[:4], struct.pack(order + "I", at), body, bytes(len(raw) % 2)]
    return b"".join([*parts, directory, bytes(4)]), _orientation(raw, order, tags)


def _directory(raw: bytes, order: str) -> dict[int, _Tag]:
    """The first directory's tags, by number."""
    (at,) = struct.unpack_from(order + "I", raw, 4)
    (count,) = struct.unpack_from(order + "H", raw, at)
    if count > MAX_TAGS:
        raise ValueError(f"{count} tags, expected at most {MAX_TAGS}")
    tags: dict[int, _Tag] = {}
    for offset in range(at + 2, at + 2 + 12 * count, 12):
        number, kind, size = struct.unpack_from(order + "HHI", raw, offset)
        tags.setdefault(number, _Tag(number, kind, size, raw[offset : offset + 12], offset + 8))
    return tags


def _orientation(raw: bytes, order: str, tags: dict[int, _Tag]) -> int:
    tag = tags.get(_ORIENTATION)
    value = _values(raw, order, tag) if tag else (1,)
    return value[0] if value and value[0] in range(1, 9) else 1


def _values(raw: bytes, order: str, tag: _Tag) -> tuple[int, ...]:
    if tag.type not in _TYPES or not 1 <= tag.count <= MAX_VALUES:
        raise ValueError(f"tag {tag.number} has {tag.count} values of type {tag.type}")
    form = f"{order}{tag.count}{_TYPES[tag.type]}"
    at = tag.value_at
    if struct.calcsize(form) > 4:
        (at,) = struct.unpack_from(order + "I", raw, at)
    return struct.unpack_from(form, raw, at)


def _check(values: dict[int, tuple[int, ...]], length: int) -> None:
    """Checks that the number of parts fits the size, and that they do not overlap in the file."""

    def scalar(number: int, default: int) -> int:
        return values.get(number, (default,))[0]

    compression = scalar(_COMPRESSION, 1)
    if compression not in _COMPRESSIONS:
        raise ValueError(f"compression {compression}, expected LZW, Deflate or none")
    width, height = scalar(_WIDTH, 0), scalar(_HEIGHT, 0)
    samples, bits = scalar(_SAMPLES, 1), values.get(_BITS, (1,))
    if not width or not height or samples * max(bits) > MAX_BITS:
        raise ValueError(f"{width}x{height} pixels, {samples} samples of {max(bits)} bits")
    tiled = _TILES in values
    part_w = scalar(_TILE_WIDTH, width) if tiled else width
    part_h = scalar(_TILE_HEIGHT, height) if tiled else min(scalar(_ROWS, height), height)
    if not part_w or not part_h or part_w * part_h > 4 * width * height + (1 << 20):
        raise ValueError(f"parts of {part_w}x{part_h} pixels")
    parts = math.ceil(width / part_w) * math.ceil(height / part_h)
    parts *= samples if scalar(_PLANAR, 1) == 2 else 1
    offsets = values.get(_TILES if tiled else _STRIPS, ())
    sizes = values.get(_TILE_BYTES if tiled else _STRIP_BYTES, ())
    if len(offsets) != parts:
        raise ValueError(f"{len(offsets)} strips or tiles, expected {parts}")
    if compression != 1 and (len(sizes) != parts or sum(sizes) > length):
        raise ValueError("overlapping strips or tiles")
