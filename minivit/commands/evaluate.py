"""`minivit evaluate RUN`: accuracy of a trained model on the test set."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from minivit.commands.class_table import class_table
from minivit.commands.cli import parse
from minivit.data import Dataset
from minivit.engine import DataParallel, Run, Trained, load_model
from minivit.engine.config import THREADS
from minivit.engine.evaluation import evaluate
from minivit.errors import UserError, shown_path
from minivit.files import WriteError
from minivit.ranges import Ranged
from minivit.viz.mistakes import save_mistakes

WITH_FLIP = ", each with its mirror image"


@dataclass(frozen=True)
class Options(Ranged):
    """Evaluate a run's best weights on the test set of its data set.

    Prints the accuracy, overall and per class; writes mistakes.png and mistakes.csv to the run's
    directory: the images that are misclassified, and those that the model is least certain of.
    """

    run: Annotated[Path, tyro.conf.Positional]
    """A directory created by minivit train."""
    flip: bool = False
    """Classify each image by the mean of its logits and those of its mirror image. This takes
    twice the time, and should be stated with the accuracy."""
    data_dir: Path | None = None
    """New location of the data set, if it has moved since training."""
    device: str = "cpu"
    """cpu, cuda, or cuda:N."""
    threads: Annotated[int | None, THREADS] = None
    """Worker threads on a CPU; None: one per physical core."""


def main(options: Options) -> int:
    """Print accuracy, loss, and a table of the classes; write the mistakes."""
    config = Run.open(options.run).read_config()
    trained = load_model(options.run, options.device)
    dataset = config.moved(options.data_dir).load_data(download=False)
    if dataset.class_names != trained.class_names:
        raise UserError(
            f"{shown_path(options.run)}: its {len(trained.class_names)} classes are not the "
            f"{dataset.num_classes} of {dataset.name}; expected the data set that it was trained on"
        )
    _warn_of_other_data(trained, dataset)
    with DataParallel(trained.model, options.threads) as workers:
        found = evaluate(
            workers.logits, dataset.test, trained.statistics, dataset.num_classes, options.flip
        )
    print(f"{dataset.name}, {len(dataset.test)} test images{WITH_FLIP * options.flip}")
    print(
        f"accuracy {found.accuracy:.2%}   loss {found.loss:.4f}   "
        f"balanced accuracy {found.balanced_accuracy:.2%}\n"
    )
    print(class_table(found, dataset.class_names))
    try:
        print(f"\n{shown_path(options.run)}: {save_mistakes(dataset, found, options.run)}")
    except WriteError as error:  # somebody else's run may be read-only
        name = shown_path(str(error.filename))
        warnings.warn(f"{name}: cannot be written ({error.strerror})", stacklevel=2)
    return 0


def _warn_of_other_data(trained: Trained, dataset: Dataset) -> None:
    """A folder with new files is split again: training images may end up in its test set."""
    if trained.data_digest not in ("", dataset.digest):
        warnings.warn(
            f"{dataset.name}: these are not the images that the run was trained with; some of the "
            "test images may have been training images",
            stacklevel=2,
        )


def run(argv: list[str], prog: str = "minivit evaluate") -> int:
    """Parse the flags and run."""
    return main(parse(Options, argv, prog))
