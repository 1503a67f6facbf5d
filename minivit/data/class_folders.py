"""A folder of class folders, as in torchvision's ImageFolder: classes and splits from file names.

    photos/cats/1.jpg                    one folder per class, images at any depth
    photos/train/cats/1.jpg              the same within train, val and test

Only names matter, so a folder, a .zip and a .tar.gz are read in the same way.
"""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from minivit.data.dataset import is_name
from minivit.errors import UserError, shown

MAX_FILES = 1_500_000
"""Maximum number of files in a folder, an archive or a table: ImageNet has 1,281,167."""
MAX_CLASSES = 100_000
SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
"""Names that a split may have: as a folder, in a table, in the name of an array."""

CLUTTER = {"__macosx", "thumbs.db", "desktop.ini"}
"""Files that operating systems add next to images, in addition to hidden files."""


class Listing(NamedTuple):
    """The images of a data set, by file name.

    names: of their files, "/" between folders. labels: int (N,), indices into class_names. splits:
    str (N,), "train", "val" or "test"; all "train" if there are no splits. left_out: how many files
    are not in a class folder.
    """

    names: list[str]
    labels: np.ndarray
    splits: np.ndarray
    class_names: tuple[str, ...]
    left_out: int = 0


def is_clutter(name: str) -> bool:
    """Whether a file is hidden, in a hidden folder, or created by an operating system."""
    parts = name.split("/")
    return any(part.startswith(".") or part.casefold() in CLUTTER for part in parts)


def list_classes(names: Iterable[str]) -> Listing:
    """Classes and splits from the names of image files.

    Images are sorted by their own names, then by their folders: images numbered across classes,
    such as 00001.png, keep their order.

    Raises:
        UserError: no images, no class folders, a single class, two that differ only in case, or a
        class of val or test that is not in train.
    """
    parts = [tuple(name.split("/")) for name in names]
    if not parts:
        raise UserError("no images in it; expected one folder of images per class")
    parts, prefix = _without_wrapping(parts)
    in_splits = _has_splits(parts)
    samples: list[tuple[str, str, str]] = []  # file, split, class
    for path in parts:
        split = SPLITS.get(path[0].casefold()) if in_splits else "train"
        inner = path[1:] if in_splits else path
        if split and len(inner) >= 2:
            samples.append(("/".join((*prefix, *path)), split, inner[0]))
    if not samples:
        raise UserError(
            f"{len(parts):,} images are not in a class folder; expected one folder per class"
        )
    samples.sort(key=lambda sample: (sample[0].rsplit("/", 1)[-1], sample[0]))
    class_names = _class_names(samples)
    class_to_idx = {name: i for i, name in enumerate(class_names)}
    return Listing(
        [file for file, _, _ in samples],
        np.array([class_to_idx[name] for _, _, name in samples], np.int64),
        np.array([split for _, split, _ in samples]),
        class_names,
        len(parts) - len(samples),
    )


def _without_wrapping(
    parts: list[tuple[str, ...]],
) -> tuple[list[tuple[str, ...]], tuple[str, ...]]:
    """Paths without the outer folders that contain everything, which archives often have; and those
    folders.
    """
    max_depth = min(map(len, parts)) - 2  # leave a class and a file
    first = parts[0]
    differs = (d for d in range(max_depth) if any(path[d] != first[d] for path in parts))
    depth = next(differs, max(max_depth, 0))
    return [path[depth:] for path in parts], first[:depth]


def _has_splits(parts: list[tuple[str, ...]]) -> bool:
    """Whether there is a training split: its folder contains class folders, and next to it is
    another split or nothing. A class may be called train, too.
    """
    folders: defaultdict[str, bool] = defaultdict(bool)
    for path in parts:
        if len(path) >= 2:
            folders[path[0].casefold()] |= len(path) >= 3
    known = {SPLITS[name] for name, deep in folders.items() if name in SPLITS and deep}
    return "train" in known and (len(known) > 1 or len(folders) == 1)


def _class_names(samples: list[tuple[str, str, str]]) -> tuple[str, ...]:
    counts = Counter((split, name) for _, split, name in samples)
    names = sorted({name for split, name in counts if split == "train"})
    others = sorted({name for split, name in counts if split != "train"} - set(names))
    if others:
        raise UserError(
            f"class {shown(others[0])} is in the val or test folder, but not in the train folder; "
            "add images of this class there, or remove it"
        )
    require_classes(names)
    return tuple(names)


def require_classes(names: list[str]) -> None:
    """Raises UserError unless these are the names of two or more distinct classes."""
    if not names:
        raise UserError("no images in it; expected images of two or more classes")
    if len(names) == 1:
        raise UserError(f"a single class, {shown(names[0])}; expected two or more")
    if len(names) > MAX_CLASSES:
        raise UserError(f"{len(names):,} classes; expected at most {MAX_CLASSES:,}")
    same: dict[str, str] = {}
    for name in names:
        if not is_name(name):
            raise UserError(f"{shown(name)} cannot be the name of a class; rename it")
        other = same.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
        if other is not name:
            raise UserError(
                f"classes {shown(other)} and {shown(name)} differ only in case; expected one "
                "folder for both, or other names"
            )
