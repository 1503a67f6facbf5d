# ruff: noqa: N802  (the names are CuPy's)
"""The parts of CuPy and its `cuda.nccl` that `Nccl` calls, implemented over MPI on host arrays.

Like NCCL, it gets addresses, counts and type numbers (those of nccl.h) instead of arrays: a wrong
value gives wrong sums.
"""

import ctypes
import os
from types import SimpleNamespace

import numpy as np


class Nccl:
    """Replaces `cupy.cuda.nccl`."""

    NCCL_FLOAT32, NCCL_FLOAT64, NCCL_SUM = 7, 8, 0

    class NcclError(RuntimeError):
        """The exception that the communicator raises."""

    def __init__(self, mpi):
        self.mpi, self.counts = mpi, []

    def get_unique_id(self):
        return os.urandom(128)

    def NcclCommunicator(self, size, identity, rank):
        ranks = self.mpi.COMM_WORLD
        assert (size, rank) == (ranks.size, ranks.rank)
        assert len(identity) == 128
        assert len(set(ranks.allgather(identity))) == 1
        return self

    def allReduce(self, source, target, count, kind, operation, stream):
        assert (source, operation, stream) == (target, self.NCCL_SUM, Stream.ptr)
        number = {self.NCCL_FLOAT32: ctypes.c_float, self.NCCL_FLOAT64: ctypes.c_double}[kind]
        array = np.ctypeslib.as_array((number * count).from_address(target))
        self.counts.append(count)
        self.mpi.COMM_WORLD.Allreduce(self.mpi.IN_PLACE, array)


class Stream:
    ptr = 77


class Event:
    """An event that counts as recorded only after it was waited for."""

    def __init__(self, disable_timing):
        assert disable_timing
        self.under_way = False

    def synchronize(self):
        self.under_way = False

    def record(self, stream):
        assert isinstance(stream, Stream)
        assert not self.under_way
        self.under_way = True


cupy = SimpleNamespace(
    ndarray=np.ndarray, cuda=SimpleNamespace(Event=Event, get_current_stream=Stream)
)
"""In place of CuPy: every array is on the GPU."""
