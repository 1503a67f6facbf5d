"""PBM, PGM and PPM, binary and plain, in NumPy: Pillow takes minutes for the rarer variants.

Source: the Netpbm manual, https://netpbm.sourceforge.net/doc/, "pbm", "pgm" and "ppm".
"""

import re

import numpy as np

MAX_HEADER = 4096
MAX_PLAIN = 1 << 22  # pixels that are written as digits
BLOCK = 1 << 20

_GAP = rb"(?:\s|#[^\n\r]*[\n\r])+"
_HEADER = re.compile(rb"P([1-6])" + _GAP + rb"(\d{1,9})" + _GAP + rb"(\d{1,9})")
_MAXVAL = re.compile(_GAP + rb"(\d{1,5})")


def netpbm_header(raw: bytes) -> tuple[int, int, int, int, int]:
    """The kind, 1 to 6, the width, the height, the maximum level, and where the pixels begin."""
    start = raw[:MAX_HEADER]
    found = _HEADER.match(start)
    if not found:
        raise ValueError("not a PBM, PGM or PPM header")
    kind, width, height = map(int, found.groups())
    end, maxval = found.end(), 1
    if kind not in (1, 4):
        level = _MAXVAL.match(start, end)
        if not level:
            raise ValueError("no maximum level in the header")
        end, maxval = level.end(), int(level[1])
    if not 1 <= maxval <= 65535 or not start[end : end + 1].isspace():
        raise ValueError(f"a header with the maximum level {maxval}, expected 1 to 65535")
    return kind, width, height, maxval, end + 1


def read_netpbm(raw: bytes) -> np.ndarray:
    """The pixels as uint8, (H, W) or (H, W, 3). Raises ValueError for a damaged file."""
    kind, width, height, maxval, start = netpbm_header(raw)
    shape = (height, width, 3) if kind in (3, 6) else (height, width)
    if kind == 4:
        row = (width + 7) // 8
        bits = np.frombuffer(raw, np.uint8, height * row, start).reshape(height, row)
        return (1 - np.unpackbits(bits, axis=1)[:, :width]) * np.uint8(255)
    count = int(np.prod(shape))
    if kind in (1, 2, 3):
        if width * height > MAX_PLAIN:
            raise ValueError(f"more than {MAX_PLAIN:,} pixels in digits; save it as PNG")
        levels = _plain(raw, start, kind, count)
    else:
        levels = np.frombuffer(raw, np.uint8 if maxval < 256 else ">u2", count, start)
    if kind == 1:
        levels = 1 - levels
    return _scaled(levels, maxval).reshape(shape)


def _plain(raw: bytes, start: int, kind: int, count: int) -> np.ndarray:
    text = re.sub(rb"#[^\n\r]*", b" ", memoryview(raw)[start : start + 16 * count + MAX_HEADER])
    if not re.fullmatch(rb"[\d\s]*", text):
        raise ValueError("something other than digits")
    if kind == 1:  # one digit per pixel, with or without spaces
        text = text.translate(None, b" \t\n\r\v\f")
        levels: np.ndarray = np.frombuffer(text, np.uint8)[:count] - np.uint8(ord("0"))
    else:
        levels = np.fromstring(text, np.int64, count=-1, sep=" ")[:count]
    if len(levels) < count:
        raise ValueError(f"{len(levels):,} of {count:,} levels")
    return levels


def _scaled(levels: np.ndarray, maxval: int) -> np.ndarray:
    """Scale 0…`maxval` to 0…255, rounded; values above `maxval` are clipped."""
    if maxval == 255 and levels.dtype == np.uint8:
        return levels
    scaled = np.empty(len(levels), np.uint8)
    for i in range(0, len(levels), BLOCK):
        block = np.minimum(levels[i : i + BLOCK], maxval).astype(np.uint32)
        scaled[i : i + BLOCK] = (block * 255 + maxval // 2) // maxval
    return scaled
