"""`python -m benchmarks.epoch`: what an epoch costs over its bare training steps.

An epoch of the trainer has augmentation, logging, validation and a checkpoint in it; the bare steps
are the same number of steps on one batch that lies ready. Both in turn, round by round.
"""

import contextlib
import io
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from minivit.cli import run_command
from minivit.data import shapes
from minivit.engine import DataParallel, Run, TrainConfig, Trainer
from minivit.engine.objective import Classification
from minivit.engine.trainer import make_optimizer


@dataclass(frozen=True)
class Options:
    """Time an epoch of the default model on pictures of CIFAR-10's size, and its bare steps."""

    images: int = 12_800
    """Pictures in the epoch, of which a twentieth is held out for validation."""
    rounds: int = 3
    """Rounds in which both take turns."""


def main(options: Options) -> int:
    """Print the median of each and of their ratio."""
    dataset = shapes.load(num_train=options.images, num_test=10)
    epochs, steps = [], []
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            config = TrainConfig(dataset="shapes", epochs=1, warmup=0.1)
            trainer = Trainer(config, dataset, Run.create(Path(folder), config))
            steps.append(bare_steps(trainer))
            start = time.perf_counter()
            with contextlib.redirect_stdout(io.StringIO()):
                trainer.fit()
            epochs.append(time.perf_counter() - start)
    ratios = [epoch / bare for epoch, bare in zip(epochs, steps, strict=True)]
    print(f"an epoch of {options.images} images: {statistics.median(epochs):.1f} s")
    print(f"its bare training steps: {statistics.median(steps):.1f} s")
    print(f"ratio {statistics.median(ratios):.3f} ({min(ratios):.3f}–{max(ratios):.3f})")
    return 0


def bare_steps(trainer: Trainer) -> float:
    """Seconds of an epoch's steps on one batch; the weights are put back."""
    flat, config = trainer.model.flat, trainer.config
    before = flat.data.copy()
    optimizer = make_optimizer(config, trainer.model)
    images, targets = trainer.batches.batch(0)
    with DataParallel(trainer.model) as workers:
        workers.loss_and_gradients(images, targets, Classification(0.1), 0, 0)
        start = time.perf_counter()
        for step in range(trainer.batches.per_epoch):
            workers.loss_and_gradients(images, targets, Classification(0.1), 0, step)
            optimizer.step(1e-3, workers.map)
        seconds = time.perf_counter() - start
    flat.data[...] = before
    return seconds


if __name__ == "__main__":
    sys.exit(run_command(main, Options, "python -m benchmarks.epoch"))
