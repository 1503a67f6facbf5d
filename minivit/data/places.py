"""Where data sets lie: in one folder for all places that one works in."""

import os
from pathlib import Path

import platformdirs

from minivit.data.source import Source

VARIABLE = "MINIVIT_DATA"
HERE = Path("data")


def folder_of(source: Source, named: Path | None = None) -> Path:
    """The folder where a data set lies or is downloaded to, as an absolute path.

    named: the one that the user names. None: ./data if the data set is there, else the folder that
    the environment's MINIVIT_DATA names, else the user's cache folder.
    """
    if named is not None:
        return named.resolve()
    if HERE.is_dir() and source.find(HERE):
        return HERE.resolve()
    return shared_folder()


def shared_folder() -> Path:
    """What MINIVIT_DATA names, else the user's cache folder, as an absolute path."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named).resolve()
    return platformdirs.user_cache_path("minivit", appauthor=False).resolve()
