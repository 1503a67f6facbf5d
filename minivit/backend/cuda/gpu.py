"""An NVIDIA GPU as a `Device` of `FusedStep`: CuPy's memory and launches, cuBLASLt, graphs."""

import ctypes
from collections.abc import Callable, Sequence
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np

from minivit.backend.cuda import kernels, source
from minivit.backend.cuda.cublaslt import CublasLt
from minivit.errors import UserError

SCALARS = {
    "int": np.int32,
    "unsigned": np.uint32,
    "float": np.float32,
    "long long": np.int64,
    "unsigned long long": np.uint64,
}
WORKSPACE_BYTES = 32 * 1024 * 1024  # as cuBLAS recommends for Hopper
DEFAULT_SHARED_BYTES = 48 * 1024  # bytes of shared memory per block without opting in to more
SLOTS = 4  # uploads that may be in flight


class Gpu:
    """The current CuPy device; all its work goes to one stream, which becomes the thread's current
    stream.

    The stream synchronizes with the default one, so that other threads' arrays are ready when they
    are used. (The default stream itself cannot be captured.)

    graph: whether `replay` captures a CUDA graph; without it, kernels are launched each time.

    Raises:
        UserError: cuBLASLt is not installed.
    """

    def __init__(self, graph: bool = True):
        import cupy

        device = cupy.cuda.Device()
        self.cupy, self.graph, self.index = cupy, graph, device.id
        self.max_shared = device.attributes["MaxSharedMemoryPerBlockOptin"]
        self.stream, self._lt = _stream_and_products(device.id)
        self.stream.use()
        self._upload_buffers: dict[int, _UploadBuffer] = {}

    def zeros(self, shape: Sequence[int], dtype: str) -> Any:
        return self.cupy.zeros(shape, dtype)

    def array(self, host: np.ndarray) -> Any:
        return self.cupy.asarray(host)

    def launch(
        self,
        file: str,
        kernel: str,
        grid: Any,
        block: Any,
        *arguments: Any,
        shared: int = 0,
        **sizes: Any,
    ) -> None:
        function = _compiled(self.index, file, kernel, shared, tuple(sorted(sizes.items())))
        types = kernels(file)[kernel]
        converted = tuple(_convert(a, kind) for a, kind in zip(arguments, types, strict=True))
        function(_dim3(grid), _dim3(block), converted, shared_mem=shared, stream=self.stream)

    def matmul(self, a: Any, b: Any, out: Any, **options: Any) -> bool:
        return self._lt.matmul(a, b, out, self.stream.ptr, **options)

    def upload(self, array: Any, host: np.ndarray) -> None:
        if id(array) not in self._upload_buffers:
            self._upload_buffers[id(array)] = _UploadBuffer(self.cupy, array, self.stream)
        self._upload_buffers[id(array)].put(host)

    def download(self, array: Any) -> np.ndarray:
        return array.get(stream=self.stream)

    def replay(self, function: Callable[[], None]) -> Callable[[], None]:
        return _Replay(function, self.stream) if self.graph else function


@cache
def _compiled(index: int, file: str, kernel: str, shared: int, sizes: tuple) -> Any:
    """A kernel compiled for these sizes, on the current GPU; index: its number, for the cache."""
    import cupy

    options = ("--std=c++17", *(f"-D{name}={value}" for name, value in sizes))
    function = cupy.RawModule(code=source(file), options=options).get_function(kernel)
    # CuPy shares one kernel among all callers with the same options: the limit is only ever raised
    if shared > max(DEFAULT_SHARED_BYTES, function.max_dynamic_shared_size_bytes):
        function.max_dynamic_shared_size_bytes = shared
    return function


@cache
def _stream_and_products(index: int) -> tuple[Any, CublasLt]:
    """The stream of the current GPU, and its products; index: its number, for the cache. There is
    only one stream, as two would not wait for each other.
    """
    import cupy

    workspace = cupy.empty(WORKSPACE_BYTES, np.uint8)
    products = CublasLt(_load_cublaslt(), lambda array: array.data.ptr, workspace)
    return cupy.cuda.Stream(), products


def _load_cublaslt() -> ctypes.CDLL:
    from cuda import pathfinder  # comes with CuPy

    try:
        return ctypes.CDLL(pathfinder.load_nvidia_dynamic_lib("cublasLt").abs_path)
    except (pathfinder.DynamicLibNotFoundError, OSError):
        raise UserError(
            "--precision bf16 needs NVIDIA's library cublasLt, which was not found; install the "
            "CUDA toolkit, or pip install nvidia-cublas-cu12 (or nvidia-cublas), or train with "
            "--precision tf32"
        ) from None


class _UploadBuffer:
    """Copies host arrays to a device array asynchronously.

    The copy runs when the GPU reaches it, so the source must not change until then: it is held in
    one of a few pinned buffers, used in turn.
    """

    def __init__(self, cupy: ModuleType, array: Any, stream: Any):
        from cupyx import zeros_pinned

        self.array, self.stream, self.count = array, stream, 0
        self.buffers = [zeros_pinned(array.shape, array.dtype) for _ in range(SLOTS)]
        self.copied = [cupy.cuda.Event(disable_timing=True) for _ in range(SLOTS)]

    def put(self, host: np.ndarray) -> None:
        slot = self.count % SLOTS
        self.count += 1
        self.copied[slot].synchronize()
        self.buffers[slot][...] = host
        self.array.set(self.buffers[slot], stream=self.stream)
        self.copied[slot].record(self.stream)


class _Replay:
    """A function that only launches kernels, as one CUDA graph.

    The first call runs it normally, so that kernels are compiled and products planned, which a
    capture does not allow; the second captures it; from then on a single launch runs all of it.
    """

    def __init__(self, function: Callable[[], None], stream: Any):
        self.function, self.stream = function, stream
        self.warm = False
        self.graph: Any = None

    def __call__(self) -> None:
        if not self.warm:
            self.function()
            self.warm = True
            return
        if self.graph is None:
            self.graph = self._capture()
        self.graph.launch(self.stream)

    def _capture(self) -> Any:
        self.stream.begin_capture()
        try:
            self.function()
        except BaseException:
            self.stream.end_capture()  # a failed capture must not be replayed
            raise
        return self.stream.end_capture()


def _convert(argument: Any, kind: str) -> Any:
    """The argument as a NumPy scalar of the parameter's type, which CuPy passes by its bytes."""
    if kind.endswith("*"):
        return np.int64(0) if argument is None else argument
    return SCALARS[kind](argument)


def _dim3(size: Any) -> tuple[int, int, int]:
    return (*size, 1, 1)[:3] if isinstance(size, tuple) else (size, 1, 1)
