"""Reads IDX, the format of MNIST and of data sets modeled on it: four files, gzipped or not.

A file is a header in big-endian numbers of 4 bytes, then the bytes of one array. The first number
gives the type and the number of axes: 0x0803, three axes of unsigned bytes, for images;
0x0801, one axis of them, for labels. The next numbers are the lengths of the axes.

The four gzipped files are official if each has its SHA-256. No official hashes of the unpacked
files are published, so they cannot be distinguished from altered ones; if both are present, the
gzipped files are read.

Source: LeCun, Cortes and Burges, "The MNIST database of handwritten digits",
http://yann.lecun.com/exdb/mnist/.
"""

import hashlib
import math
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minivit.data.archive import unzip
from minivit.data.dataset import Split
from minivit.data.download import Expected, fetch
from minivit.data.published import Published, Read
from minivit.errors import UserError, shown_path
from minivit.files import read_plain

SIDE = 28
_UNSIGNED_BYTES = 0x0800


@dataclass(frozen=True, kw_only=True)
class Idx(Published):
    """A data set of grayscale images in IDX files.

    folders: where its files are in a folder of data sets; downloads go to the first. counts: the
    number of images in "train" and "t10k", the test set. expected: each .gz file's hash, by the
    name without .gz.
    """

    folders: tuple[str, ...]
    counts: Mapping[str, int]
    expected: Mapping[str, Expected]
    class_names: tuple[str, ...]

    @property
    def looked_for(self) -> str:
        """All four files must be in one of the folders."""
        folders = " or ".join(f"{folder}/" for folder in self.folders)
        return f"{', '.join(self.expected)} in {folders}, each with .gz or without"

    def _find(self, data_dir: Path) -> Path | None:
        if os.path.lexists(data_dir) and not data_dir.is_dir():
            raise UserError(
                f"{shown_path(data_dir)}: not a folder; expected a folder with IDX files"
            )
        folders = [*(data_dir / folder for folder in self.folders), data_dir]
        return next((path for path in folders if self._is_whole(path)), None)

    def _is_whole(self, folder: Path) -> bool:
        return all(_either(folder, name).is_file() for name in self.expected)

    def _fetch(self, url: str, data_dir: Path) -> Path:
        """Downloads from the address of the folder with all files, which ends in "/"."""
        if not url.endswith("/"):
            raise UserError(
                f"cannot download {self.name} from {url}: expected the address of the folder with "
                'its four files, which ends in "/"'
            )
        folder = data_dir / self.folders[0]
        for name, expected in self.expected.items():
            target = folder / f"{name}.gz"
            fetch(url + target.name, target, expected, otherwise=", or use --dataset shapes")
        return folder

    def _read(self, path: Path) -> Read:
        (train, official), (test, official_too) = (self._split(path, name) for name in self.counts)
        return Read(train, test, self.class_names, official and official_too)

    def _split(self, path: Path, name: str) -> tuple[Split, bool]:
        """The images and labels of "train" or "t10k", and whether the bytes are the official
        ones.
        """
        count, official, arrays = self.counts[name], True, []
        for kind, shape in (("images-idx3", (count, SIDE, SIDE)), ("labels-idx1", (count,))):
            file = f"{name}-{kind}-ubyte"
            array, digest = read_idx(where := _either(path, file), shape)
            official = official and digest == self.expected[file].sha256
            arrays.append(array)
        images, labels = arrays
        if labels.max() >= len(self.class_names):
            raise UserError(
                f"{shown_path(where)}: contains a label outside 0 to {len(self.class_names) - 1}; "
                "is it damaged?"
            )
        return Split(images[:, None], labels.astype(np.int64)), official


def _either(folder: Path, name: str) -> Path:
    """The gzipped file, whose hash is known, if present; else the unpacked one."""
    packed = folder / f"{name}.gz"
    return packed if packed.exists() else folder / name


def read_idx(path: Path, shape: tuple[int, ...]) -> tuple[np.ndarray, str]:
    """The array of unsigned bytes in an IDX file, which must have this shape, and the SHA-256 of
    the file. A file whose name ends in .gz is unpacked in memory.

    Raises UserError for a file of another length or shape, or one that is not IDX, and OSError.
    """
    where = shown_path(path)
    header = struct.pack(f">{1 + len(shape)}I", _UNSIGNED_BYTES | len(shape), *shape)
    length = len(header) + math.prod(shape)
    # Incompressible bytes get slightly longer when gzipped.
    raw = file = read_plain(path, length + (1 << 16), "an IDX file of this name")
    if path.suffix == ".gz":
        raw = unzip(file, length, where)
    found = raw[: len(header)]
    if found != header:
        raise UserError(f"{where}: {_described(found)}; expected {_described(header)}")
    if len(raw) != length:
        raise UserError(
            f"{where}: {len(raw):,} bytes, expected {length:,} for the shape that it claims; is it "
            "truncated?"
        )
    array = np.frombuffer(raw, np.uint8, offset=len(header)).reshape(shape)
    return array, hashlib.sha256(file).hexdigest()


def _described(header: bytes) -> str:
    """An IDX header in words."""
    if len(header) % 4 or len(header) // 4 < 2:
        return f"{len(header)} bytes, too few for an IDX header"
    magic, *shape = struct.unpack(f">{len(header) // 4}I", header)
    lengths = "×".join(map(str, shape))
    return f"magic number {magic:#06x} and shape {lengths}"
