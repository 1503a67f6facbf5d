"""The number of epochs that fit into a given time."""

import contextlib
import dataclasses
import itertools
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

from minivit.data import Dataset
from minivit.engine.config import EPOCHS, TrainConfig
from minivit.engine.evaluation import CHUNK
from minivit.engine.run import Run
from minivit.engine.stepper import Stepper
from minivit.engine.trainer import Trainer
from minivit.errors import UserError, shown

WARM_UP_STEPS = 2
"""Steps before timing starts: arrays are allocated, kernels compiled."""
MEASURED_SECONDS = 2.0
"""For each image size; timing ends with the first step that goes beyond it."""
EPOCHS_PER_STAGE = 1_000
"""So many that no stage ends while it is timed."""
MAX_TIMED_STEPS = 1_000
"""For each image size; no epoch is shorter than a step, so they fit in a stage."""


UNITS = re.compile(r"(?:(\d+\.?\d*)h)?(?:(\d+\.?\d*)m)?(?:(\d+\.?\d*)s)?")
MAX_SECONDS = 366 * 24 * 3600


def in_seconds(text: str) -> float:
    """ "1h30m" -> 5400.0. Raises UserError for any other text, for zero, and for over a year."""
    found = UNITS.fullmatch(text)
    h, m, s = (float(number or 0) for number in found.groups()) if found else (0, 0, 0)
    seconds = 3600 * h + 60 * m + s
    if not 0 < seconds <= MAX_SECONDS:
        raise UserError(f"budget is {shown(text)}; expected a time such as 90s, 30m or 1h30m")
    return seconds


def epochs_within(budget: float, seconds: float) -> int:
    """How many epochs of `seconds` fit into `budget` seconds: at least one, and no more than a
    config allows.
    """
    return int(min(max(1, budget / seconds), EPOCHS.high))


def seconds_per_epoch(
    config: TrainConfig, dataset: Dataset, clock: Callable[[], float] = time.perf_counter
) -> float:
    """The time that an epoch, with validation, takes on this machine: some steps of each stage of
    progressive resizing are timed, with weights that are then discarded.

    Raises as `Trainer` does.
    """
    stages = max(1, len(config.train_sizes))
    long_config = dataclasses.replace(config, epochs=EPOCHS_PER_STAGE * stages)
    trainer = Trainer(long_config, dataset, Run(Path(os.devnull)).silent())
    with trainer.stepper() as stepper:
        starts = (EPOCHS_PER_STAGE * stage * trainer.batches.per_epoch for stage in range(stages))
        steps = [_seconds_per_step(trainer, stepper, start, clock) for start in starts]
        validation = _validation_seconds(trainer, stepper, clock) / config.eval_every
    return trainer.batches.per_epoch * sum(steps) / stages + validation


def _seconds_per_step(
    trainer: Trainer, stepper: Stepper, start: int, clock: Callable[[], float]
) -> float:
    """The mean over some steps, beginning with step `start`; batches are prepared ahead, as in
    training."""
    stop, lr = start + MAX_TIMED_STEPS, trainer.config.lr
    with contextlib.closing(trainer.batches.ahead(start, stop, stepper.prepare)) as batches:
        for step, batch in enumerate(itertools.islice(batches, WARM_UP_STEPS), start):
            stepper.train(batch, step, lr)
        started = clock()
        for count, batch in enumerate(batches, 1):
            result = stepper.train(batch, start + WARM_UP_STEPS + count - 1, lr)
            float(result.loss)  # on a GPU, reading the loss waits for the step
            if trainer.world.from_main(lambda: clock() - started >= MEASURED_SECONDS):
                break
        return trainer.world.from_main(lambda: (clock() - started) / count)


def _validation_seconds(trainer: Trainer, stepper: Stepper, clock: Callable[[], float]) -> float:
    """Time for all validation images, extrapolated from some."""
    sample = trainer.val[:CHUNK]
    if not len(sample) or trainer.config.pretext != "none":
        return 0.0
    started = clock()
    stepper.logits(trainer.statistics.normalize(sample.pixels))
    return trainer.world.from_main(lambda: (clock() - started) * len(trainer.val) / len(sample))
