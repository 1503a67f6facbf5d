"""Which library an array belongs to, and which device a name refers to."""

import sys
from types import ModuleType

import numpy as np
import pytest

from minivit import UserError, ViT, ViTConfig
from minivit.backend import arrays as backend
from minivit.backend import astype_like, get_xp, parse_device, require_same_xp, to_device, to_host


class FakeArray:
    """Replaces `cupy.ndarray` on a machine without a GPU."""

    shape = (1, 3, 32, 32)

    def get(self):
        return np.arange(3)


@pytest.fixture
def fake_cupy(monkeypatch):
    module = ModuleType("cupy")
    module.ndarray = FakeArray
    monkeypatch.setitem(sys.modules, "cupy", module)
    return module


def test_a_numpy_array_belongs_to_numpy(fake_cupy):
    assert get_xp(np.zeros(2)) is np


def test_finding_the_library_does_not_import_cupy(monkeypatch):
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    assert get_xp(np.zeros(2)) is np
    assert "cupy" not in sys.modules


def test_a_cupy_array_belongs_to_cupy(fake_cupy):
    assert get_xp(FakeArray()) is fake_cupy


def test_arrays_of_the_same_library_give_that_library(fake_cupy):
    assert require_same_xp(a=np.zeros(1), b=np.ones(2)) is np
    assert require_same_xp(a=FakeArray(), b=FakeArray()) is fake_cupy


def test_mixed_libraries_are_refused_and_both_are_named(fake_cupy):
    with pytest.raises(UserError) as raised:
        require_same_xp(images=FakeArray(), weights=np.zeros(1))
    message = str(raised.value)
    assert "images is a cupy array" in message
    assert "weights is a numpy array" in message
    assert "\n" not in message


def test_a_model_on_the_cpu_refuses_images_on_a_gpu(fake_cupy):
    with pytest.raises(UserError, match="images is a cupy array, weights is a numpy array"):
        ViT(ViTConfig(dim=8, depth=1)).forward(FakeArray())


def test_arrays_are_copied_to_the_host(fake_cupy):
    host = np.zeros(2)
    assert to_host(host) is host
    assert to_host(FakeArray()).tolist() == [0, 1, 2]
    assert to_device(FakeArray(), "cpu").tolist() == [0, 1, 2]


def test_astype_like_copies_only_where_needed():
    x = np.zeros(2, "float32")
    assert astype_like(x, np.ones(1, "float32")) is x
    assert astype_like(x, np.ones(1)).dtype == np.float64


@pytest.mark.parametrize(("word", "number"), [("cpu", None), ("cuda", 0), ("cuda:1", 1)])
def test_device_names_select_a_device(word, number, monkeypatch):
    monkeypatch.setattr(backend.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(backend, "count_gpus", lambda: 2)
    assert parse_device(word) == number


@pytest.mark.parametrize(
    "word",
    [
        *("tpu", "", "CPU", "gpu", "cuda:x", "cuda:-1", "cuda:²", "cpu:0"),
        pytest.param(f"cuda:{2**64}", id="20 digits"),
    ],
)
def test_an_unknown_device_name_is_refused_in_one_line(word):
    with pytest.raises(UserError) as raised:
        parse_device(word)
    assert str(raised.value) == f'device "{word}" is unknown; expected cpu, cuda or cuda:N'


@pytest.mark.parametrize(
    ("installed", "gpus", "words"),
    [
        (None, 0, ["--device cuda:1", "CuPy", "not installed", "--device cpu"]),
        (object(), 0, ["GPU number 1", "0 NVIDIA GPU(s)", "--device cpu"]),
        (object(), 1, ["GPU number 1", "1 NVIDIA GPU(s)"]),
    ],
)
def test_a_missing_gpu_is_reported_in_one_line(installed, gpus, words, monkeypatch):
    monkeypatch.setattr(backend.importlib.util, "find_spec", lambda name: installed)
    monkeypatch.setattr(backend, "count_gpus", lambda: gpus)
    with pytest.raises(UserError) as raised:
        parse_device("cuda:1")
    message = str(raised.value)
    assert "\n" not in message
    assert [word for word in words if word not in message] == []


def test_counting_gpus_without_a_driver_is_not_an_error():
    pytest.importorskip("cupy")
    assert backend.count_gpus() >= 0
