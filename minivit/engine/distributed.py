"""Ranks: the processes that train one model together, on one machine or on many.

Only this file knows about MPI; the others use a `World`. `mpiexec -n 4 minivit train` starts four
processes and announces them in the environment (`launch.py`); without a launcher there is one
process, and mpi4py is not even imported.

The ranks run the same program. What a step does is a function of (seed, step, index in the batch),
so they agree on it without communication; they communicate to sum gradients, and to stop together.
"""

import contextlib
import functools
import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import numpy as np

from minivit.backend import Array, parse_device, use_device
from minivit.backend.cuda import nccl
from minivit.backend.machine import physical_cores
from minivit.engine.launch import find_launch
from minivit.engine.watchdog import Watchdog
from minivit.engine.world import World
from minivit.errors import UserError

T = TypeVar("T")
TIMEOUT = 300
"""Seconds that a rank waits for the others by default."""
SETUP_ADVICE = "find out what hangs, then start again; --timeout sets how long to wait"
"""Advice about a rank that hangs before the first step."""
HEARTBEAT_TAG = 1
"""Tag of the messages by which a rank that works alone signals that it is alive."""


class Ranks(World):
    """Several processes, through MPI."""

    def __init__(self, mpi: Any):
        self._mpi, self._comm = mpi, mpi.COMM_WORLD
        self._local = self._comm.Split_type(mpi.COMM_TYPE_SHARED)
        self.rank, self.size = self._comm.rank, self._comm.size
        vendor, version = mpi.get_vendor()
        self.library = f"{vendor} {'.'.join(map(str, version))}"
        self.name = f"rank {self.rank} on {platform.node()}"
        self._overlaps = mpi.Query_thread() == mpi.THREAD_MULTIPLE
        self._watchdog = Watchdog(
            self.name, self.report_delay, self._received_heartbeat, lambda: self.abort(2)
        )
        self.set_timeout(TIMEOUT, SETUP_ADVICE)
        with self._waiting():
            self.threads = _cores_per_process(self._local.allgather(_cpus()))
        self._gpus: nccl.Nccl | None = None
        self._background = ThreadPoolExecutor(1, "minivit-all-reduce")

    @property
    def report_delay(self) -> float:
        """Seconds before this rank reports an error that others may report, too: one line is
        enough.
        """
        return 0.0 if self.main else 1.0 + 0.05 * self.rank

    @contextlib.contextmanager
    def _waiting(self) -> Iterator[None]:
        """Wraps code that needs the other ranks."""
        try:
            with self._watchdog.waiting():
                yield
        except self._mpi.Exception as error:
            raise UserError(
                f"{self.name} lost contact with the others: {error}; the last checkpoint is "
                "intact: resume from it"
            ) from None

    def all_reduce(self, array: Array) -> None:
        with self._waiting():
            if self._gpus is not None and self._gpus.has(array):
                self._gpus.add(array)
            else:
                self._comm.Allreduce(self._mpi.IN_PLACE, array)

    def start_all_reduce(self, array: Array) -> Callable[[], None]:
        if not self._overlaps or self._gpus is not None:
            return functools.partial(self.all_reduce, array)
        with self._waiting():
            request = self._comm.Iallreduce(self._mpi.IN_PLACE, array)
        future = self._background.submit(_poll_until_done, request)

        def wait() -> None:
            with self._waiting():
                future.result()

        return wait

    def any(self, flag: bool) -> bool:
        found = np.array([flag], np.int32)
        self.all_reduce(found)
        return bool(found[0])

    def from_main(self, function: Callable[[], T]) -> T:
        found = None
        if self.main:
            with self._working():
                found = function()
        with self._waiting():
            self._barrier(self._comm)
            return self._comm.bcast(found)

    def in_turn(self, function: Callable[[], T]) -> T:
        if self._local.rank == 0:
            with self._working():
                found = function()
        with self._waiting():
            self._barrier(self._local)
        if self._local.rank != 0:
            with self._working():
                found = function()
        return found

    @contextlib.contextmanager
    def _working(self) -> Iterator[None]:
        """Wraps what this rank does while others wait, such as a download: it signals once a second
        that it is alive.
        """
        done = threading.Event()

        def send() -> None:
            while not done.wait(1.0):
                for rank in set(range(self.size)) - {self.rank}:
                    self._comm.Isend(bytearray(), rank, HEARTBEAT_TAG).Free()

        if self._overlaps:
            threading.Thread(target=send, name="minivit-alive", daemon=True).start()
        try:
            yield
        finally:
            done.set()

    def _received_heartbeat(self) -> bool:
        """Whether a rank has signaled since the last call that it is alive."""
        received = False
        while self._overlaps and self._comm.Iprobe(tag=HEARTBEAT_TAG):
            self._comm.Recv(bytearray(), tag=HEARTBEAT_TAG)
            received = True
        return received

    def _barrier(self, comm: Any) -> None:
        """Wait for all, without taking cores from ranks that are still working: MPI busy-waits."""
        request = comm.Ibarrier()
        while not request.Test():
            time.sleep(0.01)

    def require_same(self, **values: str) -> None:
        with self._waiting():
            gathered = self._comm.allgather((self.name, values))
        first, expected = gathered[0]
        for name, found in gathered:
            for key in found:
                if found[key] != expected[key]:
                    raise UserError(
                        f"{name} differs from {first} in its {key.replace('_', ' ')}; all ranks "
                        "need the same"
                    )

    def set_timeout(self, seconds: float, advice: str) -> None:
        self._watchdog.limit = seconds, advice

    def local_device(self, device: str) -> str:
        if parse_device(device) is None:
            return device
        if ":" in device:
            raise UserError(
                f"--device {device} is one GPU for {self.size} ranks; --device cuda gives each its "
                "own"
            )
        index, bus_id = nccl.find_gpu(self._local.rank)
        with self._waiting():
            bus_ids = self._local.allgather(bus_id)
        if len(set(bus_ids)) < len(bus_ids):
            raise UserError(
                f"{len(bus_ids)} ranks on {platform.node()}, which has {len(set(bus_ids))} GPU(s); "
                "start one rank per GPU"
            )
        use_device(f"cuda:{index}")
        identity = self.from_main(nccl.new_identity)
        with self._waiting():
            self._gpus = nccl.connect(self.rank, self.size, identity)
        return f"cuda:{index}"

    def abort(self, status: int) -> NoReturn:
        """End all ranks, without MPI's own message."""
        sys.stdout.flush()
        sys.stderr.flush()
        # gives the launcher time to read: what it has not read when the ranks end is lost
        time.sleep(0.5)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        self._comm.Abort(status)
        os._exit(status)


@functools.cache
def find_world() -> World:
    """The ranks started by a launcher; a single process if there was none.

    Raises:
        UserError: MPI does not see the other processes: each would train alone, and all would write
        the same files.
    """
    started = find_launch().size
    if started == 1:
        return World()
    problem = f"{started} processes were started, and each would train alone: "
    try:
        from mpi4py import MPI
    except ImportError as error:
        if "mpi4py" not in str(error):
            raise UserError(f"{problem}mpi4py does not find MPI's library ({error})") from None
        raise UserError(
            f'{problem}mpi4py is not installed; pip install "minivit[mpi]", on every machine'
        ) from None
    if MPI.COMM_WORLD.size != started:
        raise UserError(
            f"{problem}mpi4py belongs to a different MPI than the launcher, or srun was started "
            "without --mpi=pmix; use the mpiexec that was installed with mpi4py"
        )
    return Ranks(MPI)


def describe_world() -> str:
    """The ranks, in words; or, for a single process, whether several are possible."""
    world = find_world()
    if isinstance(world, Ranks):
        threads = f"{world.threads} thread{'s' * (world.threads != 1)} each"
        return f"{world.size} ranks, {threads}; {world.library}"
    if importlib.util.find_spec("mpi4py") is None:
        return 'one process; for several: pip install "minivit[mpi]"'
    return f"one process; mpi4py {importlib.metadata.version('mpi4py')} for several"


def program_digest() -> str:
    """SHA-256 of this package's code, to distinguish versions."""
    digest, folder = hashlib.sha256(), Path(__file__).parents[1]
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"{path.relative_to(folder).as_posix()}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def should_report() -> bool:
    """Whether this process should report an error that others may report, too. Rank 0 reports at
    once and ends all; the others only get to report their own errors.
    """
    try:
        world = find_world()
    except UserError:
        return find_launch().local_rank == 0
    if isinstance(world, Ranks):
        time.sleep(world.report_delay)
    return True


def end_all(status: int) -> None:
    """End the other ranks with this one; otherwise they would wait for it."""
    with contextlib.suppress(UserError):
        world = find_world()
        if isinstance(world, Ranks):
            world.abort(status)


@contextlib.contextmanager
def only_main_prints() -> Iterator[None]:
    """Only rank 0 prints to standard output and warns."""
    if find_world().main:
        yield
        return
    with (
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        contextlib.redirect_stdout(nowhere),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield


def _poll_until_done(request: Any) -> None:
    """MPI makes progress only while it is called; a busy wait would take a core from threads that
    compute.
    """
    while not request.Test():
        time.sleep(2e-4)


def _cpus() -> set[int]:
    """The logical cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _cores_per_process(cpus: list[set[int]]) -> int:
    """Physical cores for each process of a machine that may use these logical ones; a launcher may
    have given each its own, or all the same.
    """
    ratio = len(set.union(*cpus)) / sum(map(len, cpus))
    return max(1, int(physical_cores() * ratio))
