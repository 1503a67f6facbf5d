"""What a bug report needs to say about a machine, and nothing that identifies its owner."""

import importlib.metadata
import json
import locale
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import minivit
from minivit.backend import host
from minivit.backend.blas import VECLIB, blas_libraries, describe_blas
from minivit.backend.machine import cpu_name, gpu, memory_bytes, physical_cores, size
from minivit.backend.twins import describe_twins
from minivit.engine.launch import find_launch

PACKAGES = (
    *("numpy", "matplotlib", "pillow", "tqdm", "safetensors", "threadpoolctl", "loky", "tyro"),
    *("filelock", "platformdirs", "msgspec", "numba", "cupy-cuda12x", "cupy-cuda13x", "mpi4py"),
    *("onnx", "tensorboardX", "jupyterlab", "ipywidgets"),
)
"""The packages that minivit and its extras install for users."""
VARIABLES = (
    *(host.SWITCH, host.CORETYPE, "MINIVIT_DATA", VECLIB, "LOKY_MAX_CPU_COUNT"),
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"),
    *("NUMBA_DISABLE_JIT", "NPY_DISABLE_CPU_FEATURES", "CUDA_VISIBLE_DEVICES", "CUPY_TF32"),
    *("MPLBACKEND", "PYTHONUTF8", "PYTHONIOENCODING", "LANG", "LC_ALL"),
)
"""Environment variables that can change results, speed, or what is printed."""
HARMLESS = re.compile(r"[\w.,:+-]{0,40}", re.ASCII)
"""A value that may be printed: a number, a list, a name; but no path or address."""


def bug_report() -> Iterator[tuple[str, str]]:
    """Names and findings, one line each; nothing is measured."""
    commit = find_commit()
    yield "minivit", f"{minivit.__version__}, {kind_of_install()}{commit and f', commit {commit}'}"
    yield "system", platform.platform()
    yield "Python", f"{platform.python_version()} {platform.python_implementation()}"
    yield "environment", "virtual" if sys.prefix != sys.base_prefix else "the system's own"
    yield "CPU", f"{cpu_name()}; {host.instruction_set()}; {platform.machine()}"
    yield "cores", f"{physical_cores()} to use, of {os.cpu_count()} logical ones"
    yield "memory", size(memory_bytes())
    yield "BLAS", ", ".join(map(describe_blas, blas_libraries())) or "not recognized"
    yield "tuning", f"{_without_value(host.tuning.openblas)}; {host.tuning.malloc}"
    yield "element-wise", describe_twins()
    yield "GPU", gpu()
    yield "processes", str(find_launch().size)
    yield "packages", ", ".join(find_packages())
    yield "variables", ", ".join(find_variables()) or "none that matter"
    yield "text", f"{locale.getencoding()}, output {sys.stdout.encoding}"


def kind_of_install() -> str:
    """How this package was installed, as recorded by pip (PEP 610)."""
    try:
        found = importlib.metadata.distribution("minivit")
    except importlib.metadata.PackageNotFoundError:
        return "run from a folder, not installed"
    origin = json.loads(found.read_text("direct_url.json") or "{}")
    if origin.get("dir_info", {}).get("editable"):
        return "installed in editable mode"
    if Path(str(found.locate_file("minivit"))).resolve() != Path(minivit.__file__).parent:
        return "run from a folder; another copy is installed"
    if "vcs_info" in origin:
        return f"installed from {origin['vcs_info']['vcs']}"
    if "dir_info" in origin:
        return "installed from a folder"
    return "installed from a file" if origin else "installed from a package index"


def find_commit() -> str:
    """The commit of the clone that is running, with "-dirty" if files have changed since; an empty
    string if it is not a clone."""
    root = Path(minivit.__file__).resolve().parents[1]
    if not ((root / ".git").exists() and (root / "pyproject.toml").exists()):
        return ""
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.check_output(command, stderr=subprocess.DEVNULL, encoding="utf-8").strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def find_packages() -> Iterator[str]:
    """Names and versions of the installed packages."""
    for name in PACKAGES:
        try:
            yield f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            continue


def find_variables() -> Iterator[str]:
    """NAME=value of each variable that is set; paths are not shown."""
    for name in VARIABLES:
        value = os.environ.get(name)
        if value is not None:
            yield f"{name}={shown_value(value)}"


def shown_value(value: str) -> str:
    """The value if it is harmless, else "(set)"."""
    return value if HARMLESS.fullmatch(value) else "(set)"


def _without_value(tuned: str) -> str:
    """What `host.tune` reported, without the value of the variable that it may quote."""
    value = os.environ.get(host.CORETYPE, "")
    return tuned.replace(value, shown_value(value))
