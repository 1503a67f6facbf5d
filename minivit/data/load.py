"""Data sets by name."""

from pathlib import Path

from minivit.data import cifar10, shapes
from minivit.data.dataset import Dataset


def load_dataset(name: str, data_dir: Path = Path("data"), url: str | None = None) -> Dataset:
    """ "cifar10" (found in `data_dir`, else downloaded from `url`) or "shapes" (drawn).

    Raises:
        UserError: CIFAR-10 can neither be found nor downloaded, or is damaged.
    """
    if name == "shapes":
        return shapes.load()
    return cifar10.load(data_dir, url=url)
