"""A training that has a name: done once, gone on with where it was stopped, then only read."""

from pathlib import Path

from minivit.engine.checkpoint import write_atomically
from minivit.engine.config import TrainConfig
from minivit.engine.pictures import load_pictures
from minivit.engine.pretrainer import make_trainer
from minivit.engine.run import Run, to_json


def train_once(path: Path, config: TrainConfig) -> float:
    """Train in the directory `path`, or go on there, or do nothing where all is done.

    What stands there already keeps its own config.

    Returns:
        test accuracy.

    Raises:
        KeyboardInterrupt: stopped, and saved; the next call goes on.
    """
    run = Run(path)
    if run.config_file.exists():
        config = run.read_config()
    else:
        run.last.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(run.config_file, to_json(config).encode())
    tested = [line for line in run.metrics() if line["kind"] == "test"]
    if tested:
        return tested[-1]["test_accuracy"]
    trainer = make_trainer(config, load_pictures(config), run)
    if run.last.exists():
        trainer.resume()
    if not trainer.fit():
        print(f"stopped and saved; the same command goes on at step {trainer.step} of {run.path}")
        raise KeyboardInterrupt
    return trainer.test().accuracy
