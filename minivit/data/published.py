"""Data sets that their authors offer for download: found or downloaded, then read and verified.

Each data set defines which bytes are official, so that results may be quoted under its name; other
bytes in the right format load, too, under a name that says so and with a warning.
"""

import os
import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from minivit.data.dataset import Dataset, Split
from minivit.data.source import Request
from minivit.errors import UserError, shown_path


class Read(NamedTuple):
    """The contents of the files, and whether their bytes are the official ones."""

    train: Split
    test: Split
    class_names: tuple[str, ...]
    official: bool


@dataclass(frozen=True, kw_only=True)
class Published(ABC):
    """A published data set.

    name: its authors' name for it. url: of the folder with its files, ending in "/". url_variable:
    the environment variable for another address.
    """

    name: str
    url: str
    url_variable: str

    @property
    @abstractmethod
    def looked_for(self) -> str:
        """The files and folders that `find` looks for, in words."""

    @abstractmethod
    def _find(self, data_dir: Path) -> Path | None:
        """As `find`; may raise OSError."""

    @abstractmethod
    def _fetch(self, url: str, data_dir: Path) -> Path:
        """Downloads into `data_dir`; returns what `_find` would then find."""

    @abstractmethod
    def _read(self, path: Path) -> Read:
        """Reads what `_find` found; may raise OSError."""

    def find(self, data_dir: Path | str) -> Path | None:
        """Where the data set is: `data_dir` itself, or something in it with an official name, or
        None.

        Raises UserError for a path that cannot be accessed, or is neither a file nor a folder.
        """
        try:
            return self._find(Path(data_dir))
        except OSError as error:
            reason = error.strerror or error
            raise UserError(
                f"cannot read {shown_path(data_dir)}: {reason}; expected a folder that you may read"
            ) from None

    def load(
        self, data_dir: Path | str, *, download: bool = True, url: str | None = None
    ) -> Dataset:
        """Load the data set from `data_dir`, else download it.

        The download comes from `url`, else from the address in the environment variable
        `url_variable`, else from its authors.

        Images are uint8 (N, C, H, W), labels int64. The name is the data set's or, with a warning,
        "… (unofficial bytes)".

        Raises UserError if it is missing and `download` is False or fails, and for damaged or
        unrelated files.
        """
        data_dir = Path(data_dir)
        try:
            path = self.find(data_dir)
            if path is None and not download:
                raise UserError(
                    f"no {self.name} in {shown_path(data_dir)}: looked for {self.looked_for}; put "
                    "one of them there, or give its folder with --data-dir"
                )
            if path is None:
                url = url or os.environ.get(self.url_variable) or self.url
                path = self._fetch(url, data_dir)
            train, test, class_names, official = self._read(path)
        except OSError as error:
            where = shown_path(error.filename or data_dir)
            raise UserError(
                f"cannot read {where}: {error.strerror or error}; expected a file that you may read"
            ) from None
        name = self.name if official else f"{self.name} (unofficial bytes)"
        if not official:
            warnings.warn(
                f"{shown_path(path)}: could not be verified as the official {self.name}; quote "
                f'results on it as measured on "{name}"',
                stacklevel=2,
            )
        return Dataset(name, train, test, class_names)

    def load_for(self, request: Request) -> Dataset:
        """`Source.load`: the data set at the requested size."""
        found = self.load(request.data_dir, download=request.download, url=request.url)
        return found.resized(request.image_size, request.resize)
