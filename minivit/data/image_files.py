"""Expands files and folders given by the user to image files."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from minivit.data.image_bytes import begins_like_image
from minivit.data.image_decoding import FORMATS
from minivit.errors import UserError, shown_path
from minivit.files import open_plain

SUFFIXES = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".webp"),
    *(".pbm", ".pgm", ".ppm", ".pnm"),
}


def image_files(named: Iterable[Path]) -> list[Path]:
    """The paths, each folder replaced by the images directly in it, sorted by name.

    In a folder, every file with an image suffix or signature counts, unless it is hidden; a file
    given by name always counts, and its reader reports what is wrong with it.

    Raises UserError for a folder that has no images or cannot be listed.
    """
    return [path for one in named for path in (_images_in(one) if os.path.isdir(one) else [one])]


def _images_in(folder: Path) -> Iterator[Path]:
    name = shown_path(folder)
    try:
        entries = sorted(os.listdir(folder))
    except OSError as error:
        raise UserError(f"{name}: cannot be listed ({error.strerror})") from None
    found = [folder / entry for entry in entries if is_image(folder / entry)]
    if not found:
        raise UserError(f"{name}: a folder without images; expected {FORMATS} directly in it")
    yield from found


def is_image(path: Path) -> bool:
    if path.name.startswith(".") or os.path.isdir(path):
        return False
    if path.suffix.lower() in SUFFIXES:
        return True
    try:
        with open_plain(path) as file:
            return begins_like_image(file.read(16))
    except (OSError, UserError):
        return False
