"""Run contenders in alternation, so that changes in the machine's speed affect all of them."""

import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version

from tqdm import tqdm

from benchmarks import isa
from benchmarks.shape import GEMM_FLOPS, Shape
from minivit.backend.host import cpu_has_avx512, cpu_has_bf16
from minivit.backend.machine import cpu_name
from minivit.backend.twins import SWITCH, unavailable_reason
from minivit.ranges import Range

ROUNDS = Range(1, 1_000, "more would not change the results", "rounds")
STEPS = Range(1, 10_000, "more would not change the median", "steps")

CONTENDERS = {
    "minivit": "minivit, fp32",
    "minivit-numpy": "minivit without Numba, fp32",
    "torch": "PyTorch eager, fp32",
    "torch-compiled": "PyTorch compiled, fp32",
    "torch-bf16": "PyTorch eager, bf16 autocast",
    "torch-bf16-compiled": "PyTorch compiled, bf16 autocast",
    "jax": "JAX jit, fp32",
}
NEEDS = {"minivit": "numpy", "minivit-numpy": "numba", "jax": "jax"}

VARIABLES = {"minivit-numpy": {SWITCH: "0"}}
"""Additional environment variables of a contender."""


@dataclass
class Result:
    """seconds: the median step of each round. peak_bytes: the process's peak resident memory."""

    seconds: list[float] = field(default_factory=list)
    peak_bytes: int = 0


class Worker:
    """A contender's process."""

    def __init__(self, name: str, shape: Shape, train: bool):
        command = [sys.executable, "-m", "benchmarks.worker", name, json.dumps(shape.as_dict())]
        self.process = subprocess.Popen(
            [*command, "train" if train else "infer"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            env=os.environ | isa.environment(shape.isa) | VARIABLES.get(name, {}),
        )

    def run(self, steps: int) -> dict:
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        response = self.process.stdout.readline()
        if not response:
            raise RuntimeError(f"{self.process.args[3]} ended with {self.process.wait()}")
        return json.loads(response)

    def stop(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def installed(name: str) -> bool:
    try:
        version(NEEDS.get(name, "torch"))
    except PackageNotFoundError:
        return False
    return True


def obstacle(name: str, shape: Shape) -> str | None:
    """Why a contender cannot be measured here; None if it can."""
    if not installed(name):
        return "it is not installed"
    if name == "jax" and shape.isa == "avx2" and cpu_has_avx512():
        return "its matrix products (YNNPACK) use AVX-512 whenever the CPU has it"
    if "bf16" not in name or shape.device != "cpu":
        return None
    if shape.isa == "avx2":
        return "AVX2 has no bfloat16 instructions"
    if not cpu_has_bf16():
        return "this CPU has no bfloat16 instructions (avx512_bf16, amx_bf16)"
    return None


def measure(
    names: list[str], shape: Shape, train: bool, rounds: int, steps: int
) -> dict[str, Result]:
    """Run each of `names`, and "gemm", for `steps` steps in every round, after a warm-up."""
    names = [*names, "gemm"]
    workers, results = {}, {name: Result() for name in names}
    with contextlib.ExitStack() as stack:
        bar = stack.enter_context(progress(len(names) * (rounds + 1)))
        for name in names:
            bar.set_description(f"warming up {name}")
            workers[name] = Worker(name, shape, train)
            stack.callback(workers[name].stop)
            workers[name].run(3)
            bar.update()
        for i in range(1, rounds + 1):
            for name, worker in workers.items():
                bar.set_description(f"round {i} of {rounds}: {name}")
                response = worker.run(steps)
                results[name].seconds.append(statistics.median(response["seconds"]))
                results[name].peak_bytes = response["peak_bytes"]
                bar.update()
            took = ", ".join(f"{name} {found.seconds[-1]:.3g} s" for name, found in results.items())
            bar.write(f"round {i} of {rounds}: {took}", file=sys.stderr)
    return results


def progress(turns: int) -> tqdm:
    """A progress bar in a terminal; elsewhere only the lines are printed."""
    return tqdm(total=turns, unit="turn", leave=False, dynamic_ncols=True, disable=None)


def table_rows(results: dict[str, Result], shape: Shape, train: bool) -> list[dict]:
    """A row per contender: images/s, minivit's speed-up, fraction of the GEMM limit, memory."""
    minivit_seconds = results["minivit"].seconds
    gemm = statistics.median(results["gemm"].seconds)
    flops = shape.flops * (3 if train else 1)
    limit = GEMM_FLOPS * shape.threads / gemm / flops
    rows = []
    for name, result in results.items():
        if name == "gemm":
            rows.append({"name": "the GEMM limit", "images_per_s": limit})
            continue
        ratios = [
            seconds / reference
            for seconds, reference in zip(result.seconds, minivit_seconds, strict=True)
        ]
        rate = shape.batch / statistics.median(result.seconds)
        rows.append(
            {
                "name": CONTENDERS[name],
                "images_per_s": rate,
                "minivit_over_it": statistics.median(ratios),
                "ratio_range": [min(ratios), max(ratios)],
                "share_of_gemm_limit": rate / limit,
                "peak_mb": result.peak_bytes / 1e6,
            }
        )
    return rows


def markdown(rows: list[dict]) -> str:
    """The rows as a table."""
    lines = [
        "| | images/s | minivit's speed-up | fraction of the GEMM limit | peak memory |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        if "minivit_over_it" not in row:
            lines.append(f"| {row['name']} | {row['images_per_s']:.0f} | | 1 | |")
            continue
        low, high = row["ratio_range"]
        lines.append(
            f"| {row['name']} | {row['images_per_s']:.1f} | {row['minivit_over_it']:.2f} "
            f"({low:.2f}–{high:.2f}) | {row['share_of_gemm_limit']:.2f} "
            f"| {row['peak_mb']:.0f} MB |"
        )
    return "\n".join(lines)


def machine(shape: Shape) -> dict:
    """The machine and software of the measurements."""
    packages = {"numpy": version("numpy")}
    packages |= {name: version(name) for name in ("torch", "jax") if installed(name)}
    if unavailable_reason() is None:
        packages["numba"] = version("numba")
    variables = os.environ | isa.environment(shape.isa)
    return {
        "cpu": cpu_name(),
        "instructions": isa.describe(shape.isa),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "packages": packages,
        "environment": {name: variables[name] for name in isa.avx2() if name in variables},
    }
