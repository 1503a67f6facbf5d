"""Images that stay in a file: only those that are accessed are in memory."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from minivit.data.npy import read_header
from minivit.errors import UserError, shown_path
from minivit.files import open_plain, reading

BLOCK = 1000
"""Number of images processed at a time."""


class StoredImages:
    """uint8 (N, C, H, W) in a .npy file, indexed like an array; results are in memory.

    The file is mapped for each access: with a permanent mapping, every page ever read would count
    as memory of the process. It stays open, so it may be removed while in use.

    rows: int (N,), which images of the file these are; None for all.

    Raises:
        UserError: not such a file, or a damaged one.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, path: Path, rows: np.ndarray | None = None):
        with reading(path):
            self._file = open_plain(path)
            length = path.stat().st_size
        try:
            header = read_header(self._file)
        except ValueError:
            raise UserError(f"{shown_path(path)}: not a .npy file of images; remove it") from None
        self._shape, self._offset = header.shape, self._file.tell()
        valid = len(header.shape) == 4 and header.dtype == self.dtype and not header.fortran
        if not valid or length != self._offset + header.size:
            raise UserError(f"{shown_path(path)}: damaged, or not images; remove it")
        self.rows = np.arange(self._shape[0]) if rows is None else rows

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, C, H, W)."""
        return (len(self.rows), *self._shape[1:])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """uint8 (n, C, H, W), read from the file."""
        mapped = np.memmap(self._file, self.dtype, "r", self._offset, self._shape)
        return np.array(mapped[self.rows[rows]], copy=True, subok=False)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or self.dtype, copy=False)

    def select(self, rows: slice | np.ndarray) -> "StoredImages":
        """A subset; nothing is read."""
        subset = object.__new__(StoredImages)
        subset.__dict__.update(self.__dict__, rows=self.rows[rows])
        return subset


Images = np.ndarray | StoredImages
"""uint8 (N, C, H, W), in memory or in a file."""


def take(images: Images, rows: slice | np.ndarray) -> Images:
    """A subset of the images; those in a file are not read."""
    return images.select(rows) if isinstance(images, StoredImages) else images[rows]


def blocks(images: Images) -> Iterator[np.ndarray]:
    """All images, BLOCK at a time."""
    for start in range(0, len(images), BLOCK):
        yield images[start : start + BLOCK]
