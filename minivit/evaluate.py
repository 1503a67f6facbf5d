"""`python -m minivit.evaluate RUN`: how often a trained model is right."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from minivit.cli import run_command
from minivit.data import Statistics
from minivit.engine import DataParallel, Run
from minivit.engine.evaluate import evaluate
from minivit.engine.pictures import load_pictures
from minivit.engine.run import load_model

PROG = "python -m minivit.evaluate"


@dataclass(frozen=True)
class Options:
    """Measure a run's best weights on the test pictures of its data set."""

    run: Annotated[Path, tyro.conf.Positional]
    """A directory that minivit.train made."""
    data_dir: Path | None = None
    """Where the data set lies, if it has moved since."""
    device: str = "cpu"
    """cpu, cuda, or cuda:N."""
    threads: int | None = None
    """Workers on a CPU; None for one a physical core."""


def main(options: Options) -> int:
    """Print accuracy, loss, and the accuracy of each class."""
    config = Run.open(options.run).read_config()
    model, state = load_model(options.run, options.device)
    dataset = load_pictures(config, options.data_dir)
    statistics = Statistics.of_state(state)
    with DataParallel(model, options.threads) as workers:
        found = evaluate(workers.logits, dataset.test, statistics, dataset.num_classes)
    print(f"{dataset.name}, {len(dataset.test)} test images")
    print(f"accuracy {found.accuracy:.2%}   loss {found.loss:.4f}\n")
    right = np.diag(found.confusion) / np.maximum(found.confusion.sum(1), 1)
    for name, share in zip(dataset.class_names, right, strict=True):
        print(f"{name:>12} {share:6.1%}  {'█' * round(40 * share)}")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main, Options, PROG))
