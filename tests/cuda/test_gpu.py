"""`Gpu`: the parts that can be tested without a GPU, and that CuPy has what it calls."""

import ctypes
import re

import numpy as np
import pytest
from cuda import nccl_on_cpu

from minivit.backend.cuda import HERE, kernels
from minivit.backend.cuda.cublaslt import CublasLt
from minivit.backend.cuda.gpu import SCALARS, _convert, _dim3, _Replay


class Stream:
    """Records the calls made to it."""

    def __init__(self):
        self.calls = []

    def begin_capture(self):
        self.calls.append("begin")

    def end_capture(self):
        self.calls.append("end")
        return self

    def launch(self, stream):
        assert stream is self
        self.calls.append("launch")


def test_a_function_runs_once_is_then_captured_and_replayed():
    stream = Stream()
    replay = _Replay(lambda: stream.calls.append("run"), stream)
    for _ in range(4):
        replay()
    assert stream.calls == ["run", "begin", "run", "end", "launch", "launch", "launch"]


def test_a_failed_capture_leaves_no_graph():
    stream, turns = Stream(), iter((1, 0))
    replay = _Replay(lambda: 1 / next(turns), stream)
    replay()
    with pytest.raises(ZeroDivisionError):
        replay()
    assert stream.calls == ["begin", "end"]
    assert replay.graph is None


@pytest.mark.parametrize("file", sorted(path.name for path in HERE.glob("*.cu")))
def test_every_kernel_parameter_can_be_passed(file):
    assert kernels(file)
    for name, types in kernels(file).items():
        for kind in types:
            assert kind.endswith("*") or kind in SCALARS, name


def test_arguments_have_the_size_of_their_parameters():
    array = np.zeros(3)
    assert _convert(array, "const float*") is array
    assert _convert(None, "float*") == 0
    assert _convert(None, "float*").itemsize == ctypes.sizeof(ctypes.c_void_p)
    assert [_convert(7, kind).itemsize for kind in SCALARS] == [4, 4, 4, 8, 8]
    assert (_dim3(5), _dim3((5, 6))) == ((5, 1, 1), (5, 6, 1))


def test_cupy_has_everything_that_is_called():
    cupy, cupyx = pytest.importorskip("cupy"), pytest.importorskip("cupyx")
    for owner, names in {
        cupy.cuda.Device: ("pci_bus_id",),
        cupy.cuda.Stream: ("begin_capture", "end_capture", "use", "synchronize"),
        cupy.cuda.Graph: ("launch",),
        cupy.cuda.Event: ("record", "synchronize"),
        cupy.RawModule: ("get_function",),
        cupy.RawKernel: ("max_dynamic_shared_size_bytes",),
        cupyx: ("zeros_pinned",),
    }.items():
        for name in names:
            assert hasattr(owner, name), name


def test_nccl_calls_match_cupys_signatures():
    nccl = pytest.importorskip("cupy.cuda.nccl")
    if not nccl.available:
        pytest.skip("NCCL is not installed (pip install nvidia-nccl-cu12)")
    signature = nccl.NcclCommunicator.allReduce.__doc__.splitlines()[0]
    words = re.findall(r"(\w+)[,)]", signature)
    assert words == ["self", "sendbuf", "recvbuf", "count", "datatype", "op", "stream"]
    nccl_mock = nccl_on_cpu.Nccl(None)
    for name in ("NCCL_FLOAT32", "NCCL_FLOAT64", "NCCL_SUM"):
        assert getattr(nccl_mock, name) == getattr(nccl, name)
    assert issubclass(nccl.NcclError, Exception)
    assert len(nccl.get_unique_id()) == len(nccl_mock.get_unique_id())


def test_the_real_library_accepts_the_attributes():
    """cuBLASLt accepts product descriptions without a GPU: a wrong number or size would be
    refused."""
    pathfinder = pytest.importorskip("cuda.pathfinder")
    try:
        path = pathfinder.load_nvidia_dynamic_lib("cublasLt").abs_path
    except Exception:
        pytest.skip("libcublasLt is not installed (pip install nvidia-cublas-cu12)")

    class Described:
        """The library, except for what needs a GPU."""

        def __init__(self, library):
            self.library, self.calls = library, []

        def __getattr__(self, name):
            if name in ("cublasLtCreate", "cublasLtMatmul"):
                return lambda *arguments: 0
            if name == "cublasLtMatmulAlgoGetHeuristic":
                return self._choose
            self.calls.append(name)
            return getattr(self.library, name)

        def _choose(self, *arguments):
            arguments[-1]._obj.value = 1
            return 0

    library = Described(ctypes.CDLL(path))
    lt = CublasLt(library, lambda array: array.ctypes.data, np.empty(1024, np.uint8))
    a, b, out = (np.zeros(shape, np.uint16) for shape in ((16, 8), (8, 24), (16, 24)))
    bias, gradient = np.zeros(24, np.uint16), np.zeros(24, np.float32)
    weights = np.zeros((8, 24), np.float32)
    assert not lt.matmul(a, b, out, 0, bias=bias)
    assert lt.matmul(a, b, out, 0, bias=bias, gelu=out.copy())
    assert lt.matmul(out, b, a, 0, transpose_b=True, dgelu=a.copy())
    assert lt.matmul(a, out, weights, 0, transpose_a=True, bias_gradient=gradient)
    assert library.calls.count("cublasLtMatmulDescSetAttribute") >= 16
