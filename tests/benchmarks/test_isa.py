"""Restricted to AVX2, no contender's thread uses AVX-512, according to both the libraries and
Linux."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks import isa, runner
from benchmarks.command import Options, file_name, shape_of
from benchmarks.runner import machine, obstacle
from benchmarks.shape import Shape
from minivit.backend import host
from minivit.errors import UserError

ISAS = ("native", "avx2")
STATUS = Path("/proc/self/arch_status")
NEEDS_AVX512 = pytest.mark.skipif(
    not (host.cpu_has_avx512() and STATUS.exists()), reason="needs AVX-512, and Linux to tell of it"
)
TINY = Shape(dim=32, depth=1, num_heads=2, batch=64, image_size=16, threads=1, isa="avx2")

LIBRARIES = """
import json, sys, warnings
warnings.simplefilter("error")
import minivit
import numpy as np
from threadpoolctl import threadpool_info
kernels = [one["architecture"] for one in threadpool_info() if "architecture" in one]
found = np.show_config(mode="dicts")["SIMD Extensions"]["found"]
print(json.dumps([kernels, found]))
"""
USED = """
import json, os, sys, time
from pathlib import Path
start = time.monotonic()
from benchmarks import worker
from benchmarks.shape import Shape
step = worker.build(sys.argv[1], Shape(**json.loads(sys.argv[2])), True)
for _ in range(3):
    step()
if sys.argv[1].startswith("torch"):
    import torch
    assert torch.backends.cpu.get_cpu_capability() == sys.argv[3]
time.sleep(0.1)  # Linux notes it when a thread pauses
lived = 1000 * (time.monotonic() - start)
threads = [Path("/proc/self/task", one, "arch_status") for one in os.listdir("/proc/self/task")]
ages = [int(one.read_text(encoding="utf-8").split()[-1]) for one in threads]
print(any(0 <= age < lived for age in ages))  # what is older comes from the parent process
"""


def run(program: str, isa_name: str, *arguments: str):
    """The last line that it prints, parsed as JSON."""
    variables = {key: v for key, v in os.environ.items() if key not in isa.avx2()}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=variables | isa.environment(isa_name),
        stdout=subprocess.PIPE,
        encoding="utf-8",
        timeout=300,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1].lower())


@pytest.mark.skipif(host.instruction_set() not in ("AVX2", "AVX-512"), reason="an x86-64 CPU")
def test_numpy_uses_avx2_and_openblas_its_haswell_kernels():
    kernels, found = run(LIBRARIES, "avx2")
    assert set(kernels) <= {"haswell"}
    assert not [name for name in found if name.startswith(("avx512", "x86_v4"))]


@NEEDS_AVX512
@pytest.mark.parametrize(
    ("name", "isa_name"),
    [
        *((name, isa_name) for name in ("gemm", "minivit", "torch") for isa_name in ISAS),
        ("torch-compiled", "avx2"),
    ],
)
def test_a_contender_uses_avx512_unless_restricted_to_avx2(name, isa_name):
    if name.startswith("torch") and find_spec("torch") is None:
        pytest.skip("no PyTorch")
    capability = "AVX2" if isa_name == "avx2" else "AVX512"
    used = run(USED, isa_name, name, json.dumps(TINY.as_dict()), capability)
    assert used is (isa_name == "native")


@pytest.mark.parametrize("name", ["gemm", "minivit", "torch"])
def test_every_worker_starts_with_the_variables(name, monkeypatch):
    started = {}
    monkeypatch.setattr(runner.subprocess, "Popen", lambda *_, env, **__: started.update(env))
    monkeypatch.setenv("OPENBLAS_CORETYPE", "SkylakeX")  # minivit's own choice on a Zen 4 or 5
    runner.Worker(name, TINY, train=True)
    assert isa.avx2().items() <= started.items()
    assert os.environ.items() - started.items() == {("OPENBLAS_CORETYPE", "SkylakeX")}


def test_numpy_gets_only_feature_names_that_it_knows_here(monkeypatch):
    found = ["X86_V3", "X86_V4", "AVX512_ICL"]
    monkeypatch.setattr(
        isa.np, "show_config", lambda mode: {"SIMD Extensions": {"baseline": [], "found": found}}
    )
    monkeypatch.setenv("NPY_DISABLE_CPU_FEATURES", "AVX512_SPR")
    assert isa.numpy_avx512_features() == ["AVX512_SPR", "X86_V4", "AVX512_ICL"]


@pytest.mark.parametrize(
    ("cpu", "native", "restricted"),
    [
        ("avx2 avx512f avx512bw avx512dq avx512vl", "AVX-512", "AVX2 (emulated on a CPU with AVX"),
        ("avx2", "AVX2", "AVX2"),
    ],
)
def test_results_name_the_instruction_set(cpu, native, restricted, monkeypatch):
    monkeypatch.setattr(host.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(host, "_cpuinfo", lambda: f"flags : {cpu}\n")
    facts = machine(Shape())
    assert facts["instructions"] == native
    facts = machine(TINY)
    assert facts["instructions"].startswith(restricted)
    assert facts["environment"]["OPENBLAS_CORETYPE"] == "Haswell"
    assert file_name(Options(shape=TINY), "inference") == "inference_avx2"


def test_a_cpu_without_avx2_is_refused(monkeypatch):
    monkeypatch.setattr(host.platform, "machine", lambda: "aarch64")
    with pytest.raises(UserError, match="NEON"):
        shape_of(Options(shape=TINY))


def test_contenders_that_cannot_be_restricted_to_avx2_are_left_out(monkeypatch):
    monkeypatch.setattr("benchmarks.runner.installed", lambda name: True)
    monkeypatch.setattr("benchmarks.runner.cpu_has_bf16", lambda: True)
    monkeypatch.setattr("benchmarks.runner.cpu_has_avx512", lambda: True)
    native = Shape()
    for name in ("jax", "torch-bf16"):
        assert obstacle(name, native) is None
        assert obstacle(name, TINY)
    assert obstacle("torch", TINY) is None
