"""`minivit doctor`: this machine, how minivit uses it, and what would make it faster."""

import importlib.util
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from minivit.backend import host
from minivit.backend.blas import (
    VECLIB,
    blas_libraries,
    describe_blas,
    one_accelerate_thread,
    uses_accelerate,
)
from minivit.backend.machine import (
    cpu_name,
    gemm_rate,
    gpu,
    memory_bandwidth,
    physical_cores,
)
from minivit.backend.twins import describe_twins
from minivit.commands.bug_report import bug_report
from minivit.commands.cli import parse
from minivit.engine.distributed import describe_world, find_world


@dataclass(frozen=True)
class Options:
    """Report on this machine: CPU, BLAS, speed, GPU, and what is tuned."""

    report: bool = False
    """Print what to paste into a bug report, and measure nothing: versions, CPU, BLAS, system, and
    environment variables that minivit or its libraries read; no user name and no path.
    """


def main(options: Options) -> int:
    """Print the findings and the advice, or the report; with several ranks, only rank 0 does."""
    return find_world().from_main(report if options.report else print_findings)


def report() -> int:
    """Print what to paste into a bug report."""
    for name, found in bug_report():
        print(f"{name:18}{found}")
    return 0


def print_findings() -> int:
    """Print the findings, then the advice."""
    cores = physical_cores()
    blas = blas_libraries()
    print(f"{'CPU':18}{cpu_name()}, {cores} physical core{'s' * (cores > 1)} to use")
    print(f"{'instructions':18}{host.instruction_set()}; {kernels_of(blas)}")
    print(f"{'Python':18}{platform.python_version()}, NumPy {np.__version__}")
    print(f"{'BLAS':18}{', '.join(map(describe_blas, blas)) or 'not recognized'}")
    print(f"{'products':18}{gemm_rate(cores):.0f} GFLOP/s in float32 on {cores} cores")
    print(f"{'memory':18}{memory_bandwidth(cores):.0f} GB/s, read and written")
    print(f"{'GPU':18}{gpu()}")
    print(f"{'processes':18}{describe_world()}")
    print(f"{'OpenBLAS kernels':18}{host.tuning.openblas}")
    print(f"{'allocator':18}{host.tuning.malloc}")
    print(f"{'element-wise':18}{describe_twins()}")
    print(f"{'what to expect':18}the column {column(blas)!r} of the table in benchmarks/README.md")
    advice = list(advise(blas))
    print("\nWhat you could do:" if advice else "\nNothing to improve that we know of.")
    for line in advice:
        print(f"- {line}")
    return 0


def architectures(blas: list[dict]) -> set[str]:
    """The CPU architectures whose kernels the loaded OpenBLAS chose."""
    return {str(library["architecture"]) for library in blas if library.get("architecture")}


def kernels_of(blas: list[dict]) -> str:
    """Which of its kernels OpenBLAS chose."""
    names = " and ".join(sorted(architectures(blas)))
    return f"OpenBLAS uses its {names} kernels" if names else "no OpenBLAS"


def leaves_avx512_unused(blas: list[dict]) -> bool:
    """Whether this CPU has AVX-512 but OpenBLAS does not use it."""
    names = architectures(blas)
    return host.cpu_has_avx512() and bool(names) and names <= host.WITHOUT_AVX512


def column(blas: list[dict]) -> str:
    """The table column for a CPU with these kernels: "AVX-512", "AVX2" or "others"."""
    if leaves_avx512_unused(blas):
        return "AVX2"
    found = host.instruction_set()
    return found if found in ("AVX-512", "AVX2") else "others"


def advise(blas: list[dict]) -> Iterator[str]:
    """What would make minivit faster on this machine, as far as we can tell."""
    if leaves_avx512_unused(blas):
        variable = os.environ.get(host.CORETYPE)
        how = f"unset {host.CORETYPE}" if variable else f"set {host.CORETYPE}=SkylakeX"
        names = "/".join(sorted(architectures(blas)))
        yield (
            f"This CPU has AVX-512, but OpenBLAS runs its {names} kernels, at about half the "
            f"speed: {how}"
        )
    if os.environ.get(host.SWITCH) == "0":
        yield f"{host.SWITCH}=0 switches minivit's tuning off: unset it"
    if importlib.util.find_spec("numba") is None:
        yield 'Training takes a fifth less time with Numba: pip install "minivit[fast]"'
    if not blas:
        yield "threadpoolctl cannot limit the threads of NumPy's BLAS: try NumPy from PyPI"
    if uses_accelerate() and VECLIB not in os.environ and not one_accelerate_thread():
        yield (
            "Accelerate should use one thread in each of minivit's workers, which before macOS 15 "
            f"can only be set in the environment: set {VECLIB}=1"
        )
    if importlib.util.find_spec("cupy") is None:
        yield (
            'With an NVIDIA GPU: pip install "cupy-cuda12x[ctk]" (or "cupy-cuda13x[ctk]"), '
            "then --device cuda"
        )


def run(argv: list[str], prog: str = "minivit doctor") -> int:
    """Parse the flags and run."""
    return main(parse(Options, argv, prog))
