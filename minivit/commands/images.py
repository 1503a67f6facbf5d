"""The images that the user of a command names, read batch by batch."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from minivit.data import Preprocess, image_files, read_image
from minivit.errors import UserError

BATCH = 32
"""Images that are in memory at a time."""


class NamedImages:
    """Files, and the images directly in folders. Of several, those that cannot be read are each
    told in a line on standard error and passed over.

    files: all of them. failed: how many could not be read so far.
    """

    def __init__(self, named: Sequence[Path]):
        self.files = image_files(named)
        self.failed = 0

    @property
    def status(self) -> int:
        """The exit status of a command that did all the rest."""
        return 1 if self.failed else 0

    def batches(self, preprocess: Preprocess) -> Iterator[tuple[list[Path], np.ndarray]]:
        """(paths, pixels: uint8 (N, channels, H, W)), at most BATCH at a time.

        Raises UserError where the only image cannot be read.
        """
        for start in range(0, len(self.files), BATCH):
            read = [
                (path, self._read(path, preprocess)) for path in self.files[start : start + BATCH]
            ]
            good = [(path, image) for path, image in read if image is not None]
            if good:
                yield [path for path, _ in good], np.stack([image for _, image in good])

    def _read(self, path: Path, preprocess: Preprocess) -> np.ndarray | None:
        try:
            return read_image(path, preprocess)
        except UserError as error:
            if len(self.files) == 1:
                raise
            print(f"error: {error}", file=sys.stderr)
            self.failed += 1
            return None
