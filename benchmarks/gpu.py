"""`python -m benchmarks.gpu`: training steps on an NVIDIA GPU, minivit compared with PyTorch.

The contenders alternate in one run, each in its own process; the GPU is synchronized before and
after each block of steps. The roofline is the rate that the GPU's memory bandwidth and tensor
cores, as measured in the same run, would allow if each tensor crossed memory only once.
"""

import dataclasses
import json
import statistics
import sys
from dataclasses import dataclass
from datetime import date
from typing import Annotated

from benchmarks import on_gpu
from benchmarks.report import RESULTS
from benchmarks.runner import ROUNDS, STEPS, Result, machine, measure
from benchmarks.shape import Shape
from minivit.backend import parse_device
from minivit.commands.cli import run_command
from minivit.engine.config import BATCH
from minivit.models.config import preset_fields
from minivit.ranges import Ranged

CONTENDERS = {
    "minivit-bf16": "minivit, fused kernels, bf16",
    "minivit-tf32": "minivit, pairs on CuPy, tf32",
    "torch-bf16-compiled": "PyTorch compiled (max-autotune), bf16",
    "torch-bf16": "PyTorch eager, bf16",
    "torch": "PyTorch eager, tf32",
}
COUNTERPARTS = {"torch": "minivit-tf32"}
"""The minivit contender that each is compared with; all others: minivit-bf16."""
BATCHES = dataclasses.replace(BATCH, count=(1, 100))  # one process per batch size


@dataclass(frozen=True)
class Options(Ranged):
    """Time training steps at several batch sizes, then each kernel of one step."""

    model: str = "Lite/4"
    """Name of a size, for images of 32×32 pixels and ten classes."""
    batches: Annotated[tuple[int, ...], BATCHES] = (128, 256, 512, 1024, 2048)
    """Images per step."""
    rounds: Annotated[int, ROUNDS] = 5
    """Rounds; each contender is measured once per round."""
    steps: Annotated[int, STEPS] = 50
    """Steps per round."""


def main(options: Options) -> int:
    """Measure, and write results/gpu_train_step.json and .md."""
    parse_device("cuda")  # raises UserError if there is no GPU
    size = {key: v for key, v in preset_fields(options.model).items() if key != "in_channels"}
    shape = Shape(**size, activation="gelu_tanh", device="cuda")
    rows = []
    for batch in options.batches:
        batch_shape = dataclasses.replace(shape, batch=batch)
        names = [*CONTENDERS, "copy"]
        found = measure(names, batch_shape, True, options.rounds, options.steps)
        rows += table_rows(found, batch_shape)
        print(markdown(rows), flush=True)
    kernels = on_gpu.by_kernel(dataclasses.replace(shape, batch=1024))
    write(options, shape, rows, kernels)
    return 0


def bytes_of(shape: Shape) -> int:
    """Bytes that a training step moves through memory for one image, if each tensor is moved once.

    Reads + writes of forward, in units of a token's C bf16 numbers: each LayerNorm 2 + 2, qkv
    1 + 3, attention 3 + 1, proj 1 + 1, fc1 1 + 2r (r: the MLP's ratio; GELU's input is kept),
    fc2 r + 1.
    Backward reads both factors of each product for the gradients of weights and inputs:
    fc2 3r + 2, fc1 2r + 2, proj 4, attention 8, qkv 8; each LayerNorm 7, as the gradient of the
    residual is float32.
    """
    r = shape.mlp_ratio
    forward = 8 + 4 + 4 + 2 + (1 + 2 * r) + (r + 1)
    backward = (3 * r + 2) + (2 * r + 2) + 4 + 8 + 8 + 14
    return round((forward + backward) * 2 * shape.dim * shape.tokens * shape.depth)


def table_rows(results: dict[str, Result], shape: Shape) -> list[dict]:
    """One row per contender, with the limits measured in the same run."""
    rate = {name: statistics.median(found.seconds) for name, found in results.items()}
    bandwidth, flops = 2 * on_gpu.COPIED / rate["copy"], 2 * on_gpu.GEMM**3 / rate["gemm"]
    limit = 1 / max(bytes_of(shape) / bandwidth, 3 * shape.flops / flops)
    rows = []
    for name, label in CONTENDERS.items():
        minivit_seconds = results[COUNTERPARTS.get(name, "minivit-bf16")].seconds
        ratios = [b / a for a, b in zip(minivit_seconds, results[name].seconds, strict=True)]
        ratio = None if name.startswith("minivit") else statistics.median(ratios)
        rows.append(
            {
                "batch": shape.batch,
                "name": label,
                "images_per_s": shape.batch / rate[name],
                "minivit_over_it": ratio,
                "ratio_range": [min(ratios), max(ratios)],
                "share_of_roofline": shape.batch / rate[name] / limit,
                "bandwidth_tb_per_s": bandwidth / 1e12,
                "products_tflop_per_s": flops / 1e12,
            }
        )
    return rows


def markdown(rows: list[dict]) -> str:
    lines = [
        "| batch | | images/s | minivit's speed-up | fraction of the roofline |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        ratio = ""
        if row["minivit_over_it"] is not None:
            low, high = row["ratio_range"]
            ratio = f"{row['minivit_over_it']:.2f} ({low:.2f}–{high:.2f})"
        lines.append(
            f"| {row['batch']} | {row['name']} | {row['images_per_s']:,.0f} | {ratio} "
            f"| {row['share_of_roofline']:.2f} |"
        )
    return "\n".join(lines)


def write(options: Options, shape: Shape, rows: list[dict], kernels: list[dict]) -> None:
    """Write gpu_train_step.json and gpu_train_step.md."""
    import cupy

    gpu = cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
    RESULTS.mkdir(exist_ok=True)
    facts = {"date": str(date.today()), "gpu": gpu, **machine(shape), "cupy": cupy.__version__}
    content = {**facts, "shape": shape.as_dict(), "rows": rows, "kernels": kernels}
    (RESULTS / "gpu_train_step.json").write_text(
        json.dumps(content, indent=2) + "\n", encoding="utf-8"
    )
    kernel_rows = "\n".join(
        f"| {row['kernel']} | {row['milliseconds']:.3f} | {row['share']:.1%} |" for row in kernels
    )
    text = (
        f"# A training step of {options.model} on a GPU\n\n{markdown(rows)}\n\n"
        f"{gpu}; CuPy {facts['cupy']}, {facts['packages']}; {facts['date']}; "
        "`python -m benchmarks.gpu`. Medians over alternating rounds; the range of the ratio is in "
        f"parentheses. Measured in the same run: {rows[0]['bandwidth_tb_per_s']:.2f} TB/s "
        f"and {rows[0]['products_tflop_per_s']:.0f} TFLOP/s in bf16.\n\n"
        "## By kernel\nBatch 1024, bf16, without the graph, so that each launch can be timed.\n\n"
        f"| kernel | ms | share |\n|---|---|---|\n{kernel_rows}\n"
    )
    (RESULTS / "gpu_train_step.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    sys.exit(run_command(main, Options, "python -m benchmarks.gpu"))
