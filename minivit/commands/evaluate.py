"""`minivit evaluate RUN`: accuracy of a trained model on the test set."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from minivit.commands.cli import parse
from minivit.engine import DataParallel, Run, load_model
from minivit.engine.config import THREADS
from minivit.engine.evaluation import evaluate
from minivit.errors import UserError, shown_path
from minivit.ranges import Ranged


@dataclass(frozen=True)
class Options(Ranged):
    """Measure a run's best weights on the test set of its data set."""

    run: Annotated[Path, tyro.conf.Positional]
    """A directory that minivit train made."""
    data_dir: Path | None = None
    """Where the data set lies, if it has moved since."""
    device: str = "cpu"
    """cpu, cuda, or cuda:N."""
    threads: Annotated[int | None, THREADS] = None
    """Workers on a CPU; None: one per physical core."""


def main(options: Options) -> int:
    """Print accuracy, loss, and the accuracy of each class."""
    config = Run.open(options.run).read_config()
    trained = load_model(options.run, options.device)
    dataset = config.moved(options.data_dir).load_data(download=False)
    if dataset.class_names != trained.class_names:
        raise UserError(
            f"{shown_path(options.run)} knows {len(trained.class_names)} classes, {dataset.name} "
            f"has {dataset.num_classes} or others; expected the data set that it was trained on"
        )
    with DataParallel(trained.model, options.threads) as workers:
        found = evaluate(workers.logits, dataset.test, trained.statistics, dataset.num_classes)
    print(f"{dataset.name}, {len(dataset.test)} test images")
    print(f"accuracy {found.accuracy:.2%}   loss {found.loss:.4f}\n")
    assert found.confusion is not None
    correct = np.diag(found.confusion) / np.maximum(found.confusion.sum(1), 1)
    for name, share in zip(dataset.class_names, correct, strict=True):
        print(f"{name:>12} {share:6.1%}  {'█' * round(40 * share)}")
    return 0


def run(argv: list[str], prog: str = "minivit evaluate") -> int:
    """Parse the flags and run."""
    return main(parse(Options, argv, prog))
