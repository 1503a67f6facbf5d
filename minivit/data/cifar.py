"""Reads CIFAR-10 and CIFAR-100: 60,000 images of 32×32 pixels, from either official layout.

Both layouts hold training and test batches. In the binary layout a batch is rows of 1 byte per kind
of label and 3,072 pixel bytes; in the Python layout, which torchvision uses, it is a pickle (see
`pickle_reader`). Archives are read in memory: nothing is unpacked to disk.

An archive is official if it has the official SHA-256, a Python folder if its files have the MD5s
that torchvision checks. No official hashes of the individual binary files are published, so an
unpacked binary folder cannot be distinguished from an altered one.

Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images" (2009),
https://www.cs.toronto.edu/~kriz/cifar.html.
"""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from minivit.data.archive import check_length, read_members
from minivit.data.dataset import Split
from minivit.data.download import Expected, fetch, sha256_of
from minivit.data.pickle_reader import read_pickle
from minivit.data.published import Published, Read
from minivit.errors import UserError, shown_path
from minivit.files import check_regular, read_plain

URL = "https://www.cs.toronto.edu/~kriz/"
SHAPE = (3, 32, 32)
PIXELS = 3 * 32 * 32
# Limits that keep a file that claims or unpacks to terabytes from filling the memory: unpacked, an
# archive is 186 MB.
MAX_UNPACKED = 1 << 28
MAX_META_LENGTH = 1 << 16
MAX_CLASS_NAME_LENGTH = 64


@dataclass(frozen=True)
class Layout:
    """One of the two layouts in which a data set is published.

    suffix: of the batch files; metas: the files with class names; md5: by file name, empty if none
    are known.
    """

    folder: str
    archive: str
    expected: Expected
    suffix: str
    metas: tuple[str, ...]
    md5: dict[str, str]


@dataclass(frozen=True)
class Labels:
    """One kind of label, with its names in the layouts.

    key: in a Python batch; meta: the binary layout's file of class names; meta_key: the key of the
    names in the Python layout's file; class_names: used for a folder or an archive without that
    file.
    """

    key: str
    meta: str
    meta_key: str
    class_names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Cifar(Published):
    """CIFAR-10, or CIFAR-100 with one of its two kinds of label.

    batches: the number of images in each; the last is the test set. labels: all kinds, in the order
    of their bytes in a binary row; kind: which of them is the class. max_file_size: largest size of
    a file in bytes.
    """

    url: str = URL
    batches: dict[str, int]
    labels: tuple[Labels, ...]
    kind: int = 0
    binary: Layout
    python: Layout
    max_file_size: int

    @property
    def layouts(self) -> tuple[Layout, Layout]:
        return self.binary, self.python

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.labels[self.kind].class_names

    @property
    def looked_for(self) -> str:
        """Folders come before archives, and the binary layout before the Python one."""
        folders = [layout.folder + "/" for layout in self.layouts]
        return ", ".join(folders + [layout.archive for layout in self.layouts])

    def files(self, layout: Layout) -> tuple[str, ...]:
        """The names of all files of a layout."""
        return (*(batch + layout.suffix for batch in self.batches), *layout.metas)

    def _find(self, data_dir: Path) -> Path | None:
        if os.path.lexists(data_dir) and not data_dir.is_dir():
            check_regular(data_dir)
        firsts = [data_dir / self.files(layout)[0] for layout in self.layouts]
        if data_dir.is_file() or any(first.is_file() for first in firsts):
            return data_dir
        folders = [data_dir / layout.folder for layout in self.layouts]
        archives = [data_dir / layout.archive for layout in self.layouts]
        return next(
            (path for path in folders if path.is_dir()),
            next((path for path in archives if path.is_file()), None),
        )

    def _fetch(self, url: str, data_dir: Path) -> Path:
        """Downloads from the address of an archive, or of a folder with the binary archive, ending
        in "/".
        """
        if data_dir.suffix in (".gz", ".tgz"):
            raise UserError(
                f"no archive {shown_path(data_dir)}: expected a file, or a folder to download into"
            )
        if url.endswith("/"):
            url += self.binary.archive
        layout = self.python if url.endswith("/" + self.python.archive) else self.binary
        target = data_dir / layout.archive
        fetch(url, target, layout.expected, otherwise=", or use --dataset shapes")
        return target

    def _read(self, path: Path) -> Read:
        total = sum(self.batches.values())
        images, labels = np.empty((total, *SHAPE), np.uint8), np.empty(total, np.int64)
        class_names, rows = self.class_names, self._rows()
        missing, digests = set(self.batches), {}
        layout = None
        files = self._folder_files(path) if path.is_dir() else self._archive_files(path)
        for layout, name, raw in files:
            where = f"{shown_path(path)}: {name}"
            if layout.md5:
                digests[name] = hashlib.md5(raw, usedforsecurity=False).hexdigest()
            if name in layout.metas:
                class_names = self._class_names(layout, name, raw, where) or class_names
                continue
            batch = name.removesuffix(layout.suffix)
            parse = self._binary_batch if layout is self.binary else self._python_batch
            images[rows[batch]], labels[rows[batch]] = parse(raw, self.batches[batch], where)
            missing.remove(batch)
        if layout is None or missing:
            suffix = layout.suffix if layout else ""
            absent = ", ".join(batch + suffix for batch in sorted(missing))
            raise UserError(
                f"{shown_path(path)}: not a complete {self.name}, it lacks {absent}; remove or "
                "complete it"
            )

        if path.is_dir():
            official = bool(layout.md5) and digests == layout.md5
        else:
            official = sha256_of(path) == layout.expected.sha256
        test = rows[list(self.batches)[-1]]
        train = Split(images[: test.start], labels[: test.start])
        return Read(train, Split(images[test], labels[test]), class_names, official)

    def _rows(self) -> dict[str, slice]:
        """The slice of each batch among all images."""
        ends = accumulate(self.batches.values())
        return {
            batch: slice(end - count, end)
            for (batch, count), end in zip(self.batches.items(), ends, strict=True)
        }

    def _folder_files(self, path: Path) -> Iterator[tuple[Layout, str, bytes]]:
        """The layout, and the names and bytes of its files that are present."""
        binary = path.name == self.binary.folder or (path / self.files(self.binary)[0]).exists()
        layout = self.binary if binary else self.python
        for name in self.files(layout):
            if (path / name).exists():
                yield layout, name, read_plain(path / name, self.max_file_size, "a file of CIFAR")

    def _archive_files(self, path: Path) -> Iterator[tuple[Layout, str, bytes]]:
        """The same from an archive, in its order; other members are skipped."""
        known = {
            f"{layout.folder}/{name}": (layout, name)
            for layout in self.layouts
            for name in self.files(layout)
        }
        first = None
        for member, raw in read_members(path, known, self.max_file_size, MAX_UNPACKED):
            layout, name = known[member]
            first = first or layout
            if layout is first:
                yield layout, name, raw

    def _binary_batch(self, raw: bytes, count: int, where: str) -> tuple[np.ndarray, np.ndarray]:
        """Images (count, 3, 32, 32) and labels (count,) of a binary batch; both are views of
        `raw`.
        """
        width = len(self.labels) + PIXELS
        if len(raw) != count * width:
            raise UserError(
                f"{where}: {len(raw):,} bytes, expected {count * width:,}; is it truncated?"
            )
        rows = np.frombuffer(raw, np.uint8).reshape(count, width)
        for column, labels in enumerate(self.labels):
            _check_labels(int(rows[:, column].max()), labels, where)
        return rows[:, len(self.labels) :].reshape(count, *SHAPE), rows[:, self.kind]

    def _python_batch(self, raw: bytes, count: int, where: str) -> tuple[np.ndarray, np.ndarray]:
        """The same for a Python batch: a dict with "data", an array (count, 3072), and lists."""
        value = read_pickle(raw, where)
        batch = value if type(value) is dict else {}
        data = batch.get("data")
        if not isinstance(data, np.ndarray) or data.shape != (count, PIXELS):
            raise UserError(
                f'{where}: not a CIFAR batch, expected "data" of shape ({count}, {PIXELS})'
            )
        for labels in self.labels:
            values = batch.get(labels.key)
            if type(values) is not list or len(values) != count:
                raise UserError(
                    f'{where}: not a CIFAR batch, expected "{labels.key}", a list of {count}'
                )
            valid = all(type(label) is int and label >= 0 for label in values)
            _check_labels(max(values) if valid else -1, labels, where)
        chosen = batch[self.labels[self.kind].key]
        return data.reshape(count, *SHAPE), np.array(chosen, np.int64)

    def _class_names(
        self, layout: Layout, name: str, raw: bytes, where: str
    ) -> tuple[str, ...] | None:
        """The class names: one per line, or a list in a pickled dict; None for those of another
        kind.
        """
        labels = self.labels[self.kind]
        check_length(where, len(raw), MAX_META_LENGTH)
        if layout is self.binary:
            if name != labels.meta:
                return None
            names: Any = raw.decode("ascii", "replace").split()
        else:
            meta = read_pickle(raw, where)
            names = meta.get(labels.meta_key) if type(meta) is dict else None
        count = len(labels.class_names)
        if type(names) is not list or len(names) != count or not all(map(_is_class_name, names)):
            raise UserError(
                f"{where}: expected the names of {count} classes, each of at most "
                f"{MAX_CLASS_NAME_LENGTH} printable ASCII characters; download it again"
            )
        return tuple(names)


def _check_labels(max_label: int, labels: Labels, where: str) -> None:
    if not 0 <= max_label < len(labels.class_names):
        raise UserError(
            f"{where}: contains a label outside 0 to {len(labels.class_names) - 1}; is it damaged?"
        )


def _is_class_name(name: object) -> bool:
    """Whether a name may be printed: one from a file could contain terminal control sequences."""
    return (
        type(name) is str
        and 0 < len(name) <= MAX_CLASS_NAME_LENGTH
        and name.isascii()
        and name.isprintable()
    )
