"""`python -m benchmarks.epoch`: what an epoch costs in addition to its bare training steps.

The trainer's epoch includes augmentation, logging, validation and a checkpoint; the bare steps are
the same number of steps on a single prepared batch. Both alternate, round by round.
"""

import contextlib
import io
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from benchmarks.runner import ROUNDS
from minivit.commands.cli import run_command
from minivit.data import shapes
from minivit.engine import Run, TrainConfig, Trainer
from minivit.engine.config import BATCH, EPOCHS, IMAGES
from minivit.engine.stepper import Parts, make_stepper
from minivit.engine.trainer import make_optimizer
from minivit.ranges import Ranged


@dataclass(frozen=True)
class Options(Ranged):
    """Time an epoch of the default model on images of CIFAR-10's size, and its bare steps."""

    images: Annotated[int, IMAGES] = 12_800
    """Images per epoch, of which a twentieth is held out for validation."""
    epochs: Annotated[int, EPOCHS] = 1
    """Number of epochs; on a GPU, one is too short to be timed."""
    rounds: Annotated[int, ROUNDS] = 3
    """Alternating rounds."""
    batch: Annotated[int, BATCH] = 128
    """Images per step."""
    device: str = "cpu"
    """cpu, cuda or cuda:N."""
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    """As in `minivit train`."""


def main(options: Options) -> int:
    """Print the median time of both, and the median of their ratio."""
    dataset = shapes.load(num_train=options.images, num_test=10)
    epochs, steps = [], []
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            config = TrainConfig(
                dataset="shapes",
                epochs=options.epochs,
                warmup=0.1,
                batch_size=options.batch,
                device=options.device,
                precision=options.precision,
            )
            trainer = Trainer(config, dataset, Run.create(Path(folder), config))
            steps.append(bare_steps(trainer))
            start = time.perf_counter()
            with contextlib.redirect_stdout(io.StringIO()):
                trainer.fit()
            epochs.append(time.perf_counter() - start)
    ratios = [epoch / bare for epoch, bare in zip(epochs, steps, strict=True)]
    what = f"{options.epochs} epoch(s) of {options.images} images"
    print(f"{what}: {statistics.median(epochs):.1f} s")
    print(f"its bare training steps: {statistics.median(steps):.1f} s")
    print(f"ratio {statistics.median(ratios):.3f} ({min(ratios):.3f}–{max(ratios):.3f})")
    return 0


def bare_steps(trainer: Trainer) -> float:
    """Seconds for an epoch's number of steps on one batch; the weights are restored afterwards."""
    config, model = trainer.config, trainer.model
    before = model.flat.data.copy()
    optimizer = make_optimizer(config, model)
    parts = Parts(config, model, optimizer, trainer.batches, trainer.objective, trainer.layout)
    with make_stepper(parts) as stepper:
        batch = stepper.prepare(0)
        for step in range(3):  # kernels are compiled, a graph is captured
            float(stepper.train(batch, step, 1e-3).loss)
        start = time.perf_counter()
        for step in range(trainer.total_steps):
            result = stepper.train(batch, step, 1e-3)
        float(result.loss)  # waits for a GPU
        seconds = time.perf_counter() - start
    model.flat.data[...] = before
    return seconds


if __name__ == "__main__":
    sys.exit(run_command(main, Options, "python -m benchmarks.epoch"))
