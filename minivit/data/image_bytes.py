"""An image file reduced to the parts that its pixels depend on, before it is decoded.

Decoders read metadata first, as much as the file claims: text, color profiles, previews, millions
of empty chunks, thousands of scans. Each function below walks the structure of one format, keeps
the parts known to produce pixels, takes the orientation from the EXIF block, and drops the rest. So
the decoder's work is bounded by the bytes and the pixels of the image.

Sources: ITU-T T.81, annex B (JPEG); W3C PNG, third edition; GIF89a specification; RFC 9649 (WebP).
"""

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from minivit.data.tiff import exif_orientation, tiff_source

MAX_PARTS = 100_000  # chunks, blocks or segments
MAX_SCANS = 64  # of a JPEG; progressive ones have about ten
MAX_WEBP_SIZE = 80_000_000  # bytes; the decoder makes several copies of them


class Source(NamedTuple):
    """The input of `image_decoding`.

    orientation: EXIF's, 1 to 8. transparent: the gray level or RGB triple that a PNG declares
    transparent, as decoded. scans: the number of passes of a JPEG over its pixels.
    """

    format: str
    raw: bytes
    orientation: int = 1
    transparent: tuple[int, ...] | None = None
    scans: int = 1


def begins_like_image(start: bytes) -> bool:
    """Whether the first 12 or more bytes of a file are the signature of a known format."""
    return any(re.match(known, start, re.DOTALL) for known in _FORMATS)


def strip_metadata(raw: bytes) -> Source | None:
    """`raw` without its metadata, or None if it has no known signature.

    Raises ValueError, struct.error or IndexError if the structure is not valid for its format.
    """
    for start, read in _FORMATS.items():
        if re.match(start, raw, re.DOTALL):
            return read(raw)
    return None


def _jpeg(raw: bytes) -> Source:
    parts: list[bytes | memoryview] = [raw[:2]]
    view, orientation, scans = memoryview(raw), 1, 0
    for marker, start, end in _jpeg_segments(raw):
        scans += marker == 0xDA
        if marker in _JPEG_KEEP:
            parts.append(view[start:end])
        elif raw[start + 4 : start + 8] == b"Exif":
            orientation = exif_orientation(raw[start + 4 : end])
    if scans > MAX_SCANS:
        raise ValueError(f"{scans} scans, expected at most {MAX_SCANS}")
    return Source("JPEG", b"".join(parts), orientation, scans=scans)


# Tables, frames (baseline, extended, progressive; Huffman or arithmetic coding), scans, the end,
# and the segments that give the color space: JFIF's and Adobe's.
_JPEG_KEEP = {*(0xC4, 0xCC, 0xDB, 0xDD), *(0xC0, 0xC1, 0xC2, 0xC9, 0xCA), *(0xDA, 0xD9, 0xE0, 0xEE)}


def _jpeg_segments(raw: bytes) -> Iterator[tuple[int, int, int]]:
    """The marker, start and end of each segment; a scan's segment includes its data."""
    offset = 2
    for _ in range(MAX_PARTS):
        found = _MARKER.search(raw, offset)
        if not found:
            return
        start, marker = found.start(), raw[found.start() + 1]
        if marker == 0xD9:
            yield marker, start, start + 2
            return
        offset = start + 2 + struct.unpack_from(">H", raw, start + 2)[0]
        if marker == 0xDA:
            found = _MARKER.search(raw, offset)
            offset = found.start() if found else len(raw)
        yield marker, start, offset
    raise ValueError(f"more than {MAX_PARTS:,} segments")


_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")  # not stuffing, a restart, or a filler


def _png(raw: bytes) -> Source:
    parts: list[bytes | memoryview] = [raw[:8]]
    view, orientation, transparent = memoryview(raw), 1, None
    offset, depth, color = 8, raw[24], raw[25]
    for _ in range(MAX_PARTS):
        if offset + 8 > len(raw):
            break
        length, kind = struct.unpack_from(">I4s", raw, offset)
        if kind in (b"IHDR", b"PLTE", b"IDAT") or (kind == b"tRNS" and color == 3):
            parts.append(view[offset : offset + length + 12])
        elif kind == b"tRNS" and color in (0, 2):
            levels = struct.unpack_from(">H" if color == 0 else ">HHH", raw, offset + 8)
            transparent = tuple(_decoded_level(level, depth, color) for level in levels)
        elif kind == b"eXIf":
            orientation = exif_orientation(raw[offset + 8 : offset + 8 + length])
        elif kind == b"IEND":
            break
        offset += length + 12
    else:
        raise ValueError(f"more than {MAX_PARTS:,} chunks")
    end = b"\0\0\0\0IEND\xaeB`\x82"
    return Source("PNG", b"".join([*parts, end]), orientation, transparent)


def _decoded_level(level: int, depth: int, color: int) -> int:
    """A level of a PNG as Pillow decodes it: 8 bits, but 16 for 16-bit grayscale."""
    if depth < 8:
        return level * 255 // (2**depth - 1)
    if depth == 16 and color == 2:
        return level >> 8
    return level


def _gif(raw: bytes) -> Source:
    """A GIF up to its first image only, with the block that defines its transparency."""
    table = _color_table(raw[10])
    parts, control, offset = [raw[: 13 + table]], b"", 13 + table
    for _ in range(MAX_PARTS):
        if raw[offset] == 0x2C:
            return Source("GIF", b"".join([*parts, control, memoryview(raw)[offset:]]))
        if raw[offset] != 0x21:
            raise ValueError("a block that is not valid in a GIF")
        start = offset
        offset = _end_of_blocks(raw, offset + 2)
        if raw[start + 1] == 0xF9:
            control = raw[start:offset]
    raise ValueError(f"more than {MAX_PARTS:,} blocks before its image")


def _color_table(flags: int) -> int:
    return 3 * 2 ** (flags % 8 + 1) if flags & 0x80 else 0


def _end_of_blocks(raw: bytes, offset: int) -> int:
    for _ in range(MAX_PARTS):
        if raw[offset] == 0:
            return offset + 1
        offset += 1 + raw[offset]
    raise ValueError(f"more than {MAX_PARTS:,} blocks before its image")


def _bmp(raw: bytes) -> Source:
    compression = struct.unpack_from("<I", raw, 30)[0] if raw[14] >= 40 else 0
    if compression not in (0, 3):
        raise ValueError(f"compression {compression}, expected none; save it as PNG")
    return Source("BMP", raw)


def _webp(raw: bytes) -> Source:
    """A WebP with its first frame only."""
    view, parts, orientation, offset, frames = memoryview(raw), [], 1, 12, 0
    for _ in range(MAX_PARTS):
        if offset + 8 > len(raw):
            break
        kind, length = struct.unpack_from("<4sI", raw, offset)
        end = offset + 8 + length + length % 2
        frames += kind == b"ANMF"
        if kind in (b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM") or (
            kind == b"ANMF" and frames == 1
        ):
            parts.append(view[offset:end])
        elif kind == b"EXIF":
            orientation = exif_orientation(raw[offset + 8 : offset + 8 + length])
        offset = end
    else:
        raise ValueError(f"more than {MAX_PARTS:,} chunks")
    size = 4 + sum(map(len, parts))
    if size > MAX_WEBP_SIZE:
        raise ValueError(f"{size:,} bytes, expected at most {MAX_WEBP_SIZE:,}; save it as PNG")
    header = b"RIFF" + size.to_bytes(4, "little") + b"WEBP"
    return Source("WEBP", b"".join([header, *parts]), orientation)


def _tiff(raw: bytes) -> Source:
    return Source("TIFF", *tiff_source(raw))


# By signature. The names are Pillow's, except for PPM, which `netpbm` reads.
_FORMATS = {
    rb"\xff\xd8\xff": _jpeg,
    rb"\x89PNG\r\n\x1a\n": _png,
    rb"GIF8[79]a": _gif,
    rb"BM": _bmp,
    rb"RIFF....WEBP": _webp,
    rb"II\*\0|MM\0\*": _tiff,
    rb"P[1-6]\s": lambda raw: Source("PPM", raw),
}
