"""The interface of a named data set."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from minivit.data.dataset import Dataset
from minivit.data.preprocess import Preprocess, Resize


class Request(NamedTuple):
    """A request to a loader.

    data_dir: the folder where data sets are found or downloaded to. image_size: height and width of
    the images. url: another address to download from; None for the authors'. download: whether the
    data set may be downloaded. resize: how images of another shape are resized, see `Preprocess`.

    For your own images: channels: 3, or 1 for grayscale. test_fraction: fraction of each class
    that is held out if there is no test set, drawn with seed. strict: whether unreadable files are
    an error instead of being left out. cache: the folder where decoded images are kept, or None.
    """

    data_dir: Path = Path("data")
    image_size: tuple[int, int] = (32, 32)
    url: str | None = None
    download: bool = True
    channels: int = 3
    resize: Resize = "crop"
    test_fraction: float = 0.2
    seed: int = 0
    strict: bool = False
    cache: Path | None = None

    @property
    def preprocess(self) -> Preprocess:
        """The preprocessing of image files for this request."""
        return Preprocess(self.image_size, self.channels, self.resize)


@dataclass(frozen=True, kw_only=True)
class Source:
    """A named data set; `registry.SOURCES` lists them.

    load: returns the images at the requested size, the labels and the class names; raises UserError
    if they are unavailable. find: returns where it is in a folder of data sets, or None, as for a
    data set drawn by code. recipe: suitable training settings, by name.
    """

    name: str
    summary: str
    load: Callable[[Request], Dataset]
    find: Callable[[Path], Path | None] = lambda folder: None
    recipe: Mapping[str, Any] = field(default_factory=dict)
