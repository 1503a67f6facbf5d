"""The pictures of a training, as its config wants them."""

from pathlib import Path

from minivit.data import Dataset
from minivit.data.load import load_dataset
from minivit.engine.config import TrainConfig


def load_pictures(config: TrainConfig, data_dir: Path | None = None) -> Dataset:
    """The data set that the config names, at the model's picture size.

    Args:
        data_dir: where it lies, if it has moved since; None for where the config says.

    Raises:
        UserError: see `data.load.load_dataset`.
    """
    dataset = load_dataset(config.dataset, data_dir or config.data_dir, config.data_url)
    return dataset.resized(config.vit.image_hw)
