"""CIFAR-10: 60,000 pictures of 32×32 pixels in ten classes, from either official layout.

Both layouts hold five training batches and one test batch of 10,000 pictures each. In the binary
one a batch is rows of 1 label byte and 3,072 pixel bytes; in the Python one, which torchvision
keeps, a pickle (see `pickle_reader`). Archives are read in memory: nothing is unpacked to disk.

What counts as official, so that a result may be quoted as one on "CIFAR-10": an archive whose
SHA-256 is the official one, or a Python folder whose seven files have the MD5s that torchvision
checks. No official hash of the single binary files is published, so an unpacked binary folder
cannot be told from an altered one; it loads, like anything of the right form, under a name that
says so and with a warning.

Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images" (2009),
https://www.cs.toronto.edu/~kriz/cifar.html.
"""

import hashlib
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minivit.data.archive import check_length, read_members
from minivit.data.dataset import Dataset, Split
from minivit.data.download import Expected, fetch, sha256_of
from minivit.data.pickle_reader import read_pickle
from minivit.data.source import Source
from minivit.errors import UserError, shown_path
from minivit.files import check_regular, read_plain

URL = "https://www.cs.toronto.edu/~kriz/"
URL_VARIABLE = "MINIVIT_CIFAR10_URL"
ROWS = 10_000  # pictures a batch
SHAPE = (3, 32, 32)
PIXELS = 3 * 32 * 32
CLASS_NAMES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
BATCHES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")
# What keeps a file that claims terabytes, or unpacks to them, from filling the memory: a batch has
# 31 MB, an archive unpacked 186 MB.
LONGEST_MEMBER = 1 << 26
LONGEST_META = 1 << 16
MOST_UNPACKED = 1 << 28
LONGEST_CLASS_NAME = 64


@dataclass(frozen=True)
class Layout:
    """One of the two forms in which CIFAR-10 is published.

    suffix: what its batch files have after their name; md5: by file name, empty if none is known.
    """

    folder: str
    archive: str
    expected: Expected
    suffix: str
    meta: str
    md5: dict[str, str]

    @property
    def files(self) -> tuple[str, ...]:
        return (*(batch + self.suffix for batch in BATCHES), self.meta)


BINARY = Layout(
    folder="cifar-10-batches-bin",
    archive="cifar-10-binary.tar.gz",
    expected=Expected(
        170_052_171, "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
    ),
    suffix=".bin",
    meta="batches.meta.txt",
    md5={},
)
PYTHON = Layout(
    folder="cifar-10-batches-py",
    archive="cifar-10-python.tar.gz",
    expected=Expected(
        170_498_071, "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
    ),
    suffix="",
    meta="batches.meta",
    md5={
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3fb",
        "test_batch": "40351d587109b95175f43aff81a1287e",
        "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
    },
)
LAYOUTS = (BINARY, PYTHON)


def find(data_dir: Path | str) -> Path | None:
    """Where CIFAR-10 lies: `data_dir` itself, or what it holds under an official name, or None.

    Folders come before archives, and the binary layout before the Python one.

    Raises UserError for a place that cannot be looked into, and for one that is no file or folder.
    """
    try:
        return _find(Path(data_dir))
    except OSError as error:
        reason = error.strerror or error
        raise UserError(
            f"cannot read {shown_path(data_dir)}: {reason}; expected a folder that you may read"
        ) from None


def _find(data_dir: Path) -> Path | None:
    if os.path.lexists(data_dir) and not data_dir.is_dir():
        check_regular(data_dir)
    if data_dir.is_file() or any((data_dir / layout.files[0]).is_file() for layout in LAYOUTS):
        return data_dir
    folders = [data_dir / layout.folder for layout in LAYOUTS]
    archives = [data_dir / layout.archive for layout in LAYOUTS]
    return next(
        (path for path in folders if path.is_dir()),
        next((path for path in archives if path.is_file()), None),
    )


def load(data_dir: Path | str, *, download: bool = True, url: str | None = None) -> Dataset:
    """CIFAR-10 from what `find` finds in `data_dir`, else from the network.

    The archive comes from `url`, else from the environment's MINIVIT_CIFAR10_URL, else from its
    authors: the address of an archive, or one ending in "/" of the folder that has the binary one.

    Images are uint8 (50000, 3, 32, 32) and (10000, 3, 32, 32), labels int64. The name is "CIFAR-10"
    or, with a warning, "CIFAR-10 (unofficial bytes)"; this module's docstring says when.

    Raises UserError if there is nothing and `download` is False or fails, and for files that are
    damaged or not CIFAR-10.
    """
    data_dir = Path(data_dir)
    try:
        path = find(data_dir)
        if path is None and not download:
            folders = [layout.folder + "/" for layout in LAYOUTS]
            names = ", ".join(folders + [layout.archive for layout in LAYOUTS])
            raise UserError(
                f"no CIFAR-10 in {shown_path(data_dir)}: looked for {names}; put one of them "
                "there, or say with --data-dir where it is"
            )
        path = path or _download(data_dir, url)
        train, test, class_names, official = _read(path)
    except OSError as error:
        place = shown_path(error.filename or data_dir)
        raise UserError(
            f"cannot read {place}: {error.strerror or error}; expected a file that you may read"
        ) from None
    if not official:
        warnings.warn(
            f"{shown_path(path)}: could not be verified as the official CIFAR-10; quote results on "
            'it as measured on "CIFAR-10 (unofficial bytes)"',
            stacklevel=2,
        )
    name = "CIFAR-10" if official else "CIFAR-10 (unofficial bytes)"
    return Dataset(name, train, test, class_names)


def _download(data_dir: Path, url: str | None) -> Path:
    if data_dir.suffix in (".gz", ".tgz"):
        raise UserError(
            f"no archive {shown_path(data_dir)}: expected a file, or a folder to download into"
        )
    url = url or os.environ.get(URL_VARIABLE) or URL
    if url.endswith("/"):
        url += BINARY.archive
    layout = PYTHON if url.endswith("/" + PYTHON.archive) else BINARY
    target = data_dir / layout.archive
    fetch(url, target, layout.expected, otherwise=", or use --dataset shapes")
    return target


def _read(path: Path) -> tuple[Split, Split, tuple[str, ...], bool]:
    """Both splits, the class names, and whether the bytes are the official ones."""
    images = np.empty((len(BATCHES), ROWS, *SHAPE), np.uint8)
    labels = np.empty((len(BATCHES), ROWS), np.int64)
    class_names: tuple[str, ...] = CLASS_NAMES
    missing, digests = set(BATCHES), {}
    layout = None
    for layout, name, raw in _folder_files(path) if path.is_dir() else _archive_files(path):
        where = f"{shown_path(path)}: {name}"
        if layout.md5:
            digests[name] = hashlib.md5(raw, usedforsecurity=False).hexdigest()
        if name == layout.meta:
            class_names = _class_names(layout, raw, where)
            continue
        batch = name.removesuffix(layout.suffix)
        parse = _binary_batch if layout is BINARY else _python_batch
        row = BATCHES.index(batch)
        images[row], labels[row] = parse(raw, where)
        missing.remove(batch)
    if layout is None or missing:
        lacks = ", ".join(batch + (layout.suffix if layout else "") for batch in sorted(missing))
        raise UserError(
            f"{shown_path(path)}: not a complete CIFAR-10, lacks {lacks}; remove or complete it"
        )

    if path.is_dir():
        official = bool(layout.md5) and digests == layout.md5
    else:
        official = sha256_of(path) == layout.expected.sha256
    train = Split(images[:-1].reshape(-1, *SHAPE), labels[:-1].reshape(-1))
    return train, Split(images[-1], labels[-1]), class_names, official


def _folder_files(path: Path) -> Iterator[tuple[Layout, str, bytes]]:
    """The layout and the name of each of its files that are there, and their bytes."""
    layout = BINARY if (path / BINARY.files[0]).exists() else PYTHON
    if path.name == BINARY.folder:
        layout = BINARY
    for name in layout.files:
        if (path / name).exists():
            yield layout, name, read_plain(path / name, LONGEST_MEMBER, "a file of CIFAR-10")


def _archive_files(path: Path) -> Iterator[tuple[Layout, str, bytes]]:
    """The same from an archive, in its order; other members are passed over."""
    known = {
        f"{layout.folder}/{name}": (layout, name) for layout in LAYOUTS for name in layout.files
    }
    first = None
    for member, raw in read_members(path, known, LONGEST_MEMBER, MOST_UNPACKED):
        layout, name = known[member]
        first = first or layout
        if layout is first:
            yield layout, name, raw


def _binary_batch(raw: bytes, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Images (ROWS, 3, 32, 32) and labels (ROWS,) of a binary batch; both are views of `raw`."""
    if len(raw) != ROWS * (1 + PIXELS):
        raise UserError(
            f"{where}: {len(raw):,} bytes, expected {ROWS * (1 + PIXELS):,}; is it cut short?"
        )
    rows = np.frombuffer(raw, np.uint8).reshape(ROWS, 1 + PIXELS)
    if rows[:, 0].max() > 9:
        raise UserError(f"{where}: holds a label outside 0 to 9; is it damaged?")
    return rows[:, 1:].reshape(ROWS, *SHAPE), rows[:, 0]


def _python_batch(raw: bytes, where: str) -> tuple[np.ndarray, np.ndarray]:
    """The same of a Python batch: a dict with "data", an array (ROWS, 3072), and "labels"."""
    batch = read_pickle(raw, where)
    data, labels = (batch.get(k) for k in ("data", "labels")) if type(batch) is dict else (0, 0)
    if not isinstance(data, np.ndarray) or data.shape != (ROWS, PIXELS):
        raise UserError(f'{where}: no CIFAR-10 batch, expected "data" of shape ({ROWS}, {PIXELS})')
    if type(labels) is not list or len(labels) != ROWS:
        raise UserError(f'{where}: no CIFAR-10 batch, expected "labels", a list of {ROWS}')
    if not all(type(label) is int and 0 <= label <= 9 for label in labels):
        raise UserError(f"{where}: holds a label outside 0 to 9; is it damaged?")
    return data.reshape(ROWS, *SHAPE), np.array(labels, np.int64)


def _class_names(layout: Layout, raw: bytes, where: str) -> tuple[str, ...]:
    """The ten names: a line each, or "label_names" of a pickled dict."""
    check_length(where, len(raw), LONGEST_META)
    if layout is BINARY:
        names: Any = raw.decode("ascii", "replace").split()
    else:
        meta = read_pickle(raw, where)
        names = meta.get("label_names") if type(meta) is dict else None
    if type(names) is not list or len(names) != 10 or not all(map(_is_class_name, names)):
        raise UserError(
            f"{where}: expected the names of 10 classes, each of at most {LONGEST_CLASS_NAME} "
            "printable ASCII characters; download it again"
        )
    return tuple(names)


def _is_class_name(name: object) -> bool:
    """Whether a name may be printed: one from a file could also move a terminal's cursor."""
    return (
        type(name) is str
        and 0 < len(name) <= LONGEST_CLASS_NAME
        and name.isascii()
        and name.isprintable()
    )


SOURCE = Source(
    name="cifar10",
    summary="CIFAR-10: 60,000 images of ten classes of animals and vehicles",
    load=lambda request: load(request.data_dir, download=request.download, url=request.url).resized(
        request.image_size
    ),
    recipe={
        "pool": "mean",
        "pos_embed": "sincos2d",
        "activation": "gelu_tanh",
        "epochs": 19,
        "optimizer": "muon",
        "lr": 2.5e-3,
        "warmup": 0.5,
        "betas": (0.9, 0.95),
    },
)
