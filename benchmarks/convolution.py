"""`python -m benchmarks.convolution`: minivit's convolution and PyTorch's, forward and
backward.
"""

# ruff: noqa: I001  (minivit is imported before NumPy: it tunes the host)
import statistics
import sys
import time
from dataclasses import dataclass
from typing import Annotated

import minivit  # noqa: F401
import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.runner import ROUNDS
from minivit.commands.cli import run_command
from minivit.engine.config import BATCH
from minivit.functional import conv2d_backward, conv2d_forward
from minivit.ranges import Ranged

CASES = (
    (32, 32, 32, 3, 1),
    (16, 64, 64, 3, 1),
    (8, 128, 128, 3, 1),
    (32, 3, 64, 3, 1),
    (32, 64, 32, 1, 1),
    (32, 32, 64, 3, 2),
)
"""Image size, input and output channels, kernel size, stride."""


@dataclass(frozen=True)
class Options(Ranged):
    """Time convolutions of float32 images on one thread, alternating with PyTorch."""

    batch: Annotated[int, BATCH] = 16
    """Images per batch."""
    rounds: Annotated[int, ROUNDS] = 15
    """Alternating rounds, of which the median is used."""


def main(options: Options) -> int:
    """Print one row per case: the milliseconds of both, and their ratio."""
    print("| images | channels | kernel | minivit | PyTorch | ratio |\n" + "|---" * 6 + "|")
    for side, fan_in, fan_out, kernel, stride in CASES:
        shape = (options.batch, side, side, fan_in)
        run_minivit, run_torch = contenders(shape, fan_out, kernel, stride)
        times = ([], [])
        with threadpool_limits(1, "blas"):
            for _ in range(options.rounds):
                for seconds, run in zip(times, (run_minivit, run_torch), strict=True):
                    start = time.perf_counter()
                    run()
                    seconds.append(time.perf_counter() - start)
        a, b = (1e3 * statistics.median(seconds) for seconds in times)
        what = f"{options.batch} of {side}×{side} | {fan_in} → {fan_out}"
        print(f"| {what} | {kernel}×{kernel}/{stride} | {a:.2f} ms | {b:.2f} ms | {a / b:.2f} |")
    return 0


def contenders(shape: tuple[int, ...], fan_out: int, kernel: int, stride: int):
    """minivit's and PyTorch's function for forward and backward, with the same inputs."""
    import torch

    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape, np.float32)
    weight = rng.standard_normal((kernel, kernel, shape[-1], fan_out), np.float32)
    y, _ = conv2d_forward(x, weight, stride, kernel // 2)
    dy = np.ones_like(y)
    torch_x = torch.from_numpy(x.transpose(0, 3, 1, 2).copy()).requires_grad_()
    torch_weight = torch.from_numpy(weight.transpose(3, 2, 0, 1).copy()).requires_grad_()
    torch_dy = torch.from_numpy(dy.transpose(0, 3, 1, 2).copy())

    def run_minivit() -> None:
        _, cache = conv2d_forward(x, weight, stride, kernel // 2)
        conv2d_backward(dy, cache)

    def run_torch() -> None:
        conv2d = torch.nn.functional.conv2d
        conv2d(torch_x, torch_weight, stride=stride, padding=kernel // 2).backward(torch_dy)
        torch_x.grad = torch_weight.grad = None

    return run_minivit, run_torch


if __name__ == "__main__":
    sys.exit(run_command(main, Options, "python -m benchmarks.convolution"))
