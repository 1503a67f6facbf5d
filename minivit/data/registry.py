"""The named data sets. To add one, write a file with a `SOURCE`, and add a line here."""

import difflib

from minivit.data import cifar10, cifar100, mnist, shapes
from minivit.data.custom import custom_source, path_exists
from minivit.data.source import Source
from minivit.errors import UserError, shown

SOURCES: dict[str, Source] = {
    source.name: source
    for source in (
        cifar10.SOURCE,
        *cifar100.SOURCES,
        *mnist.SOURCES,
        shapes.SOURCE,
    )
}
"""Data sets by name."""


def is_path(dataset: str) -> bool:
    """Whether it is a path instead of a data set's name: it contains a "/" or exists."""
    if dataset in SOURCES or dataset == "auto":
        return False
    if dataset.startswith(("~", ".")) or "/" in dataset or "\\" in dataset:
        return True
    return path_exists(dataset)


def find_source(dataset: str) -> Source:
    """The data set with this name or at this path. Raises UserError if there is none, with a
    suggestion; see `custom_source`.
    """
    if is_path(dataset):
        return custom_source(dataset)
    require_name(dataset)
    return SOURCES[dataset]


def require_name(name: str) -> None:
    """Raises UserError, with a suggestion, unless it is the name of a data set."""
    if name in SOURCES:
        return
    close = difflib.get_close_matches(name, SOURCES, 1)
    hint = f"did you mean {close[0]}? " if close else ""
    raise UserError(
        f"dataset {shown(name)} is unknown; {hint}expected one of {', '.join(SOURCES)}, or a path"
    )
