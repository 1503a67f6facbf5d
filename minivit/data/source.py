"""What a data set must offer to be known by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from minivit.data.dataset import Dataset
from minivit.data.preprocess import Preprocess, Resize


class Request(NamedTuple):
    """What a loader is asked for.

    data_dir: the folder where data sets lie or are downloaded to. image_size: height and width of
    the images. url: another address to download from; None for the authors'. download: whether it
    may be downloaded. resize: how images of another shape become so large, see `Preprocess`.

    Of one's own images: channels: 3, or 1 for grey. test_fraction: share of each class that is
    held out where there is no test set, drawn by seed. strict: whether files that cannot be read
    are refused, not left out. cache: the folder where decoded images are kept, or None.
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
        """How image files become those that are asked for."""
        return Preprocess(self.image_size, self.channels, self.resize)


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data set by name; `registry.SOURCES` lists them.

    load: the images at the size asked for, the labels and the names of the classes; raises
    UserError where they cannot be had. find: where it lies in a folder of data sets, or None where
    it does not, as one drawn by code. recipe: settings of a training that suit it, by name.
    """

    name: str
    summary: str
    load: Callable[[Request], Dataset]
    find: Callable[[Path], Path | None] = lambda folder: None
    recipe: Mapping[str, Any] = field(default_factory=dict)
