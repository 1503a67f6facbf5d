"""`python -m benchmarks.scaling`: training steps by one process and by several, and what more ranks
could gain.

Measured, in turn, round by round: a step of one rank, of one with an eighth of the images, of two
ranks, and of one rank with the cores of two; of the ranks also an all-reduce by itself, and what of
it the step waits for. Computed from that, in `scaling_model.py`: the speed-up on more ranks like
these, over networks of a given latency and bandwidth.
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

SHARE = 8
"""A step of one rank is also timed with so many times fewer images."""
STEPS = Range(1, 10_000, "a median needs no more", "steps")
ALONE = 20
"""All-reduces by themselves, of which the median counts."""


@dataclass(frozen=True)
class Options(Ranged):
    """Time steps under mpiexec, and compute what more ranks could gain."""

    models: tuple[str, ...] = ("Micro/4", "Lite/4", "B/16")
    """Sizes by name."""
    images: tuple[Annotated[int, BATCH], ...] = (128, 128, 8)
    """Images of a measured step, of all ranks together, for each model."""
    batches: tuple[Annotated[int, BATCH], ...] = (1024, 1024, 4096)
    """Images of a computed step, for each model."""
    threads: int = 1
    """Of a rank."""
    steps: Annotated[int, STEPS] = 5
    """Steps whose median counts, after one to warm up."""
    rounds: Annotated[int, ROUNDS] = 3
    """Alternating rounds."""
    write: str = ""
    """Write NAME.json, NAME.md and NAME.png into benchmarks/results."""
    as_rank: bool = False
    """Time only the processes that mpiexec started this with, by the first model, and print JSON:
    how long its gradient takes over the network between them, too."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not len(self.models) == len(self.images) == len(self.batches):
            raise UserError(
                f"{len(self.models)} --models, {len(self.images)} --images, {len(self.batches)} "
                "--batches; give as many of each"
            )


class Clock:
    """Adds up the seconds that a rank spends in its sums with others."""

    def __init__(self, world: World):
        self.seconds, self._running = 0.0, False
        begin_add = world.begin_add
        world.add = self.timed(world.add)  # type: ignore[method-assign]
        begin = self.timed(begin_add)
        world.begin_add = lambda array: self.timed(begin(array))  # type: ignore[method-assign]

    def timed(self, function: Callable) -> Callable:
        """The same, and its time is added."""

        def call(*arguments: Any) -> Any:
            if self._running:  # within another
                return function(*arguments)
            self._running, start = True, time.perf_counter()
            try:
                return function(*arguments)
            finally:
                self.seconds += time.perf_counter() - start
                self._running = False

        return call


def config_of(options: Options) -> TrainConfig:
    """CIFAR-10's recipe with the first model; AdamW for one of larger images, as its paper has."""
    names = preset_fields(options.models[0])
    small = names["image_size"] <= 32
    changes = {**recipe_of("cifar10"), **names, "num_classes": 10, "dataset": "shapes"}
    changes |= {"batch_size": options.images[0], "epochs": 1, "threads": options.threads}
    return overlay(TrainConfig(), changes if small else {**changes, "optimizer": "adamw"})


def parts_of(config: TrainConfig, world: World) -> Parts:
    """A training on the shapes, at the model's image size."""
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
    """Medians, in seconds, as `scaling_model.cost_of` and `network_of` want them; exposed: what a
    step waits for its sums, and for slower ranks."""
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
    """Median seconds, with nothing to hide behind."""
    array[...] = 0
    seconds = []
    for _ in range(ALONE):
        world.add(np.zeros(1, np.float32))  # all begin together
        start = time.perf_counter()
        world.add(array)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def started(model: str, images: int, ranks: int, threads: int, steps: int) -> dict[str, Any]:
    """What rank 0 measures."""
    words = f"--models {model} --images {images} --batches {images} --threads {threads}"
    launcher = Path(sys.executable).with_name("mpiexec")
    launch = [str(launcher) if launcher.exists() else "mpiexec", "-n", str(ranks)]
    command = [sys.executable, "-m", "benchmarks.scaling", "--as-rank", "--steps", str(steps)]
    try:
        told = subprocess.run(
            launch + command + words.split(),  # one rank, too: its share of the machine is alike
            cwd=Path(__file__).parents[1],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            check=True,
            encoding="utf-8",
        )
    except FileNotFoundError:
        raise UserError(
            'there is no mpiexec; pip install "minivit[mpi]" mpich brings one'
        ) from None
    except subprocess.CalledProcessError:
        raise UserError(f"{ranks} ranks could not be timed; see above") from None
    return json.loads(told.stdout.splitlines()[-1])


def turns(model: str, images: int, options: Options) -> dict[str, dict]:
    """What is measured of a model: medians over rounds in which all take turns."""
    threads = options.threads
    layouts = {
        "one": (images, 1, threads),
        "part": (max(1, images // SHARE), 1, threads),
        "two": (images, 2, threads),
        "threads": (images, 1, 2 * threads),
    }
    found: dict[str, list[dict]] = {name: [] for name in layouts}
    for _ in range(options.rounds):
        for name, (count, ranks, each) in layouts.items():
            found[name].append(started(model, count, ranks, each, options.steps))
    middle = {name: medians(rounds) for name, rounds in found.items()}
    ratios = [b["step"] / a["step"] for a, b in zip(found["threads"], found["two"], strict=True)]
    middle["two"]["over_threads"] = [statistics.median(ratios), min(ratios), max(ratios)]
    return middle


def medians(rounds: list[dict]) -> dict[str, Any]:
    """Of each number over the rounds."""
    numbers = {key: [one[key] for one in rounds] for key in rounds[0]}
    return {key: type(values[0])(statistics.median(values)) for key, values in numbers.items()}


def main(options: Options) -> int:
    """Print what was measured, then what is computed from it."""
    if options.as_rank:
        print(json.dumps(measure(options)))
        return 0
    sizes = zip(options.models, options.images, options.batches, strict=True)
    results = [
        scaling_report.Result(model, batch, options.threads, turns(model, images, options))
        for model, images, batch in sizes
    ]
    command = " ".join(["python -m benchmarks.scaling", *sys.argv[1:]])
    print(scaling_report.text(results, command))
    if options.write:
        scaling_report.write(options.write, results, command)
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main, Options, "python -m benchmarks.scaling"))
