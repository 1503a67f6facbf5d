"""Where data sets are stored: in one folder, whatever the working directory."""

import os
from pathlib import Path

import platformdirs

from minivit.data.source import Source

VARIABLE = "MINIVIT_DATA"
HERE = Path("data")


def folder_of(source: Source, named: Path | None = None) -> Path:
    """The folder where a data set is found or downloaded to, as an absolute path.

    named: the folder given by the user. None: ./data if the data set is there, else the folder in
    the environment variable MINIVIT_DATA, else the user's cache folder.
    """
    if named is not None:
        return named.resolve()
    if HERE.is_dir() and source.find(HERE):
        return HERE.resolve()
    return shared_folder()


def shared_folder() -> Path:
    """The folder in MINIVIT_DATA, else the user's cache folder, as an absolute path."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named).resolve()
    return platformdirs.user_cache_path("minivit", appauthor=False).resolve()
