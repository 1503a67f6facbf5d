"""Users' own data sets that once caused a failure: by name, the bytes of a .zip, a .npz or a
.csv."""

import bz2
import io
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from fuzz.corpus.images import encoded
from PIL import Image

PIXELS = np.random.default_rng(0).integers(0, 256, (8, 9, 9, 3), np.uint8)
LABELS = np.arange(8) % 2
TWO = ["a/1.png", "b/1.png"]
PNG = encoded(Image.fromarray(PIXELS[0]), "PNG")


def zipped(members: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, raw in members.items():
            archive.writestr(zipfile.ZipInfo(name), raw, method)
    return file.getvalue()


def array(values: object) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asarray(values))
    return file.getvalue()


def header(text: str, data: bytes = b"") -> bytes:
    """A .npy file with an arbitrary text as its header."""
    raw = text.encode("latin-1")
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(raw)) + raw + data


def npy(shape: str, kind: str = "|u1", data: bytes = b"") -> bytes:
    return header(f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': {shape}}}\n", data)


def npz(method: int = zipfile.ZIP_DEFLATED, **members: bytes) -> bytes:
    """Valid arrays, except for those passed as the bytes of their files."""
    whole = {"images": array(PIXELS), "labels": array(LABELS)} | members
    return zipped({f"{name}.npy": raw for name, raw in whole.items()}, method)


def packed(names: Sequence[str], packed: bytes, method: int, size: int) -> bytes:
    """A .zip of members packed by any method, each declared to have `size` bytes."""
    members, directory = b"", b""
    for name in map(str.encode, names):
        common = struct.pack(
            "<HHHHHIIIHH", 20, 0, method, 0, 33, 0, len(packed), size, len(name), 0
        )
        place = struct.pack("<10xI", len(members))
        directory += b"PK\1\2\24\0" + common + place + name
        members += b"PK\3\4" + common + name + packed
    count, length = len(names), len(directory)
    return (
        members
        + directory
        + struct.pack("<4s4xHHIIH", b"PK\5\6", count, count, length, len(members), 0)
    )


def deep(count: int, depth: int) -> bytes:
    folders = "a/" * depth
    return zipped({f"{folders}{n % 2}/{n}.png": PNG for n in range(count)}, zipfile.ZIP_STORED)


def bomb(kind: str) -> bytes:
    """1 GiB of zeros, declared as an image of 180 MB."""
    pack = bz2.BZ2Compressor() if kind == "bzip2" else zlib.compressobj(wbits=-15)
    parts = [pack.compress(bytes(1 << 20)) for _ in range(1024)]
    raw = b"".join([*parts, pack.flush()])
    method = zipfile.ZIP_BZIP2 if kind == "bzip2" else zipfile.ZIP_DEFLATED
    return packed(TWO, raw, method, 180_000_000)


def large_images(count: int) -> bytes:
    """Each file is 100 MB; the image is in its first few bytes."""
    raw = PNG + bytes(100_000_000)
    return zipped({f"{n % 2}/{n}.png": raw for n in range(count)})


def rows(*lines: str):
    return lambda: "\n".join(["path,label", *lines]).encode()


ZIPS = {
    "nothing": lambda: b"",
    "no member": lambda: zipped({}),
    "a bomb of deflate": partial(bomb, "deflate"),
    "a bomb of bzip2": partial(bomb, "bzip2"),
    "LZMA with a dictionary of 4 GB": lambda: packed(
        TWO, b"\t\4\5\0\x5d\xff\xff\xff\xff" + bytes(99), zipfile.ZIP_LZMA, 1000
    ),
    "LZMA that is none": lambda: packed(TWO, bytes(9), zipfile.ZIP_LZMA, 1000),
    "LZMA cut in its header": lambda: packed(TWO, b"\t", zipfile.ZIP_LZMA, 1000),
    "200 images 30,000 folders deep": partial(deep, 200, 30_000),
    "10 images of 100 MB": partial(large_images, 10),
    "names that lead elsewhere": lambda: zipped({"../a/1.png": PNG, "/tmp/b/2.png": PNG}),
    "names with control characters": lambda: zipped({"\x1b[2J/1.png": PNG, "a\n/2.png": PNG}),
}
NPZS = {
    "nothing": lambda: b"",
    "no array": lambda: zipped({}),
    "no images": lambda: npz(images=array(PIXELS[:0]), labels=array(LABELS[:0])),
    "images without height": lambda: npz(images=array(PIXELS[:, :0])),
    "images without width": lambda: npz(images=array(PIXELS[:, :, :0])),
    "images without channels": lambda: npz(images=array(PIXELS[..., :0])),
    "an image without any axis": lambda: npz(images=array(3)),
    "a single label": lambda: npz(labels=array(3)),
    "a .npy in front of the .zip": lambda: array(LABELS) + npz(),
    "a member that is no array": lambda: npz(images=b"words"),
    "a header of parentheses": lambda: npz(images=header("(" * 60_000)),
    "a header of 9,000 parentheses": lambda: npz(images=header("(" * 9_000)),
    "a header of 9,000 minuses": lambda: npz(images=header("-" * 9_000 + "1")),
    "a header without an end": lambda: npz(images=header("{'descr': '''")),
    "a header that is indented": lambda: npz(images=header("  1\n 2\n")),
    "a header with a null": lambda: npz(images=header("{\0}")),
    "a header with other keys": lambda: npz(images=header("{1: 2, 'a': 3}\n")),
    "a header that is no table": lambda: npz(images=header("{{}: 1}\n")),
    "a shape of 2**100": lambda: npz(images=npy("(2**100,)".replace("2**100", str(2**100)))),
    "a shape of 2**62": lambda: npz(images=npy(f"({2**62}, 1, 1)")),
    "a shape of 100 GB": lambda: npz(images=npy(f"({10**5}, 1000, 1000)")),
    "a negative shape": lambda: npz(images=npy("(-1, 9, 9)")),
    "a shape that is true": lambda: npz(images=npy("(True, 9, 9)", data=bytes(81))),
    "2**60 items of no bytes": lambda: npz(images=npy(f"({2**60}, 1, 1)", "|V0")),
    "2**60 images of no pixels": lambda: npz(
        images=npy(f"({2**60}, 0, 3)"), labels=npy(f"({2**60}, 0)")
    ),
    "objects": lambda: npz(images=npy("(8, 9, 9)", "|O", b"cos\nsystem\n(S'true'\ntR.")),
    "a type that is none": lambda: npz(images=npy("(8, 9, 9)", "what")),
    "names of a gigabyte each": lambda: npz(class_names=npy("(2,)", "<U250000000")),
    "names that are no text": lambda: npz(class_names=npy("(2,)", "<U1", b"\xff" * 8)),
    "bzip2": lambda: npz(zipfile.ZIP_BZIP2),
    "a bomb of bzip2": lambda: packed(
        ["images.npy", "labels.npy"], bz2.compress(bytes(1 << 30)), zipfile.ZIP_BZIP2, 1000
    ),
    "labels of 64 bits": lambda: npz(labels=array(np.array([2**64 - 1, 0] * 4, np.uint64))),
    "300,000 labels": lambda: npz(
        images=array(np.zeros((300_000, 1, 1), np.uint8)), labels=array(np.arange(300_000))
    ),
    "images of one line": lambda: npz(images=array(np.zeros((8, 1, 4_000_000), np.uint8))),
}
CSVS = {
    "nothing": lambda: b"",
    "a header and no rows": rows(),
    "a null": rows("a\0.png,a", "b.png,b"),
    "a path of 100,000 characters": rows("x/" * 50_000 + ",a", "b.png,b"),
    "a device": rows("/dev/zero,a", "/dev/stdin,b"),
    "a folder": rows(".,a", "..,b"),
    "itself": rows("data.csv,a", "data.csv,b"),
    "a quote without an end": lambda: b'path,label\n"' + b"a,\n" * 1_000_000,
    "60 MB of empty cells": lambda: b"path,label\n" + b",\n" * 30_000_000,
    "60 MB of empty lines": lambda: b"path,label\n" + b"\n" * 60_000_000,
    "a row of 60 MB": lambda: b"path,label\n" + b"ab," * 20_000_000,
    "a quoted row of 60 MB": lambda: b"path,label\n" + b'"\n\n",' * 12_000_000,
    "100 MB in a wide script": lambda: "path,label\n😀".encode() + b"a" * 100_000_000,
    "3,000,000 rows": lambda: b"path,label\n" + b"a,b\n" * 3_000_000,
    "200,000 classes": lambda: b"path,label\n" + b"".join(b"a,%d\n" % n for n in range(200_000)),
    "half a character": lambda: b"path,label\na,b\n\xf0\x9f",
}
