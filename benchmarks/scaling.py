"""`python -m benchmarks.scaling`: training steps on one and on two ranks, and the speed-up to
expect from more.

Measured in alternating rounds: a step of one rank, of one rank with an eighth of the images, of two
ranks, and of one rank with the cores of two; for two ranks also an all-reduce alone, and how long a
step waits for its all-reduce. `scaling_model.py` computes from these the speed-up on more such
ranks, over networks of a given latency and bandwidth.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from benchmarks import scaling_report
from benchmarks.runner import ROUNDS
from minivit.commands.cli import run_command
from minivit.config import overlay
from minivit.data import shapes
from minivit.engine import Run, TrainConfig, Trainer, recipe_of
from minivit.engine.config import BATCH
from minivit.engine.distributed import find_world
from minivit.engine.gradient_sum import pieces
from minivit.engine.stepper import Parts, make_stepper
from minivit.engine.world import World
from minivit.errors import UserError
from minivit.models.config import preset_fields
from minivit.ranges import Range, Ranged

IMAGE_DIVISOR = 8
"""A step of one rank is also timed with the number of images divided by this."""
STEPS = Range(1, 10_000, "more would not change the median", "steps")
NUM_ALL_REDUCES = 20
"""All-reduces to time alone, of which the median is used."""


@dataclass(frozen=True)
class Options(Ranged):
    """Time steps under mpiexec, and compute the speed-up to expect from more ranks."""

    models: tuple[str, ...] = ("Micro/4", "Lite/4", "B/16")
    """Models by name."""
    images: tuple[Annotated[int, BATCH], ...] = (128, 128, 8)
    """For each model, images per measured step, over all ranks."""
    batches: tuple[Annotated[int, BATCH], ...] = (1024, 1024, 4096)
    """For each model, images per computed step."""
    threads: int = 1
    """Threads per rank."""
    steps: Annotated[int, STEPS] = 5
    """Steps to time, after one to warm up; the median is used."""
    rounds: Annotated[int, ROUNDS] = 3
    """Alternating rounds."""
    write: str = ""
    """Write the results as NAME.json, NAME.md and NAME.png to benchmarks/results."""
    as_rank: bool = False
    """Time only the ranks that mpiexec started, with the first model, and print the results as
    JSON, including the time of an all-reduce of its gradient.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if not len(self.models) == len(self.images) == len(self.batches):
            raise UserError(
                f"{len(self.models)} --models, {len(self.images)} --images, {len(self.batches)} "
                "--batches; give the same number of each"
            )


class Clock:
    """Adds up the seconds that a rank spends in sums over ranks."""

    def __init__(self, world: World):
        self.seconds, self._running = 0.0, False
        start_all_reduce = world.start_all_reduce
        world.all_reduce = self.timed(world.all_reduce)  # type: ignore[method-assign]
        begin = self.timed(start_all_reduce)
        world.start_all_reduce = lambda array: self.timed(begin(array))  # type: ignore[method-assign]

    def timed(self, function: Callable) -> Callable:
        """The function, with its time added to `seconds`."""

        def call(*arguments: Any) -> Any:
            if self._running:  # inside another timed call
                return function(*arguments)
            self._running, start = True, time.perf_counter()
            try:
                return function(*arguments)
            finally:
                self.seconds += time.perf_counter() - start
                self._running = False

        return call


def config_of(options: Options) -> TrainConfig:
    """The CIFAR-10 recipe with the first model; for larger images with AdamW, as in the paper."""
    names = preset_fields(options.models[0])
    small = names["image_size"] <= 32
    changes = {**recipe_of("cifar10"), **names, "num_classes": 10, "dataset": "shapes"}
    changes |= {"batch_size": options.images[0], "epochs": 1, "threads": options.threads}
    return overlay(TrainConfig(), changes if small else {**changes, "optimizer": "adamw"})


def parts_of(config: TrainConfig, world: World) -> Parts:
    """The parts of a run on the shapes data set, at the model's image size."""
    data = shapes.load(num_train=2 * config.batch_size, num_test=10)
    data = data.resized(config.vit.image_hw)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(config, data, Run(Path(folder)), world=world)
    return Parts(
        config,
        trainer.model,
        trainer.optimizer,
        trainer.batches,
        trainer.objective,
        trainer.layout,
        world,
    )


def measure(options: Options) -> dict[str, Any]:
    """Medians, in seconds, as `scaling_model.cost_of` and `network_of` take them; exposed: how long
    a step waits for its sums, and so for slower ranks.
    """
    world = find_world()
    parts, clock = parts_of(config_of(options), world), Clock(world)
    steps, exposed, prepared = [], [], []
    with make_stepper(parts) as stepper:
        for step in range(options.steps + 1):
            start = time.perf_counter()
            batch = stepper.prepare(step % parts.batches.per_epoch)
            prepared.append(time.perf_counter() - start)
            start, clock.seconds = time.perf_counter(), 0.0
            stepper.train(batch, step, 1e-3)
            steps.append(time.perf_counter() - start)
            exposed.append(clock.seconds)
    gradient = parts.model.flat.grad
    return {
        "ranks": world.size,
        "images": options.images[0],
        "step": statistics.median(steps[1:]),
        "exposed": statistics.median(exposed[1:]),
        "prepare": statistics.median(prepared[1:]),
        "all_reduce": all_reduce_alone(world, gradient),
        "shortest": all_reduce_alone(world, np.zeros(1, np.float32)),
        "bytes": gradient.nbytes,
        "pieces": len(pieces(parts.model)),
        "shared": parts.config.optimizer == "muon",
    }


def all_reduce_alone(world: World, array: np.ndarray) -> float:
    """Median seconds of an all-reduce that overlaps with nothing."""
    array[...] = 0
    seconds = []
    for _ in range(NUM_ALL_REDUCES):
        world.all_reduce(np.zeros(1, np.float32))  # so that all ranks begin together
        start = time.perf_counter()
        world.all_reduce(array)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def run_ranks(model: str, images: int, ranks: int, threads: int, steps: int) -> dict[str, Any]:
    """Start the ranks; returns what rank 0 measures."""
    words = f"--models {model} --images {images} --batches {images} --threads {threads}"
    launcher = Path(sys.executable).with_name("mpiexec")
    launch = [str(launcher) if launcher.exists() else "mpiexec", "-n", str(ranks)]
    command = [sys.executable, "-m", "benchmarks.scaling", "--as-rank", "--steps", str(steps)]
    try:
        completed = subprocess.run(
            launch + command + words.split(),  # also for one rank, for equal conditions
            cwd=Path(__file__).parents[1],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            check=True,
            encoding="utf-8",
        )
    except FileNotFoundError:
        raise UserError(
            'there is no mpiexec; pip install "minivit[mpi]" mpich installs it'
        ) from None
    except subprocess.CalledProcessError:
        raise UserError(f"{ranks} ranks could not be timed; see above") from None
    return json.loads(completed.stdout.splitlines()[-1])


def measure_model(model: str, images: int, options: Options) -> dict[str, dict]:
    """All measurements of a model: medians over alternating rounds."""
    threads = options.threads
    layouts = {
        "one": (images, 1, threads),
        "part": (max(1, images // IMAGE_DIVISOR), 1, threads),
        "two": (images, 2, threads),
        "threads": (images, 1, 2 * threads),
    }
    found: dict[str, list[dict]] = {name: [] for name in layouts}
    for _ in range(options.rounds):
        for name, (count, ranks, each) in layouts.items():
            found[name].append(run_ranks(model, count, ranks, each, options.steps))
    results = {name: medians(rounds) for name, rounds in found.items()}
    ratios = [b["step"] / a["step"] for a, b in zip(found["threads"], found["two"], strict=True)]
    results["two"]["over_threads"] = [statistics.median(ratios), min(ratios), max(ratios)]
    return results


def medians(rounds: list[dict]) -> dict[str, Any]:
    """The median of each number over the rounds."""
    numbers = {key: [one[key] for one in rounds] for key in rounds[0]}
    return {key: type(values[0])(statistics.median(values)) for key, values in numbers.items()}


def main(options: Options) -> int:
    """Print the measurements, then what is computed from them."""
    if options.as_rank:
        print(json.dumps(measure(options)))
        return 0
    sizes = zip(options.models, options.images, options.batches, strict=True)
    results = [
        scaling_report.Result(model, batch, options.threads, measure_model(model, images, options))
        for model, images, batch in sizes
    ]
    command = " ".join(["python -m benchmarks.scaling", *sys.argv[1:]])
    print(scaling_report.text(results, command))
    if options.write:
        scaling_report.write(options.write, results, command)
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main, Options, "python -m benchmarks.scaling"))
