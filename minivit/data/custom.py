"""A user's own images: a folder of class folders, an archive of one, a .npz or a .csv.

Nothing is written next to them: decoded images are kept in the cache folder (`image_cache`).
"""

import difflib
import os
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from minivit.backend.random import Purpose, generator
from minivit.data.class_folders import Listing, list_classes
from minivit.data.dataset import MAX_NAME_LENGTH, Dataset, Split
from minivit.data.file_sets import FileSet, FolderFiles, open_files
from minivit.data.image_cache import decoded_once
from minivit.data.preprocess import Preprocess
from minivit.data.source import Request, Source
from minivit.data.stored import Images, take
from minivit.data.tables import read_csv, read_npz
from minivit.errors import UserError, shown_path

EXPECTED = (
    "a folder of class folders, a .zip or .tar.gz of one, a .npz, or a .csv of paths and labels"
)
MAX_LISTED = 10
"""Up to this many unreadable files are reported individually."""
MAX_ARRAY_SIDE = 64
"""Side in pixels up to which the images of a .npz are used at their own size, if whole patches
fit."""
NUM_SAMPLES = 15_000
"""Number of images that a run with the recipe processes: a minute or two on two cores."""


def path_exists(dataset: str) -> bool:
    """Whether it is the path of an existing file or folder."""
    try:
        return Path(dataset).exists()
    except (OSError, ValueError):  # not a valid file name
        return False


def custom_source(dataset: str) -> Source:
    """The data set at a path. Its file names or arrays determine the recipe.

    Raises:
        UserError: nothing is there, or it is not a data set; see `list_classes`.
    """
    path = Path(dataset).expanduser()
    if not path_exists(str(path)):
        raise UserError(f"{shown_path(path)}: no such file or folder{_hint(path)}")
    name = shown_path(path.resolve().name)[:MAX_NAME_LENGTH] or "images"
    suffix = path.suffix.lower()
    try:
        if suffix == ".npz":
            return _of_arrays(path, name)
        files = FolderFiles(path.parent) if suffix == ".csv" else open_files(path)
        if files is None:
            raise UserError(f"expected {EXPECTED}")
        listing = read_csv(path) if suffix == ".csv" else list_classes(files.names())
    except UserError as error:
        message = str(error)
        named = message.startswith(shown_path(path))
        raise UserError(message if named else f"{shown_path(path)}: {message}") from None
    return _source(name, partial(_load_files, name, files, listing), _recipe(len(listing.names)))


def _hint(path: Path) -> str:
    """A suggestion of what may have been meant."""
    try:
        close = difflib.get_close_matches(path.name, os.listdir(path.parent), 1)
    except OSError:
        close = []
    return (
        f"; did you mean {shown_path(path.parent / close[0])}?"
        if close
        else f"; expected {EXPECTED}"
    )


def _source(name: str, load: Callable[[Request], Dataset], recipe: dict[str, Any]) -> Source:
    return Source(name=name, summary="your own images", load=load, recipe=recipe)


def _patch_size(side: int) -> int:
    """The side of a patch for images of this side."""
    return 8 if side > 32 else 4


def _recipe(count: int, side: int = 64, channels: int = 3) -> dict[str, Any]:
    """Settings for this many images: the fewer images, the more epochs."""
    epochs = int(np.clip(round(NUM_SAMPLES / count), 10, 200))
    return {
        "image_size": side,
        "patch_size": _patch_size(side),
        "in_channels": channels,
        "pool": "mean",
        "pos_embed": "sincos2d",
        "activation": "gelu_tanh",
        "attention_init": "mimetic",
        "epochs": epochs,
        "batch_size": int(np.clip(count // 10, 1, 64)),
        "val_fraction": 0.1,
        "stratify": True,
        "optimizer": "muon",
        "lr": 2.5e-3,
        "warmup": max(1.0, epochs / 20),
        "betas": (0.9, 0.95),
        "crop": max(1, side // 8),
        "flip": 0.5,
        "eval_every": max(1, epochs // 20),
    }


def _of_arrays(path: Path, name: str) -> Source:
    found, class_names = read_npz(path)
    images = found["train"].images
    count, channels, H, W = images.shape
    side = H if H == W and H <= MAX_ARRAY_SIDE and H % _patch_size(H) == 0 else 32

    def load(request: Request) -> Dataset:
        kinds = list(found)
        labels = np.concatenate([found[kind].labels for kind in kinds])
        splits = np.repeat(kinds, [len(found[kind].labels) for kind in kinds])
        pixels = np.concatenate([_fitted(found[kind].images, request.preprocess) for kind in kinds])
        return _split(name, pixels, Listing([], labels, splits, class_names), request)

    return _source(name, load, _recipe(count, side, channels))


def _fitted(images: np.ndarray, preprocess: Preprocess) -> np.ndarray:
    fits = images.shape[1:] == (preprocess.channels, *preprocess.size)
    return images if fits else preprocess.of_arrays(images)


def _load_files(name: str, files: FileSet, listing: Listing, request: Request) -> Dataset:
    if listing.left_out:
        warnings.warn(
            f"{name}: {listing.left_out:,} images are not in a class folder and are left out",
            stacklevel=2,
        )
    found = decoded_once(files, listing.names, request.preprocess, request.cache)
    _warn_unreadable(name, len(listing.names), found.unreadable, request.strict)
    return _split(name, found.images, listing, request, set(found.unreadable))


def _warn_unreadable(name: str, count: int, unreadable: dict[int, str], strict: bool) -> None:
    reasons = [unreadable[index] for index in sorted(unreadable)]
    if not reasons:
        return
    summary = f"{name}: {len(reasons):,} of {count:,} images cannot be read"
    if strict:
        raise UserError(f"{summary}, the first is {reasons[0]}; remove them, or leave out --strict")
    for reason in reasons[:MAX_LISTED]:
        warnings.warn(reason, stacklevel=3)
    warnings.warn(f"{summary} and are left out", stacklevel=3)


def _split(
    name: str,
    images: Images,
    listing: Listing,
    request: Request,
    unreadable: set[int] = frozenset(),  # type: ignore[assignment]
) -> Dataset:
    """Training, validation and test set. Without a test set, the validation set is used as one;
    without either, a fraction of each class is held out.
    """
    readable = np.array([i for i in range(len(listing.labels)) if i not in unreadable], np.int64)
    if not len(readable):
        raise UserError(f"{name}: none of its images can be read")
    names = np.array(listing.names)[readable] if listing.names else None
    whole = Split(take(images, readable), listing.labels[readable], names=names)
    splits = listing.splits[readable]
    parts = {kind: whole[np.flatnonzero(splits == kind)] for kind in ("train", "val", "test")}
    val = parts["val"] if len(parts["val"]) and len(parts["test"]) else None
    test = parts["test"] if len(parts["test"]) else parts["val"]
    train = parts["train"]
    if not len(test):
        rng = generator(request.seed, Purpose.SPLIT)
        train, test = train.hold_out_of_each(request.test_fraction, rng)
        if not len(test):
            raise UserError(
                f"{name}: only one image of each class; expected at least two, one of them for "
                "testing"
            )
    dataset = Dataset(name, train, test, listing.class_names, val)
    _warn_single(dataset, whole.class_counts(dataset.num_classes))
    for kind, split in dataset.splits.items():
        _warn_missing(dataset, kind, split.class_counts(dataset.num_classes))
    return dataset


def _warn_single(dataset: Dataset, counts: np.ndarray) -> None:
    single = _named(dataset, counts == 1)
    if single:
        warnings.warn(f"{dataset.name}: only one image of class {single}", stacklevel=3)


def _warn_missing(dataset: Dataset, kind: str, counts: np.ndarray) -> None:
    missing = _named(dataset, counts == 0)
    if missing:
        warnings.warn(f"{dataset.name}: no {kind} image of class {missing}", stacklevel=3)


def _named(dataset: Dataset, chosen: np.ndarray) -> str:
    """A list of class names; "" for none."""
    names = [dataset.class_names[k] for k in np.flatnonzero(chosen)]
    return ", ".join(names[:5]) + f" and {len(names) - 5} more" * (len(names) > 5)
