"""Saving figures."""

import io
from pathlib import Path

from matplotlib.figure import Figure

from minivit.files import make_folder, write_atomically

DPI = 200
"""Sharp in print and on dense screens."""


def save_figure(figure: Figure, path: Path, dpi: int = DPI) -> None:
    """Write a figure in the format of the path's suffix, completely or not at all; creates
    folders.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.suffix.lstrip("."), dpi=dpi)
    make_folder(path.parent)
    write_atomically(path, buffer.getvalue())
