"""The data sets that have names. A new one is a file with a `SOURCE`, and its line here."""

import difflib

from minivit.data import cifar10, cifar100, mnist, shapes
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


def find_source(name: str) -> Source:
    """The data set of that name. Raises UserError on another (did you mean …)."""
    if name in SOURCES:
        return SOURCES[name]
    close = difflib.get_close_matches(name, SOURCES, 1)
    hint = f"did you mean {close[0]}? " if close else ""
    raise UserError(f"dataset {shown(name)} is unknown; {hint}expected one of {', '.join(SOURCES)}")
