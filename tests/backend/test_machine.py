"""Cores, names and BLAS as reported by Linux, macOS and Windows; the latter two are simulated."""

import subprocess
import sys
import warnings
from types import SimpleNamespace

import loky
import numpy as np
import pytest

from minivit.backend import blas, machine
from minivit.commands import doctor
from minivit.engine import DataParallel
from minivit.models import ViT, ViTConfig


@pytest.fixture
def fresh():
    """Clears the values cached per process, before and after."""
    cached = (machine._sysctl, machine.describe_arithmetic, blas.uses_accelerate)
    for function in (*cached, blas._accelerate_threading):
        function.cache_clear()
    yield
    for function in (*cached, blas._accelerate_threading):
        function.cache_clear()


@pytest.fixture
def mac(fresh, monkeypatch):
    """A Mac with four performance cores, simulated through sysctl, NumPy and Accelerate; returns
    the calls made to Accelerate, which a test can turn into the version before macOS 15."""
    outputs = {"hw.perflevel0.physicalcpu": "4\n", "machdep.cpu.brand_string": "Apple M2\n"}
    calls: list[int] = []

    def check_output(command, **_):
        if command[2] not in outputs:
            raise subprocess.CalledProcessError(1, command)
        return outputs[command[2]]

    def set_threading(model):
        calls.append(model)
        return 0

    monkeypatch.setattr(machine, "sys", SimpleNamespace(platform="darwin"))
    monkeypatch.setattr(machine.subprocess, "check_output", check_output)
    monkeypatch.setattr(machine.Path, "exists", lambda path: False)
    monkeypatch.setattr(blas, "threadpool_info", lambda: [])
    monkeypatch.setattr(blas.platform, "mac_ver", lambda: ("15.1", ("", "", ""), "arm64"))
    built = {"Build Dependencies": {"blas": {"name": "accelerate"}}}
    monkeypatch.setattr(np, "show_config", lambda mode: built)
    library = SimpleNamespace(BLASSetThreading=set_threading)
    monkeypatch.setattr(blas, "ctypes", SimpleNamespace(CDLL=lambda path: library))
    return SimpleNamespace(calls=calls, library=library, outputs=outputs)


def test_a_mac_counts_its_performance_cores(mac, monkeypatch):
    monkeypatch.setattr(loky, "cpu_count", lambda only_physical_cores: 8)
    assert machine.physical_cores() == 4
    monkeypatch.setattr(loky, "cpu_count", lambda only_physical_cores: 2)
    assert machine.physical_cores() == 2


def test_a_mac_with_one_kind_of_core_counts_all_of_them(mac, monkeypatch):
    del mac.outputs["hw.perflevel0.physicalcpu"]
    monkeypatch.setattr(loky, "cpu_count", lambda only_physical_cores: 8)
    assert machine.physical_cores() == 8


def test_the_names_of_a_mac_and_of_accelerate_are_found(mac):
    assert machine.cpu_name() == "Apple M2"
    assert [blas.describe_blas(one) for one in blas.blas_libraries()] == [
        "Accelerate of macOS 15.1"
    ]
    assert "Accelerate of macOS 15.1" in machine.describe_arithmetic()
    assert doctor.kernels_of(blas.blas_libraries()) == "no OpenBLAS"


def test_each_worker_sets_accelerate_to_one_thread(mac):
    config = ViTConfig(image_size=8, patch_size=4, dim=8, depth=1, num_heads=2, num_classes=2)
    with DataParallel(ViT(config), 3) as workers:
        workers.logits(np.zeros((6, 3, 8, 8), np.float32))
    assert mac.calls
    assert set(mac.calls) == {blas.SINGLE_THREADED}


def test_before_macos_15_the_doctor_names_the_variable(mac, monkeypatch):
    def advice():
        found = doctor.advise(blas.blas_libraries())
        return [line for line in found if blas.VECLIB in line]

    monkeypatch.delenv(blas.VECLIB, raising=False)
    assert advice() == []
    del mac.library.BLASSetThreading
    blas._accelerate_threading.cache_clear()
    assert len(advice()) == 1
    monkeypatch.setenv(blas.VECLIB, "1")
    assert advice() == []


def test_another_blas_is_left_alone(fresh, monkeypatch):
    library = SimpleNamespace(CDLL=lambda path: pytest.fail("there is no Accelerate"))
    monkeypatch.setattr(blas, "ctypes", library)
    monkeypatch.setattr(np, "show_config", lambda mode: None)
    assert not blas.one_accelerate_thread()


def test_sysctl_is_not_called_on_other_systems(fresh, monkeypatch):
    monkeypatch.setattr(machine, "sys", SimpleNamespace(platform="linux"))
    monkeypatch.setattr(
        machine.subprocess, "check_output", lambda *_, **__: pytest.fail("a program was started")
    )
    assert machine._sysctl("hw.physicalcpu") == ""


def test_on_windows_the_cpu_name_comes_from_the_registry(fresh, monkeypatch):
    class Key:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

    registry = SimpleNamespace(
        HKEY_LOCAL_MACHINE=0,
        OpenKey=lambda root, path: Key(),
        QueryValueEx=lambda key, name: ("AMD Ryzen 7 7840U  ", 1),
    )
    monkeypatch.setitem(sys.modules, "winreg", registry)
    monkeypatch.setattr(machine, "sys", SimpleNamespace(platform="win32"))
    monkeypatch.setattr(machine.Path, "exists", lambda path: False)
    assert machine.cpu_name() == "AMD Ryzen 7 7840U"
    registry.OpenKey = lambda root, path: (_ for _ in ()).throw(FileNotFoundError(path))
    monkeypatch.setattr(machine.platform, "processor", lambda: "AMD64 Family 25")
    assert machine.cpu_name() == "AMD64 Family 25"


def test_a_limit_on_the_cpu_count_is_respected(monkeypatch):
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    assert machine.physical_cores() == 1


def test_unknown_core_topology_is_counted_without_a_warning(monkeypatch, capsys):
    """On Linux for Arm, loky would warn and print a traceback."""
    from loky.backend import context

    def silent(*_):
        raise ValueError("could not find any physical core in /proc/cpuinfo")

    monkeypatch.setattr(context, "_count_physical_cores_linux", silent)
    monkeypatch.setattr(context, "physical_cores_cache", {}, raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert machine.physical_cores() >= 1
    assert capsys.readouterr().err == ""
