"""Ordinary and malicious image files: each is decoded correctly or refused in one line."""

import io
import os
import struct
import sys
import time
import zlib

import numpy as np
import pytest
from fuzz.corpus.images import GRAY, STRIP, tiff
from helpers import needs_posix
from PIL import Image, features

from minivit.data import Preprocess, image_decoding, preprocess, read_image
from minivit.errors import UserError

RED, GREEN, WHITE = (255, 0, 0), (0, 128, 0), (255, 255, 255)


def colors(path) -> list[tuple[int, ...]]:
    """The four pixels of a 2×2 image, row by row."""
    return [
        tuple(map(int, color)) for color in read_image(path, Preprocess((2, 2))).reshape(3, 4).T
    ]


def refused(path, message: str) -> str:
    start = time.process_time()
    with pytest.raises(UserError, match=message) as caught:
        read_image(path, Preprocess((8, 8)))
    assert time.process_time() - start < 2
    error_text = str(caught.value)
    assert "\n" not in error_text
    assert len(error_text) < 300 + len(str(path))
    return error_text


def chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(kind + data).to_bytes(4, "big")
    return len(data).to_bytes(4, "big") + kind + data + checksum


def png(width, height, depth, color, rows: bytes, *chunks: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(rows))
    parts = [chunk(b"IHDR", header), *chunks, data, chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def row(*colors) -> Image.Image:
    """Colors from left to right; the second row repeats the first."""
    return Image.fromarray(np.array([colors, colors], np.uint8))


# Transparent pixels are drawn over white


def test_three_files_that_look_alike_are_alike(tmp_path):
    """Red next to full transparency: the color of an invisible pixel makes no difference."""
    palette = row(RED, GREEN).quantize(2)
    index = palette.getpixel((1, 0))
    files = {
        "rgba": encoded(row((*RED, 255), (*GREEN, 0)), "PNG"),
        "palette": encoded(palette, "PNG", transparency=index),
        "palette, alpha": encoded(palette, "PNG", transparency=[b"\0\xff", b"\xff\0"][index]),
        "key": encoded(row(RED, GREEN), "PNG", transparency=GREEN),
        "gif": encoded(palette, "GIF", transparency=index),
        "tiff": encoded(row((*RED, 255), (*GREEN, 0)), "TIFF"),
        "webp": encoded(row((*RED, 255), (*GREEN, 0)), "WEBP", lossless=True),
        "drawn white": encoded(row(RED, WHITE), "PNG"),
    }  # fmt: skip
    for name, raw in files.items():
        (tmp_path / name).write_bytes(raw)
        assert colors(tmp_path / name) == [RED, WHITE] * 2, name


def test_half_transparent_pixels_are_mixed_with_white(tmp_path):
    image = row((255, 0, 0, 128), (0, 0, 0, 51))
    for kind in ("PNG", "TIFF"):
        (tmp_path / "a").write_bytes(encoded(image, kind))
        assert colors(tmp_path / "a") == [(255, 127, 127), (204, 204, 204)] * 2
    (tmp_path / "a").write_bytes(encoded(image.convert("LA"), "PNG"))
    assert colors(tmp_path / "a")[1] == (204, 204, 204)
    image = row((128, 0, 0, 128), (0, 0, 0, 51))
    kind, premultiplied = (struct.pack("<HHIHH", 338, 3, 1, n, 0) for n in (2, 1))
    (tmp_path / "a").write_bytes(encoded(image, "TIFF").replace(kind, premultiplied))
    np.testing.assert_allclose(colors(tmp_path / "a")[0], (255, 127, 127), atol=2)


@pytest.mark.parametrize(
    ("depth", "key", "rows", "expected"),
    [
        (1, 0, b"\0\x40" * 2, [255, 255]),  # levels 0 and 1; 0 is transparent
        (1, 1, b"\0\x40" * 2, [0, 255]),
        (2, 1, b"\0\x60" * 2, [255, 170]),  # levels 1 and 2 of 3
        (4, 15, b"\0\x3f" * 2, [51, 255]),
        (8, 7, b"\0\x07\x08" * 2, [255, 8]),
        (16, 257, b"\0\x01\x01\x02\x02" * 2, [255, 2]),
        (16, 256, b"\0\x01\x01\x02\x02" * 2, [1, 2]),
    ],
)
def test_a_transparent_gray_level(tmp_path, depth, key, rows, expected):
    raw = png(2, 2, depth, 0, rows, chunk(b"tRNS", key.to_bytes(2, "big")))
    (tmp_path / "a.png").write_bytes(raw)
    assert colors(tmp_path / "a.png")[:2] == [(level,) * 3 for level in expected]


def test_a_transparent_16_bit_color(tmp_path):
    pixels = struct.pack(">6H", 65535, 0, 0, 0x1234, 0x5678, 0x9ABC)
    key = chunk(b"tRNS", struct.pack(">3H", 0x1234, 0x5678, 0x9ABC))
    (tmp_path / "a.png").write_bytes(png(2, 2, 16, 2, (b"\0" + pixels) * 2, key))
    assert colors(tmp_path / "a.png") == [RED, WHITE] * 2


# Levels


@pytest.mark.parametrize("mode", ["I;16", "I;16B"])
def test_sixteen_bits_in_either_byte_order(tmp_path, mode):
    levels = np.array([[0, 257 * 9], [65535, 257 * 200]], np.uint16)
    image = Image.fromarray(levels.astype(">u2" if mode == "I;16B" else "<u2"))
    for kind in ("PNG", "TIFF"):
        image.save(tmp_path / "a", kind)
        assert [c[0] for c in colors(tmp_path / "a")] == [0, 9, 255, 200]


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_levels_of_unknown_range_are_refused(tmp_path, dtype):
    Image.fromarray(np.full((4, 4), 5, dtype)).save(tmp_path / "a.tif")
    assert "save it with 8 or 16 bits" in refused(tmp_path / "a.tif", "range is not known")


def test_grayscale_in_which_0_is_white(tmp_path):
    levels = np.array([[0, 65535], [0, 65535]], np.uint16)
    Image.fromarray(levels).save(tmp_path / "a.tif", tiffinfo={262: 0})
    assert [c[0] for c in colors(tmp_path / "a.tif")] == [255, 0] * 2


def test_cmyk_images_are_converted(tmp_path):
    for kind, options in (("TIFF", {}), ("JPEG", {"quality": 100})):
        image = Image.new("CMYK", (2, 2), (0, 255, 255, 0))
        image.save(tmp_path / "a", kind, **options)
        np.testing.assert_allclose(colors(tmp_path / "a")[0], RED, atol=4)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"P1\n2 2\n1 0\n01", [0, 255, 255, 0]),
        (b"P2 # a comment\n2\t2 # another\n4\n0 1 # more\n2 4", [0, 64, 128, 255]),
        (b"P3 2 2 255\n 1 1 1 2 2 2 3 3 3 4 4 4\n", [1, 2, 3, 4]),
        (b"P4\n2 2\n\x80\x40", [0, 255, 255, 0]),
        (b"P5 2 2 255\n\x01\x02\x03\x04", [1, 2, 3, 4]),
        (b"P5 2 2 15\n\x00\x01\x0f\xff", [0, 17, 255, 255]),
        (b"P5 2 2 65535\n\x00\x00\x01\x01\xff\xff\x80\x80", [0, 1, 255, 128]),
        (b"P6\n2 2\n255\n" + bytes([1] * 3 + [2] * 3 + [3] * 3 + [4] * 3), [1, 2, 3, 4]),
    ],
)
def test_portable_maps(tmp_path, raw, expected):
    (tmp_path / "a.ppm").write_bytes(raw)
    assert [c[0] for c in colors(tmp_path / "a.ppm")] == expected


@pytest.mark.parametrize(
    "raw",
    [
        b"P6\n2 2\n255\n" + bytes(11),
        b"P5 2 2 65536\n" + bytes(8),
        b"P5 2 2 0\n" + bytes(8),
        b"P5 0 2 1\n" + bytes(8),
        b"P2 2 2 9\n1 2 3",
        b"P2 2 2 9\n1 2 3 -4",
        b"P2 2 2 9\n1 2 3 x",
        b"P1 2 2\n0101".replace(b"0101", b"012"),
        b"P7\nWIDTH 2\n",
        b"P6 #" + b"x" * 1_000_000,
        b"P6" + b" " * 1_000_000 + b"2 2 255 ",
        b"P6 99999999999999 2 255\n",
        b"P6 999999999 999999999 255\n",
        b"P3 3000 3000 255\n" + b"1 " * 100,
        b"P2 2 2 9\n" + b"9" * 5000,
    ],
)
def test_damaged_portable_maps_are_refused(tmp_path, raw):
    (tmp_path / "a.ppm").write_bytes(raw)
    refused(tmp_path / "a.ppm", "a.ppm")


# Orientation and frames


def exif(orientation: int, order: str = "<") -> bytes:
    mark = b"II*\0" if order == "<" else b"MM\0*"
    entry = struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0)
    return b"Exif\0\0" + mark + struct.pack(order + "IH", 8, 1) + entry + bytes(4)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_applied(tmp_path, kind, orientation):
    pixels = np.zeros((24, 16, 3), np.uint8)
    pixels[:12, :8], pixels[12:, 8:] = 255, 128
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    upright = Image.fromarray(pixels)
    if kind == "TIFF":
        upright.save(tmp_path / "a", kind, tiffinfo={0x0112: orientation})
    else:
        upright.save(tmp_path / "a", kind, exif=exif(orientation, "<>"[orientation % 2]), **options)
    turn = preprocess._TURNS.get(orientation)
    expected = np.asarray(upright if turn is None else upright.transpose(turn)).transpose(2, 0, 1)
    np.testing.assert_allclose(
        read_image(tmp_path / "a", Preprocess(expected.shape[1:])), expected, atol=3
    )


def test_an_invalid_orientation_is_ignored(tmp_path):
    blocks = [b"", b"Exif\0\0", b"Exif\0\0II*\0" + b"\xff" * 8, exif(9), exif(0), exif(6)[:-10]]
    for block in blocks:
        row(RED, RED).save(tmp_path / "a.png", exif=block or b"?")
        assert colors(tmp_path / "a.png") == [RED] * 4


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_frame_is_used(tmp_path, kind):
    frames = [Image.new("RGB", (2, 2), color) for color in (RED, GREEN, GREEN)]
    options = {"WEBP": {"lossless": True}}.get(kind, {})
    frames[0].save(tmp_path / "a", kind, save_all=True, append_images=frames[1:], **options)
    assert colors(tmp_path / "a") == [RED] * 4


def test_metadata_makes_no_difference(tmp_path):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8))
    for kind in ("JPEG", "PNG", "WEBP", "TIFF", "GIF"):
        extra = {"icc_profile": b"p" * 70_000, "exif": exif(1), "comment": b"c" * 1000}
        image.save(tmp_path / "a", kind)
        image.save(tmp_path / "b", kind, **extra)
        one, other = (read_image(tmp_path / name, Preprocess((20, 30))) for name in "ab")
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate", "packbits", "group4", None])
def test_compressed_tiffs_are_decoded(tmp_path, compression):
    image = row(WHITE, (0, 0, 0)).convert("1" if compression == "group4" else "RGB")
    image.save(tmp_path / "a.tif", compression=compression)
    assert [c[0] for c in colors(tmp_path / "a.tif")] == [255, 0] * 2


# What is refused


@pytest.mark.filterwarnings("ignore:IM image format is deprecated")
def test_only_listed_formats_are_accepted(tmp_path):
    image = Image.new("RGB", (4, 4))
    kinds = ["PCX", "TGA", "SGI", "EPS", "PDF", "IM", "MSP", "DDS", "ICO", "BLP"]
    more = {"AVIF": "avif", "JPEG2000": "jpg_2000"}
    kinds += [kind for kind, feature in more.items() if features.check(feature)]
    for kind in kinds:
        mode = {"MSP": "1", "BLP": "P"}.get(kind, "RGB")
        image.convert(mode).save(tmp_path / "a.png", kind)
        error_text = refused(
            tmp_path / "a.png", "not an image that can be opened, expected JPEG, PNG"
        )
        assert "damaged" not in error_text


def test_rare_kinds_of_bitmaps_and_tiffs_are_refused(tmp_path):
    raw = bytearray(encoded(Image.new("P", (4, 4)), "BMP"))
    raw[30] = 1
    (tmp_path / "a.bmp").write_bytes(raw)
    refused(tmp_path / "a.bmp", "compression 1, expected none; save it as PNG")
    Image.new("RGB", (16, 16)).save(tmp_path / "a.tif", compression="jpeg")
    refused(tmp_path / "a.tif", "compression 7, expected LZW, Deflate or none")


def test_too_many_pixels_are_given_as_the_reason(tmp_path):
    rows = zlib.compress(bytes(13301) * 10)
    header = struct.pack(">IIBBBBB", 13300, 13300, 8, 0, 0, 0, 0)
    raw = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows)
    (tmp_path / "a.png").write_bytes(raw)
    refused(
        tmp_path / "a.png",
        "13300 × 13300, 177 megapixels, at most 40 are read; scale it down first",
    )


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM"])
def test_the_pixel_limit_applies_to_every_format(tmp_path, kind, monkeypatch):
    Image.new("RGB", (200, 100)).save(tmp_path / "a", kind)
    monkeypatch.setattr(image_decoding, "MAX_PIXELS", 20_000)
    read_image(tmp_path / "a", Preprocess((8, 8)))
    monkeypatch.setattr(image_decoding, "MAX_PIXELS", 19_999)
    refused(tmp_path / "a", "200 × 100, 0 megapixels, at most 0")


@pytest.mark.parametrize(
    ("max_pixels", "scale"), [(480_000, 1), (479_999, 2), (100_000, 4), (7500, 8)]
)
def test_a_large_photo_is_decoded_at_a_reduced_size(tmp_path, max_pixels, scale, monkeypatch):
    levels = np.repeat(np.linspace(0, 255, 800).astype(np.uint8)[None], 600, 0)
    Image.fromarray(levels).convert("RGB").save(tmp_path / "a.jpg", quality=95)
    sizes = []
    monkeypatch.setattr(image_decoding, "MAX_PIXELS", max_pixels)
    monkeypatch.setattr(
        image_decoding, "opaque", lambda image, _: sizes.append(image.size) or image
    )
    found = read_image(tmp_path / "a.jpg", Preprocess((6, 8)))
    assert sizes == [(800 // scale, 600 // scale)]
    np.testing.assert_allclose(found[0, 3], np.linspace(16, 239, 8), atol=4)


def test_the_coefficients_and_scans_of_a_photo_are_limited(tmp_path, monkeypatch):
    image = Image.new("RGB", (200, 100))
    image.save(tmp_path / "a.jpg", subsampling=0, progressive=True)
    monkeypatch.setattr(image_decoding, "MAX_COEFFICIENTS", 59_999)
    refused(
        tmp_path / "a.jpg", "0 megapixels, at most 0 are read for a JPEG with color at this res"
    )
    image.save(tmp_path / "a.jpg", progressive=True)  # color at half the resolution
    read_image(tmp_path / "a.jpg", Preprocess((8, 8)))
    monkeypatch.setattr(image_decoding, "MAX_SCANNED", 199_999)
    refused(tmp_path / "a.jpg", "in 10 scans, at most 9; scale")


def test_a_jpeg_with_thousands_of_scans_is_refused(tmp_path):
    raw = encoded(Image.new("RGB", (16, 16)), "JPEG", progressive=True)
    scan = raw.rindex(b"\xff\xda")
    (tmp_path / "a.jpg").write_bytes(raw[:-2] + raw[scan:-2] * 5000 + b"\xff\xd9")
    refused(tmp_path / "a.jpg", "scans, expected at most 64")


@pytest.mark.parametrize(
    "raw",
    [
        png(2, 2, 8, 0, bytes(6), *[chunk(b"teXt", b"")] * 100_001),
        b"GIF89a\x02\0\x02\0\0\0\0!\xfe" + b"\x01x" * 200_000,
        b"GIF89a\x02\0\x02\0\0\0\0" + b"!\xfe\0" * 200_000,
        b"\xff\xd8" + b"\xff\xfe\0\x02" * 200_000,
        b"RIFF\0\0\0\0WEBP" + b"ICCP\0\0\0\0" * 200_000,
    ],
    ids=["png", "gif, a comment", "gif, comments", "jpeg", "webp"],
)
def test_endless_metadata_is_refused(tmp_path, raw):
    (tmp_path / "a").write_bytes(raw)
    refused(tmp_path / "a", "more than 100,000")


def test_large_metadata_is_skipped(tmp_path):
    text = chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(1 << 24)))
    profile = chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(1 << 24)))
    (tmp_path / "a.png").write_bytes(png(2, 2, 8, 0, bytes(6), *[text] * 200, profile))
    assert colors(tmp_path / "a.png") == [(0, 0, 0)] * 4
    segment = b"\xff\xe1\xff\xffExif\0\0" + bytes(65527)
    raw = encoded(Image.new("RGB", (2, 2)), "JPEG")
    (tmp_path / "a.jpg").write_bytes(raw[:2] + segment * 300 + raw[2:])
    assert colors(tmp_path / "a.jpg") == [(0, 0, 0)] * 4


def test_a_handmade_tiff_is_decoded(tmp_path):
    (tmp_path / "a.tif").write_bytes(tiff(*GRAY, *STRIP, data=b"\x01\x02\x03\x04"))
    assert [c[0] for c in colors(tmp_path / "a.tif")] == [1, 2, 3, 4]


def test_a_tiff_whose_tags_all_span_the_whole_file_is_refused(tmp_path):
    tags = [(n, 1, 1_000_000, 8) for n in range(40_000, 40_900)]
    raw = tiff(*GRAY, *STRIP, *tags, data=b"\x01\x02\x03\x04", pad=1_000_000)
    (tmp_path / "a.tif").write_bytes(raw)
    assert [c[0] for c in colors(tmp_path / "a.tif")] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ([*GRAY, (273, 4, 2, 8), *STRIP[1:]], "2 strips or tiles, expected 1"),
        ([*GRAY, (273, 4, 1 << 20, 8), *STRIP[1:]], "tag 273 has 1048576 values"),
        ([*GRAY[:3], (259, 3, 1, 8), GRAY[4], *STRIP[:3], (279, 4, 1, 9999)], "overlapping strips"),
        ([*GRAY[:3], (259, 3, 1, 34925), GRAY[4], *STRIP], "compression 34925"),
        ([*GRAY, (322, 4, 1, 65536), (323, 4, 1, 65536), (324, 4, 1, 8)], "of 65536x65536"),
        ([*GRAY, STRIP[0], (277, 3, 1, 9), *STRIP[2:]], "9 samples"),
        ([(256, 4, 1, 0), *GRAY[1:], *STRIP], "0x2 pixels"),
        ([(256, 4, 1, 1 << 31), *GRAY[1:], *STRIP], "megapixels"),
        ([*GRAY, *STRIP, *[(40_000 + n, 3, 1, 1) for n in range(1000)]], "1009 tags, expected"),
        ([], "pixels"),
    ],
)  # fmt: skip
def test_an_inconsistent_tiff_is_refused(tmp_path, tags, message):
    (tmp_path / "a.tif").write_bytes(tiff(*tags, data=b"\x01\x02\x03\x04"))
    refused(tmp_path / "a.tif", message)


def test_a_damaged_tiff_causes_no_message_from_libtiff(tmp_path, capfd):
    raw = encoded(Image.new("L", (64, 64)), "TIFF", compression="tiff_lzw")
    start = raw.index(b"\x80\x00", 8)
    (tmp_path / "a.tif").write_bytes(raw[: start + 4] + b"\xff" * 8 + raw[start + 12 :])
    refused(tmp_path / "a.tif", "a damaged image")
    print("still heard", file=sys.__stderr__, flush=True)
    assert capfd.readouterr().err == "still heard\n"


@needs_posix
def test_only_regular_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "a named pipe, expected a regular file")
    refused(tmp_path, "a folder, expected a regular file")
    refused("/dev/null", "a device, expected a regular file")
    refused(tmp_path / "absent", "absent: no such file")
    refused(tmp_path / "a\0b", "no file can have this name")
    refused(tmp_path / ("x" * 300), "cannot be read")
    refused(tmp_path / "a\nb", r"a\\nb: no such file")
    (tmp_path / "link").symlink_to("link")
    refused(tmp_path / "link", "cannot be read")


def test_the_file_size_is_limited(tmp_path):
    with open(tmp_path / "a.png", "wb") as file:
        file.truncate(10**12)
    refused(
        tmp_path / "a.png", "1,000,000,000,000 bytes, expected at most 200,000,000 for an image"
    )


def test_a_file_without_read_permission_is_reported(tmp_path, monkeypatch):
    def deny(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(image_decoding, "read_plain", deny)
    error_text = refused(tmp_path / "a.png", "no permission to read it")
    assert "writable" not in error_text


@pytest.mark.parametrize("error", [RecursionError, AssertionError, KeyError, EOFError])
def test_any_error_in_a_decoder_is_reported_in_one_line(tmp_path, monkeypatch, error):
    def fail(_):
        raise error("\x1b[2J\n" + "x" * 1000)

    row(RED, RED).save(tmp_path / "a.png")
    monkeypatch.setitem(image_decoding._DECODERS, "PNG", fail)
    assert "\x1b" not in refused(tmp_path / "a.png", "a damaged image")


def test_running_out_of_memory_is_not_reported_as_damage(tmp_path, monkeypatch):
    def fail(_):
        raise MemoryError

    row(RED, RED).save(tmp_path / "a.png")
    monkeypatch.setitem(image_decoding._DECODERS, "PNG", fail)
    refused(tmp_path / "a.png", "not enough memory for this image; scale it down, or free some")
