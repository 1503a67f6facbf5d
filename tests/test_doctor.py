"""The doctor reports what it found, and what could be done about it."""

import re
from pathlib import Path

import pytest

from minivit.backend import host, machine
from minivit.commands import doctor


def test_the_doctor_prints_a_line_for_each_finding(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "gemm_rate", lambda cores: 123.0)
    monkeypatch.setattr(doctor, "memory_bandwidth", lambda cores: 45.0)
    assert doctor.run([]) == 0
    out = capsys.readouterr().out
    for word in ("CPU", "BLAS", "123 GFLOP/s", "45 GB/s", "GPU", "OpenBLAS kernels", "allocator"):
        assert word in out
    assert "processes         one process; " in out
    assert f"instructions      {host.instruction_set()}; " in out
    assert "what to expect    the column" in out


def test_rates_are_measured_and_positive():
    assert machine.gemm_rate(1, side=64) > 0
    assert machine.memory_bandwidth(1, megabytes=1) > 0


@pytest.mark.parametrize(
    ("kernels", "avx512", "variable", "expected"),
    [
        ("Haswell", True, "Haswell", "unset OPENBLAS_CORETYPE"),
        ("Haswell", True, None, "set OPENBLAS_CORETYPE=SkylakeX"),
        ("Haswell", False, None, None),
        ("SkylakeX", True, None, None),
    ],
)
def test_advice_names_the_kernels_that_leave_avx512_unused(
    monkeypatch, kernels, avx512, variable, expected
):
    monkeypatch.setattr(host, "cpu_has_avx512", lambda: avx512)
    monkeypatch.delenv(host.CORETYPE, raising=False)
    if variable:
        monkeypatch.setenv(host.CORETYPE, variable)
    advice = [line for line in doctor.advise([{"architecture": kernels}]) if "AVX-512" in line]
    if expected is None:
        assert advice == []
    else:
        assert len(advice) == 1
        assert expected in advice[0]


@pytest.mark.parametrize(
    ("cpu", "kernels", "expected"),
    [
        ("avx2 avx512f avx512bw avx512dq avx512vl", "SkylakeX", "AVX-512"),
        ("avx2 avx512f avx512bw avx512dq avx512vl", "Haswell", "AVX2"),
        ("avx2", "Haswell", "AVX2"),
        ("sse2", "Nehalem", "others"),
        ("avx2 avx512f avx512bw avx512dq avx512vl", None, "AVX-512"),
    ],
)
def test_the_doctor_points_to_a_column_of_the_table(cpu, kernels, expected, monkeypatch):
    monkeypatch.setattr(host.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(host, "_cpuinfo", lambda: f"flags : {cpu}")
    blas = [{"architecture": kernels} if kernels else {}]
    assert doctor.column(blas) == expected
    assert doctor.kernels_of(blas) == (
        f"OpenBLAS uses its {kernels} kernels" if kernels else "no OpenBLAS"
    )
    page = (Path(__file__).parents[1] / "benchmarks" / "README.md").read_text(encoding="utf-8")
    assert re.search(rf"(\| |^){expected}: ", page, re.MULTILINE | re.IGNORECASE)
