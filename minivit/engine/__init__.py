"""Training: the loop, the workers, the run directory and its checkpoints."""

from minivit.engine.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from minivit.engine.config import RECIPES, TrainConfig
from minivit.engine.once import train_once
from minivit.engine.parallel import DataParallel, physical_cores
from minivit.engine.pretrainer import Pretrainer, make_trainer
from minivit.engine.run import Run
from minivit.engine.trainer import Trainer

__all__ = [
    "RECIPES",
    "Checkpoint",
    "DataParallel",
    "Pretrainer",
    "Run",
    "TrainConfig",
    "Trainer",
    "load_checkpoint",
    "make_trainer",
    "physical_cores",
    "save_checkpoint",
    "train_once",
]
