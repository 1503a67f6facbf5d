"""Host tuning: what is set, what is left alone, and what is reported."""

import os
import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest

from minivit.backend import host

ZEN5 = "vendor_id : AuthenticAMD\nflags : fpu avx2 avx512f avx512dq avx512bw avx512vl"

PRETEND = f"""
import os, pathlib, platform, sys
platform.machine = lambda: "x86_64"
pathlib.Path.read_text = lambda path, *args, **options: {ZEN5!r}
pathlib.Path.glob = lambda path, pattern: [pathlib.Path("libopenblas.so")]
"""
"""A program's first lines: this machine is a Zen 5, and NumPy brings OpenBLAS."""


@pytest.fixture(autouse=True)
def untouched(monkeypatch):
    """An environment without the two variables, restored afterwards."""
    for name in (host.SWITCH, host.CORETYPE):
        monkeypatch.setenv(name, "")  # saves the previous value
        monkeypatch.delenv(name)
    monkeypatch.setattr(host, "tuning", host.tuning)


@pytest.fixture
def zen5(monkeypatch):
    """A CPU for which OpenBLAS picks slow kernels, and a NumPy built with OpenBLAS, not yet
    imported."""
    monkeypatch.setattr(host.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(host.Path, "read_text", lambda path, **_: ZEN5)
    monkeypatch.setattr(host, "_numpy_bundles_openblas", lambda: True)
    monkeypatch.setattr(host, "sys", SimpleNamespace(modules={}))


def test_an_amd_cpu_with_avx512_gets_the_avx512_kernels(zen5):
    tuning = host.tune()
    assert os.environ[host.CORETYPE] == "SkylakeX"
    assert "SkylakeX" in tuning.openblas
    assert host.tuning is tuning


def test_a_value_set_by_the_user_is_kept(zen5, monkeypatch):
    monkeypatch.setenv(host.CORETYPE, "Haswell")
    assert "Haswell was set already" in host.tune().openblas
    assert os.environ[host.CORETYPE] == "Haswell"


def test_tuning_can_be_switched_off(zen5, monkeypatch):
    monkeypatch.setenv(host.SWITCH, "0")
    monkeypatch.setattr(host, "_keep_freed_memory", lambda: pytest.fail("not off"))
    tuning = host.tune()
    assert tuning == host.Tuning("off (MINIVIT_TUNE=0)", "off (MINIVIT_TUNE=0)")
    assert host.CORETYPE not in os.environ


@pytest.mark.parametrize(
    ("machine", "cpuinfo"),
    [
        ("x86_64", ZEN5.replace("AuthenticAMD", "GenuineIntel")),
        ("x86_64", "vendor_id : AuthenticAMD\nflags : avx2"),
        ("x86_64", "vendor_id : AuthenticAMD\nflags : avx512f avx512bw avx512dq"),
        ("aarch64", ZEN5),
    ],
)
def test_other_cpus_are_left_alone(zen5, machine, cpuinfo, monkeypatch):
    monkeypatch.setattr(host.platform, "machine", lambda: machine)
    monkeypatch.setattr(host.Path, "read_text", lambda path, **_: cpuinfo)
    assert "left alone" in host.tune().openblas
    assert host.CORETYPE not in os.environ


def test_a_system_without_proc_is_left_alone(zen5, monkeypatch):
    def missing(path, **_):
        raise FileNotFoundError(path)

    monkeypatch.setattr(host.Path, "read_text", missing)
    assert "left alone" in host.tune().openblas


def test_another_blas_is_left_alone(zen5, monkeypatch):
    monkeypatch.setattr(host, "_numpy_bundles_openblas", lambda: False)
    assert "does not bundle OpenBLAS" in host.tune().openblas
    assert host.CORETYPE not in os.environ


@pytest.mark.parametrize("kernels", [{"SkylakeX"}, set()])
def test_no_warning_when_numpy_already_uses_good_kernels(zen5, monkeypatch, capsys, kernels):
    monkeypatch.setattr(host, "sys", SimpleNamespace(modules={"numpy": object()}))
    monkeypatch.setattr(host, "_loaded_kernels", lambda: kernels)
    assert "left alone" in host.tune().openblas
    assert capsys.readouterr().err == ""


def test_a_numpy_imported_too_early_is_reported_in_one_line(zen5, monkeypatch, capsys):
    monkeypatch.setattr(host, "_loaded_kernels", lambda: {"Haswell"})
    monkeypatch.setattr(
        host, "sys", SimpleNamespace(modules={"numpy": object()}, stderr=sys.stderr)
    )
    assert "too late" in host.tune().openblas
    assert host.CORETYPE not in os.environ
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("minivit: NumPy was imported first")
    assert "OPENBLAS_CORETYPE=SkylakeX" in line


def run(program):
    return subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=True,
    )


def test_the_package_tunes_before_it_imports_numpy():
    """The import stops before NumPy loads: this CPU may lack the instructions that OpenBLAS is set
    to use."""
    program = f"""{PRETEND}
class Watch:
    def find_spec(self, name, *rest):
        if name == "numpy" and "{host.CORETYPE}" in os.environ:
            print("tuned:", os.environ["{host.CORETYPE}"])
            sys.exit()
sys.meta_path.insert(0, Watch())
import minivit
print("NumPy was not tuned")
"""
    assert run(program).stdout == "tuned: SkylakeX\n"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="OpenBLAS has other kernels here")
def test_the_package_warns_when_numpy_was_imported_first():
    program = f"""
import os
os.environ["{host.CORETYPE}"] = "Haswell"
import numpy
del os.environ["{host.CORETYPE}"]
{PRETEND}
from minivit.backend import host
print(host.tuning)
"""
    done = run(program)
    assert "too late" in done.stdout
    assert len(done.stderr.splitlines()) == 1


def test_the_module_does_not_import_numpy():
    """Otherwise tuning would come too late."""
    program = "import runpy, sys; runpy.run_path(sys.argv[1]); sys.exit('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program, host.__file__], timeout=60, check=False)
    assert done.returncode == 0


def test_the_allocator_is_tuned_where_possible_and_otherwise_left_alone(monkeypatch):
    assert host._keep_freed_memory().startswith(("glibc keeps", "left alone"))
    monkeypatch.setattr(host.platform, "libc_ver", lambda: ("", ""))
    assert "not glibc" in host._keep_freed_memory()


@pytest.mark.parametrize(
    ("machine", "cpuinfo", "expected"),
    [
        ("x86_64", ZEN5, "AVX-512"),
        ("AMD64", "flags : fpu avx2", "AVX2"),
        ("x86_64", "flags : fpu avx2 avx512f", "AVX2"),
        ("x86_64", "flags : fpu sse2", "neither"),
        ("x86_64", "", "only Linux"),
        ("arm64", "", "NEON"),
        ("riscv64", "", "riscv64"),
    ],
)
def test_the_instruction_set_is_named(machine, cpuinfo, expected, monkeypatch):
    monkeypatch.setattr(host.platform, "machine", lambda: machine)
    monkeypatch.setattr(host, "_cpuinfo", lambda: cpuinfo)
    assert expected in host.instruction_set()
