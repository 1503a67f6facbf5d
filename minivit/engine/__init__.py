"""Training: the loop, the workers, the run directory and its checkpoints."""

from minivit.engine.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from minivit.engine.config import RECIPES, TrainConfig
from minivit.engine.parallel import DataParallel, physical_cores
from minivit.engine.run import Run
from minivit.engine.trainer import Trainer

__all__ = [
    "RECIPES",
    "Checkpoint",
    "DataParallel",
    "Run",
    "TrainConfig",
    "Trainer",
    "load_checkpoint",
    "physical_cores",
    "save_checkpoint",
]
