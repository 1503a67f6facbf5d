"""The doctor says what it found, and what could be done about it."""

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
