"""Train in a given directory: start a run, resume it, or return its result."""

from pathlib import Path

from minivit.data import Dataset
from minivit.engine.config import TrainConfig
from minivit.engine.run import Run
from minivit.engine.trainer import Trainer


def train_once(path: Path, config: TrainConfig, dataset: Dataset | None = None) -> float:
    """Train in the directory `path`, or resume there, or do nothing if it is finished.

    An existing run keeps its own config.

    Args:
        dataset: the data set, if several runs share it, so that it is read once; None: the
        config's.

    Returns:
        test accuracy.

    Raises:
        KeyboardInterrupt: stopped and saved; the next call resumes.
    """
    run = Run(path)
    with run.locked():
        if run.config_file.exists():
            config = run.read_config()
        if run.test_results():
            return run.test_results()[-1]["test_accuracy"]
        dataset = dataset or config.load_data()
        trainer = Trainer(config.for_data(dataset), dataset, run)
        run.begin(trainer.config)
        if run.last.exists():
            for line in trainer.resume():
                print(line)
        if not trainer.fit():
            print(f"stopped and saved; the same command resumes at step {trainer.step} of {path}")
            raise KeyboardInterrupt
        return trainer.test().accuracy
