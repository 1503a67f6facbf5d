"""`python -m benchmarks.scaling`: training steps by one process and by several, and what more
machines could gain.

Measured, in turn, round by round: a step of one process on all cores, of as many ranks as cores
with a thread each, and of one process with an eighth of the batch. Computed from that: the speed-up
on more machines like this one, over networks of a given latency and bandwidth.
"""

import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np

from benchmarks.runner import ROUNDS
from minivit.backend.machine import cpu_name, physical_cores
from minivit.commands.cli import run_command
from minivit.config import overlay
from minivit.data import shapes
from minivit.engine import Run, TrainConfig, Trainer, recipe_of
from minivit.engine.config import BATCH
from minivit.engine.distributed import find_world
from minivit.engine.stepper import Parts, make_stepper
from minivit.errors import UserError
from minivit.models.config import preset_fields
from minivit.ranges import Range, Ranged

SHARE = 8
"""A step of one process is also timed with so many times fewer images."""
STEPS = Range(1, 10_000, "a median needs no more", "steps")


@dataclass(frozen=True)
class Options(Ranged):
    """Time steps of CIFAR-10's recipe under mpiexec, and compute what more machines could gain."""

    model: str = "Micro/4"
    """A size by name."""
    batch: Annotated[int, BATCH] = 128
    """Images per step, of all ranks together."""
    steps: Annotated[int, STEPS] = 10
    """Steps whose median counts, after one to warm up."""
    rounds: Annotated[int, ROUNDS] = 3
    """Rounds in which all take turns."""
    threads: int | None = None
    """Of a rank; None: all cores."""
    as_rank: bool = False
    """Time only the processes that mpiexec started this with, and print JSON."""


class Network(NamedTuple):
    """latency: seconds until the first byte is there. bandwidth: bytes per second."""

    latency: float
    bandwidth: float


NETWORKS = {
    "1 GbE": Network(50e-6, 0.117e9),
    "10 GbE": Network(20e-6, 1.17e9),
    "InfiniBand HDR": Network(2e-6, 24e9),
    "NVLink 4": Network(3e-6, 400e9),
}
"""Typical values, given, not measured."""


def all_reduce_seconds(ranks: int, count: float, network: Network) -> float:
    """Of `count` bytes: a ring's 2(p-1) messages of a p-th, or a tree's 2·log₂ p of all, whichever
    is sooner."""
    if ranks == 1:
        return 0.0
    latency, bandwidth = network
    ring = 2 * (ranks - 1) * (latency + count / ranks / bandwidth)
    tree = 2 * math.ceil(math.log2(ranks)) * (latency + count / bandwidth)
    return min(ring, tree)


def step_seconds(ranks: int, batch: int, whole: float, part: float) -> float:
    """Of one of several machines, without the all-reduce: what does not depend on the batch, as the
    optimizer, and a share for each image; whole, part: of a step with all and with an eighth."""
    per_image = max(0.0, (whole - part) / (batch - batch // SHARE))
    return whole - per_image * (batch - math.ceil(batch / ranks))


def measure(options: Options) -> dict[str, float]:
    """Median seconds of a step, and of what this rank spends in all-reduces of it, the wait for
    slower ranks included; bytes of the gradient."""
    world, talked = find_world(), [0.0]
    world.add = timed(world.add, talked)  # type: ignore[method-assign]
    names = preset_fields(options.model)
    size = {k: v for k, v in names.items() if k not in ("image_size", "num_classes")}
    changes = {**recipe_of("cifar10"), **size, "dataset": "shapes", "batch_size": options.batch}
    config = overlay(TrainConfig(), {**changes, "epochs": 1, "threads": options.threads})
    data = shapes.load(num_train=2 * options.batch, num_test=10)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(config, data, Run(Path(folder)), world=world)
    parts = Parts(
        config,
        trainer.model,
        trainer.optimizer,
        trainer.batches,
        trainer.objective,
        trainer.layout,
        world,
    )
    steps, communication = [], []
    with make_stepper(parts) as stepper:
        batch = stepper.prepare(0)
        for step in range(options.steps + 1):
            start, talked[0] = time.perf_counter(), 0.0
            stepper.train(batch, step, 1e-3)
            steps.append(time.perf_counter() - start)
            communication.append(talked[0])
    return {
        "step": statistics.median(steps[1:]),
        "all_reduce": statistics.median(communication[1:]),
        "bytes": trainer.model.flat.grad.nbytes,
    }


def timed(function: Callable, seconds: list[float]) -> Callable:
    """The same, and its time is added to `seconds`."""

    def call(array: np.ndarray) -> None:
        start = time.perf_counter()
        function(array)
        seconds[0] += time.perf_counter() - start

    return call


def started(options: Options, ranks: int, threads: int, batch: int) -> dict[str, Any]:
    """What rank 0 measures."""
    words = f"--model {options.model} --steps {options.steps} --batch {batch} --threads {threads}"
    launcher = Path(sys.executable).with_name("mpiexec")
    launch = [str(launcher) if launcher.exists() else "mpiexec", "-n", str(ranks)]
    command = [sys.executable, "-m", "benchmarks.scaling", "--as-rank", *words.split()]
    try:
        told = subprocess.run(
            (launch if ranks > 1 else []) + command,
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


def main(options: Options) -> int:
    """Print what was measured, then what is computed from it."""
    if options.as_rank:
        print(json.dumps(measure(options)))
        return 0
    cores = options.threads or physical_cores()
    turns = {
        f"1 rank, {cores} threads": (1, cores, options.batch),
        f"{cores} ranks, 1 thread each": (cores, 1, options.batch),
        f"1 rank, {cores} threads, 1/{SHARE} of the batch": (
            1,
            cores,
            max(1, options.batch // SHARE),
        ),
    }
    found: dict[str, list[dict]] = {name: [] for name in turns}
    for _ in range(options.rounds):
        for name, turn in turns.items():
            found[name].append(started(options, *turn))
    whole, several, part = (median(rounds, "step") for rounds in found.values())
    print(
        f"{options.model}, batch {options.batch}, {cpu_name()}; medians of {options.rounds} rounds"
    )
    print(f"\n{'measured':44}{'step':>9}{'all-reduce':>12}")
    for name, rounds in found.items():
        step, talk = median(rounds, "step"), median(rounds, "all_reduce")
        print(f"{name:44}{1e3 * step:6.1f} ms{1e3 * talk:9.1f} ms ({talk / step:.1%})")
    ratios = [b["step"] / a["step"] for a, b in zip(*list(found.values())[:2], strict=True)]
    print(f"ranks over threads {several / whole:.3f} ({min(ratios):.3f}–{max(ratios):.3f})\n")
    count = next(iter(found.values()))[0]["bytes"]
    ranks = [2**i for i in range(11) if 2**i <= options.batch]
    print(f"computed: speed-up of a step on so many machines like this one, {count / 1e6:.1f} MB")
    print(f"{'':16}{''.join(f'{n:>7}' for n in ranks)}")
    for name, network in NETWORKS.items():
        gains = [whole / step_with(n, options.batch, whole, part, count, network) for n in ranks]
        print(f"{name:16}{''.join(f'{gain:7.2f}' for gain in gains)}")
    return 0


def median(rounds: list[dict], key: str) -> float:
    """Over the rounds."""
    return statistics.median(one[key] for one in rounds)


def step_with(
    ranks: int, batch: int, whole: float, part: float, count: float, network: Network
) -> float:
    """Of one of several machines, with the all-reduce."""
    return step_seconds(ranks, batch, whole, part) + all_reduce_seconds(ranks, count, network)


if __name__ == "__main__":
    sys.exit(run_command(main, Options, "python -m benchmarks.scaling"))
