"""The images given to a command, read batch by batch; or a run's test images."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minivit.data import Preprocess, Split, image_files, read_image
from minivit.engine import Run, Trained
from minivit.errors import UserError, shown_path
from minivit.interop.published import is_minivit
from minivit.interop.shipped import SHIPPED, drawings

BATCH = 32
"""Number of images in memory at a time."""
MAX_IMAGES = 64
"""Maximum number of images in a figure: all their maps are in memory, and a larger figure would
be unreadable.
"""


class NamedImages:
    """The given image files, and the images directly in the given folders. If there are several,
    those that cannot be read are skipped, each reported in one line on standard error.

    files: all of them. failed: how many could not be read so far.
    """

    def __init__(self, paths: Sequence[Path]):
        self.files = image_files(paths)
        self.failed = 0

    @property
    def status(self) -> int:
        """The exit status of a command that otherwise succeeded."""
        return 1 if self.failed else 0

    def batches(self, preprocess: Preprocess) -> Iterator[tuple[list[Path], np.ndarray]]:
        """(paths, pixels: uint8 (N, channels, H, W)), at most BATCH at a time.

        Raises UserError if the only image cannot be read.
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


@dataclass(frozen=True)
class Images:
    """pixels: uint8 (N, channels, H, W). labels: (N,), or None if unknown. names: (N,).
    failed: how many other images could not be read.
    """

    pixels: np.ndarray
    labels: np.ndarray | None
    names: list[str]
    failed: int = 0


def choose_images(
    run: Path, trained: Trained, paths: Sequence[Path], test: int, data_dir: Path | None
) -> Images:
    """The given images, else the first `test` of the run's test set; for the model that comes with
    minivit, which has no test set, drawings.

    Raises UserError if there are more than MAX_IMAGES, or none can be read.
    """
    if paths:
        images = NamedImages(paths)
        _check_count(len(images.files), "give fewer")
        read = list(images.batches(trained.preprocess))
        if not read:
            raise UserError("none of the images can be read; expected at least one to draw")
        pixels = np.concatenate([pixels for _, pixels in read])
        return Images(
            pixels, None, [path.name for batch, _ in read for path in batch], images.failed
        )
    if run == SHIPPED:
        return _drawn_images(trained)
    _check_count(test, "use a smaller --test")
    split = test_split(run, data_dir)[:test]
    names = [f"test image {i + 1}" for i in range(len(split))]
    return Images(split.pixels, split.labels, names)


def _drawn_images(trained: Trained) -> Images:
    drawn = drawings()
    pixels = np.stack([trained.preprocess(image) for image in drawn.values()])
    labels = np.array([trained.class_names.index(name) for name in drawn])
    return Images(pixels, labels, [f"a drawing: {name}" for name in drawn])


def _check_count(count: int, advice: str) -> None:
    if count > MAX_IMAGES:
        raise UserError(
            f"{count:,} images; the figures and the page show at most {MAX_IMAGES}: {advice}"
        )


def test_split(run: Path, data_dir: Path | None) -> Split:
    """The test set of the run's data set."""
    if run.is_file() or not is_minivit(run):
        raise UserError(f"{shown_path(run)} has no test set; give some images")
    config = Run.open(run).read_config()
    return config.moved(data_dir).load_data(download=False).test
