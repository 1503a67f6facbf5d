"""Data sets in one file: arrays in a .npz, or a .csv of paths and labels."""

import csv
import io
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np

from minivit.backend.machine import require_memory
from minivit.data.class_folders import MAX_FILES, SPLITS, Listing, require_classes
from minivit.data.dataset import is_name
from minivit.data.npy import array_names, read_array
from minivit.data.zip_archive import open_zip
from minivit.errors import UserError, shown, shown_path
from minivit.files import open_plain, reading

MAX_ROW_LENGTH = 1_000_000
"""Maximum number of characters in a row of a .csv; it may have other columns, too."""
COLUMNS = {
    "name": ("path", "file", "filename", "file_name", "image"),
    "label": ("label", "class", "category", "target", "y"),
    "split": ("split", "set", "subset"),
}
"""Column names that a .csv may use; without a header the first two columns are path and label."""

CLASS_NAMES = "class_names"
IMAGES, LABELS = ("images", "x", "X", "data"), ("labels", "label", "y", "Y", "targets")


class Arrays(NamedTuple):
    """images: uint8 (N, C, H, W). labels: int64 (N,)."""

    images: np.ndarray
    labels: np.ndarray


def read_csv(path: Path) -> Listing:
    """Paths of images, relative to the file's folder or absolute, each with its class.

    Raises:
        UserError: not UTF-8 text, no such columns, or a row without a path or a class.
    """
    where = shown_path(path)
    with reading(path), open_plain(path) as raw:
        text = io.TextIOWrapper(raw, "utf-8-sig", newline="")
        try:
            return _listing(_rows(text, where), where)
        except (UnicodeDecodeError, csv.Error) as error:
            raise UserError(f"{where}: not a .csv in UTF-8 ({shown(error)})") from None


def _rows(text: TextIO, where: str) -> Iterator[tuple[int, list[str]]]:
    """The number and the cells of each non-empty row, one in memory at a time."""
    length = 0

    def lines() -> Iterator[str]:
        nonlocal length
        while line := text.readline(MAX_ROW_LENGTH):
            length += len(line)
            if length >= MAX_ROW_LENGTH:
                raise UserError(
                    f"{where}: a row of more than {MAX_ROW_LENGTH:,} characters; expected a path "
                    "and a label"
                )
            yield line

    for number, row in enumerate(csv.reader(lines()), 1):
        length = 0
        if number > MAX_FILES:
            raise UserError(f"{where}: more than {MAX_FILES:,} rows")
        cells = [cell.strip() for cell in row]
        if any(cells):
            yield number, cells


def _listing(rows: Iterator[tuple[int, list[str]]], where: str) -> Listing:
    first = next(rows, None)
    if first is None:
        raise UserError(f"{where}: empty; expected a path and a label per row")
    columns, has_header = _columns(first[1])
    numbers: dict[str, int] = {}  # of the classes, in order of appearance
    names, labels, splits = [], [], []
    for number, row in rows if has_header else chain([first], rows):
        cells = {key: row[i] if i < len(row) else "" for key, i in columns.items()}
        label = cells["label"]
        if not cells["name"] or not (label in numbers or is_name(label)):
            raise UserError(f"{where}: row {number:,} lacks a path or a label; expected both")
        split = SPLITS.get(cells["split"].casefold()) if "split" in cells else "train"
        if split is None:
            raise UserError(
                f"{where}: row {number:,} is of split {shown(cells['split'])}; expected train, val "
                "or test"
            )
        names.append(cells["name"])
        labels.append(numbers.setdefault(label, len(numbers)))
        splits.append(split)
    class_names = sorted(numbers)
    require_classes(class_names)
    order = {name: i for i, name in enumerate(class_names)}
    sorted_index = np.array([order[name] for name in numbers], np.int64)
    return Listing(names, sorted_index[labels], np.array(splits), tuple(class_names))


def _columns(header: list[str]) -> tuple[dict[str, int], bool]:
    """The index of each column, and whether the first row is a header."""
    named = [cell.casefold() for cell in header]
    found = {
        key: named.index(name) for key, known in COLUMNS.items() for name in known if name in named
    }
    if "name" in found and "label" in found:
        return found, True
    if len(header) < 2:
        raise UserError("a table of one column; expected path,label")
    return {"name": 0, "label": 1}, False


def read_npz(path: Path) -> tuple[dict[str, Arrays], tuple[str, ...]]:
    """Arrays by split, and the names of the classes.

    `images` and `labels` (or x and y), or such a pair for each split, named as in Keras (`x_train`,
    `y_train`, …) or in MedMNIST (`train_images`, …). Images are (N, H, W, C), (N, C, H, W), or
    grayscale (N, H, W). `class_names`, if present, names the classes.

    Raises:
        UserError: no such arrays, wrong types or shapes, or a damaged file.
    """
    where = shown_path(path)
    with open_zip(path, "a .npz file") as archive:
        names = set(array_names(archive))
        pairs = _pairs(names, where)
        require_memory(where, {"arrays": sum(one.file_size for one in archive.infolist())})
        try:
            found = {
                split: _arrays(read_array(archive, x), read_array(archive, y), f"{where}: {x}, {y}")
                for split, (x, y) in pairs.items()
            }
            named = read_array(archive, CLASS_NAMES) if CLASS_NAMES in names else None
        except UserError:
            raise
        except (ValueError, MemoryError) as error:
            raise UserError(f"{where}: not a complete .npz file ({shown(error)})") from None
    return found, _class_names(found, named, where)


def _pairs(names: set[str], where: str) -> dict[str, tuple[str, str]]:
    """The array names of images and labels by split."""
    found: dict[str, tuple[str, str]] = {}
    for split, known in SPLITS.items():
        for x in IMAGES:
            for y in LABELS:
                for form in ("{0}_{1}", "{1}_{0}"):
                    x_name, y_name = form.format(x, split), form.format(y, split)
                    if x_name in names and y_name in names:
                        found[known] = x_name, y_name
    if "train" not in found:
        plain = [[name for name in known if name in names] for known in (IMAGES, LABELS)]
        if not all(plain):
            contents = ", ".join(ascii(name)[1:-1][:40] for name in sorted(names)[:6]) or "nothing"
            raise UserError(f"{where}: contains {contents}; expected images and labels, or x and y")
        found["train"] = plain[0][0], plain[1][0]
    return found


def _arrays(images: np.ndarray, labels: np.ndarray, where: str) -> Arrays:
    if images.dtype.kind not in "iu" or labels.dtype.kind not in "iu":
        raise UserError(
            f"{where}: found {images.dtype} and {labels.dtype}; expected images from 0 to 255 as "
            "uint8, and integers for labels"
        )
    labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if images.ndim not in (3, 4) or images.shape[:1] != labels.shape:
        raise UserError(
            f"{where}: found shapes {images.shape} and {labels.shape}; expected (N, H, W), "
            "(N, H, W, C) or (N, C, H, W), and a label for each"
        )
    if not images.size:
        raise UserError(f"{where}: images of shape {images.shape}, without a pixel")
    if not 0 <= images.min() <= images.max() <= 255:
        raise UserError(f"{where}: has levels outside 0 to 255; expected uint8")
    return Arrays(_channels_first(images, where), labels.astype(np.int64))


def _channels_first(images: np.ndarray, where: str) -> np.ndarray:
    """uint8 (N, C, H, W)."""
    images = images.astype(np.uint8, copy=False)
    if images.ndim == 3:
        return images[:, None]
    if images.shape[3] in (1, 3):
        return np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    if images.shape[1] not in (1, 3):
        raise UserError(f"{where}: images of shape {images.shape[1:]}; expected 1 or 3 channels")
    return images


def _class_names(
    found: Mapping[str, Arrays], named: np.ndarray | None, where: str
) -> tuple[str, ...]:
    labels = np.concatenate([one.labels for one in found.values()])
    if len(labels) and labels.min() < 0:
        raise UserError(f"{where}: has the label {labels.min()}; expected 0 and up")
    count = int(labels.max()) + 1 if len(labels) else 0
    if count > 2 * len(np.unique(labels)) + 100:
        raise UserError(
            f"{where}: labels up to {count - 1:,}, most of them missing; number them without gaps"
        )
    names = [str(k) for k in range(count)]
    if named is not None:
        try:
            names = named.tolist() if named.dtype.kind == "U" and named.ndim == 1 else []
        except (SystemError, ValueError):  # no characters
            names = []
        if len(names) < count or not count:
            raise UserError(f"{where}: class_names is not a list of {count} names")
    require_classes(names)
    return tuple(names)
