"""Saving figures."""

import io
from pathlib import Path

from matplotlib.figure import Figure

from minivit.files import make_folder, write_atomically


def save_figure(figure: Figure, path: Path, dpi: int = 150) -> None:
    """Write a figure in the format of the path's suffix, completely or not at all; creates
    folders.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.suffix.lstrip("."), dpi=dpi)
    make_folder(path.parent)
    write_atomically(path, buffer.getvalue())
