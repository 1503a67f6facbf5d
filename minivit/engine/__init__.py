"""Training: the loop, the workers, the run directory and its checkpoints."""

from minivit.engine.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from minivit.engine.config import TrainConfig
from minivit.engine.once import train_once
from minivit.engine.parallel import DataParallel, physical_cores
from minivit.engine.recipes import QUICK, RECIPES, recipe_of
from minivit.engine.run import Run
from minivit.engine.tensorboard import TensorBoard
from minivit.engine.trained import Pretrained, Trained, load_model, load_pretrained
from minivit.engine.trainer import Trainer
from minivit.engine.transfer import resized

__all__ = [
    "QUICK",
    "RECIPES",
    "Checkpoint",
    "DataParallel",
    "Pretrained",
    "Run",
    "TensorBoard",
    "TrainConfig",
    "Trained",
    "Trainer",
    "load_checkpoint",
    "load_model",
    "load_pretrained",
    "physical_cores",
    "recipe_of",
    "resized",
    "save_checkpoint",
    "train_once",
]
