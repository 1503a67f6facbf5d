"""`python -m benchmarks.steps`: what the operations of a block cost, in nanoseconds per number.

Each is measured on one core, then on several cores at once in threads, as in training: if the
second column is larger, the threads wait for the GIL or for memory.
"""

# ruff: noqa: I001  (minivit is imported before NumPy: it tunes the host)
import functools
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, Literal

import minivit  # noqa: F401
import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks import isa
from benchmarks.runner import ROUNDS
from minivit import functional as F
from minivit.backend import blocks, use_twins
from minivit.backend.machine import cpu_name
from minivit.commands.cli import run_command
from minivit.engine.config import BATCH
from minivit.functional.compiled import find_twins
from minivit.ranges import Ranged

T, C, F_WIDE, HEADS = 65, 192, 768, 3
"""Sizes of a block of the model that `benchmarks.train_step` measures by default."""


@dataclass(frozen=True)
class Options(Ranged):
    """Time NumPy's operations and minivit's pairs on the arrays of one block, float32."""

    batch: Annotated[int, BATCH] = 15
    """Images per call."""
    threads: Annotated[int, BATCH] = 2
    """Cores to use."""
    rounds: Annotated[int, ROUNDS] = 25
    """Rounds, of which the median is used."""
    isa: Literal["native", "avx2"] = "native"
    """As in `benchmarks.train_step`."""
    compiled: bool = False
    """Measure the compiled twins, which training uses if Numba is installed."""


def main(options: Options) -> int:
    """Print one row per operation."""
    isa.require(options.isa)
    if options.isa == "avx2" and "OPENBLAS_CORETYPE" not in os.environ:
        command = [sys.executable, "-m", "benchmarks.steps", *sys.argv[1:]]
        return subprocess.run(command, env=os.environ | isa.avx2(), check=False).returncode
    print(f"{cpu_name()}, {isa.describe(options.isa)}, NumPy {np.__version__}\n")
    columns = ("step", "numbers", "ns per number, one core", f"{options.threads} at once")
    print(f"| {' | '.join(columns)} |\n" + "|---" * len(columns) + "|")
    begin = functools.partial(use_twins, find_twins if options.compiled else dict)
    with (
        threadpool_limits(1, "blas"),
        ThreadPoolExecutor(options.threads, initializer=begin) as pool,
    ):
        workloads = [dict(steps(options.batch)) for _ in range(options.threads)]
        for name in workloads[0]:
            numbers = workloads[0][name][0]
            alone, together = (
                seconds(pool, [workload[name][1] for workload in chosen], options.rounds)
                / numbers
                * 1e9
                for chosen in (workloads[:1], workloads)
            )
            print(f"| {name} | {numbers:,} | {alone:.2f} | {together:.2f} |", flush=True)
    return 0


def seconds(pool: ThreadPoolExecutor, workloads: list[Callable], rounds: int) -> float:
    """Median time to run all of `workloads` at once."""
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        list(pool.map(lambda workload: workload(), workloads))
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def steps(batch: int) -> Iterator[tuple[str, tuple[int, Callable]]]:
    """Yield (name, (how many numbers, function to run))."""
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, np.float32)

    x, hidden, scores = draw(batch, T, C), draw(batch, T, F_WIDE), draw(batch, HEADS, T, T)
    flat, out = draw(2**20), np.empty(2**20, np.float32)

    def in_blocks(operation: Callable) -> tuple[int, Callable]:
        return flat.size, lambda: [operation(flat[rows], out[rows]) for rows in blocks(flat)]

    yield "multiply by a number", in_blocks(lambda x, y: np.multiply(x, 1.5, y))
    yield "exp", in_blocks(np.exp)
    yield "tanh", in_blocks(np.tanh)
    weight, bias = draw(C, F_WIDE), draw(F_WIDE)
    q, k, v = F.split_heads(draw(batch, T, 3 * C), HEADS)
    images = draw(batch, 32, 32, 64)  # of a hybrid's stem
    for name, pair, inputs, size in (
        ("linear", "linear", (x, weight, bias), hidden.size),
        ("LayerNorm", "layernorm", (x, draw(C), draw(C)), x.size),
        ("GELU", "gelu", (hidden,), hidden.size),
        ("GELU by tanh", "gelu_tanh", (hidden,), hidden.size),
        ("softmax", "softmax", (scores,), scores.size),
        ("attention", "attention", (q, k, v), scores.size),
        ("max pooling", "max_pool", (images, 3, 2, 1), images.size),
    ):
        forward, backward = getattr(F, f"{pair}_forward"), getattr(F, f"{pair}_backward")
        y, cache = forward(*inputs)
        yield name, (size, lambda f=forward, i=inputs: f(*i))
        yield f"{name}, backward", (size, lambda b=backward, y=y, c=cache: b(y, c))


if __name__ == "__main__":
    sys.exit(run_command(main, Options, "python -m benchmarks.steps"))
