"""Sums over several GPUs by NVIDIA's NCCL, through CuPy: one GPU per process."""

from collections.abc import Callable
from typing import Any

from minivit.backend.arrays import count_gpus
from minivit.errors import UserError

SLOTS = 4  # sums that may be in flight


class Nccl:
    """Sums over all ranks, each of which has its own GPU, the current one.

    A sum is queued behind the GPU's other work, and the call returns at once; but only a few sums
    may be pending, so that a GPU that hangs is noticed.

    Args:
        cupy: the library, or a stand-in for it in tests. nccl: its `cuda.nccl`. address: returns
            the address of an array. rank: of this process. size: number of ranks. identity: what
            `new_identity` returned on rank 0.
    """

    def __init__(
        self,
        cupy: Any,
        nccl: Any,
        address: Callable[[Any], int],
        rank: int,
        size: int,
        identity: Any,
    ):
        self._cupy, self._nccl, self._address = cupy, nccl, address
        self._types = {"float32": nccl.NCCL_FLOAT32, "float64": nccl.NCCL_FLOAT64}
        self._communicator = nccl.NcclCommunicator(size, identity, rank)
        self._ended = [cupy.cuda.Event(disable_timing=True) for _ in range(SLOTS)]
        self._count = 0

    def has(self, array: Any) -> bool:
        """Whether the array is on a GPU."""
        return isinstance(array, self._cupy.ndarray)

    def add(self, array: Any) -> None:
        """Replace an array by its sum over the ranks, asynchronously.

        Raises:
            UserError: another rank or its GPU is lost.
        """
        ended = self._ended[self._count % SLOTS]
        self._count += 1
        ended.synchronize()
        stream, address = self._cupy.cuda.get_current_stream(), self._address(array)
        kind = self._types[str(array.dtype)]
        try:
            self._communicator.allReduce(
                address, address, array.size, kind, self._nccl.NCCL_SUM, stream.ptr
            )
        except self._nccl.NcclError as error:
            raise UserError(
                f"the GPUs lost contact with each other: {error}; the last checkpoint is intact: "
                "resume from it"
            ) from None
        ended.record(stream)


def new_identity() -> Any:
    """What rank 0 sends to the others so that they can connect. Raises as `connect`."""
    return _library().get_unique_id()


def connect(rank: int, size: int, identity: Any) -> Nccl:
    """Connect the current GPU. Raises UserError if CuPy does not find NCCL."""
    import cupy

    return Nccl(cupy, _library(), lambda array: array.data.ptr, rank, size, identity)


def _library() -> Any:
    try:
        from cupy.cuda import nccl
    except ImportError:
        nccl = None
    if nccl is None or not nccl.available:
        raise UserError(
            "several ranks on GPUs need NVIDIA's library NCCL, which CuPy does not find; pip "
            "install nvidia-nccl-cu12 (or nvidia-nccl-cu13), or start one process"
        )
    return nccl


def find_gpu(number: int) -> tuple[int, str]:
    """The GPU for process `number` of this machine, and its PCI bus ID, which identifies it to
    other processes; a launcher may show each process only one GPU, as number 0.
    """
    import cupy

    index = number % count_gpus()
    return index, cupy.cuda.Device(index).pci_bus_id
