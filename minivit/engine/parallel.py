"""A batch split among threads, each with a replica of the model.

NumPy's operations release Python's lock, so threads compute in parallel. Each processes its part of
the batch in micro-batches, small enough that the output of one block is still in the cache for the
next, and accumulates its own gradients; they are summed in a fixed order, so the same number of
threads gives the same bits. BLAS runs one thread inside each: otherwise there would be more threads
than cores.

If several processes train together (`World`), a batch is split among them first, then among their
threads, and gradients are summed over the threads first, then over the processes (`GradientSum`).
"""

import contextlib
import itertools
import math
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Self

import numpy as np
from threadpoolctl import threadpool_limits

from minivit.backend import RandomStream, get_xp, use_device, use_twins
from minivit.backend.blas import one_accelerate_thread
from minivit.backend.machine import physical_cores
from minivit.engine.gradient_sum import GradientSum, pieces
from minivit.engine.objective import Done, Objective, StepResult
from minivit.engine.world import World
from minivit.functional.compiled import find_twins
from minivit.layers.block import TOKENS_AT_A_TIME
from minivit.models import Model, ViT, ViTConfig


class Layout(NamedTuple):
    """How a batch is split: this determines the order in which gradients are summed, and so their
    last bits.

    threads: workers. micro_batch: images at a time in each; None for its whole part. ranks: the
    number of processes with this many workers.
    """

    threads: int
    micro_batch: int | None
    ranks: int = 1

    @classmethod
    def of(
        cls,
        config: ViTConfig,
        device: str = "cpu",
        threads: int | None = None,
        micro_batch: int | None = None,
        ranks: int = 1,
    ) -> "Layout":
        """The default for a model on a device ("cpu", "cuda", "cuda:N")."""
        if device != "cpu":
            return cls(1, micro_batch, ranks)
        return cls(threads or physical_cores(), micro_batch or _default_micro_batch(config), ranks)


class DataParallel:
    """Loss, gradients and logits of a model over large batches.

    It may be used from several threads: a call waits for the previous one. Gradients are those of
    the last call, so only one thread at a time may compute them. A forked process gets its own
    workers.

    Args:
        model: its `.flat.grad` receives the gradients.
        threads: workers; None for one per physical core. A GPU needs only one.
        micro_batch: images at a time; None for about 1,024 tokens (all, on a GPU). This is also
        gradient accumulation: memory depends on it and not on the batch size.
        world: the processes that divide the work; all make the same calls, with the same images,
        and all get the whole result. Each reads its own rows, `world.rows`.
    """

    def __init__(
        self,
        model: Model,
        threads: int | None = None,
        micro_batch: int | None = None,
        world: World | None = None,
    ):
        self.world = world or World()
        layout = Layout.of(model.config, model.device, threads, micro_batch)
        self.micro_batch = layout.micro_batch
        self.replicas = [model] + [model.replica() for _ in range(layout.threads - 1)]
        self._pieces = pieces(model)
        self._blas_limit = contextlib.ExitStack()
        self._start()

    def _start(self) -> None:
        """Start this process's workers; a fork copies the arrays, but not the threads."""
        device = self.replicas[0].device
        self._pool = ThreadPoolExecutor(len(self.replicas), "minivit", _init_worker, (device,))
        self._pid = os.getpid()
        self._lock, self._gradient_lock = threading.RLock(), threading.Lock()

    @contextlib.contextmanager
    def _exclusive(self, gradients: bool = False) -> Iterator[None]:
        """One call at a time; two threads that compute gradients would overwrite each other's."""
        if os.getpid() != self._pid:
            self._start()
        if gradients and not self._gradient_lock.acquire(blocking=False):
            raise RuntimeError(
                "two threads compute gradients with one DataParallel, so that one would read the "
                "other's; give each a model.replica() and a DataParallel of its own"
            )
        try:
            with self._lock:
                yield
        finally:
            if gradients:
                self._gradient_lock.release()

    def __enter__(self) -> Self:
        self._blas_limit.enter_context(threadpool_limits(1, "blas"))
        return self

    def __exit__(self, *_: object) -> None:
        self._blas_limit.close()
        self._pool.shutdown()

    def loss_and_gradients(
        self, images: np.ndarray, targets: np.ndarray, objective: Objective, seed: int, step: int
    ) -> StepResult:
        """Mean loss over the batch and its gradients.

        Args:
            images: (B, C, H, W). targets: the target of each, as the objective defines it.
            seed, step: dropout's masks are a function of them.

        Returns:
            loss: the mean over the batch. correct: how many images were classified correctly.

        Raises:
            RuntimeError: another thread is computing gradients of the same model.
        """
        with self._exclusive(gradients=True):
            total = GradientSum(self.replicas, self.world, self._pieces)
            result = self._measure(
                images, targets, objective, seed, step, train=True, done=total.finished
            )
            total.finish()
            return self._over_ranks(result)

    def loss(
        self, images: np.ndarray, targets: np.ndarray, objective: Objective, seed: int, step: int
    ) -> StepResult:
        """The same without dropout and without gradients."""
        return self._over_ranks(self._measure(images, targets, objective, seed, step, train=False))

    def _measure(
        self,
        images: np.ndarray,
        targets: np.ndarray,
        objective: Objective,
        seed: int,
        step: int,
        train: bool,
        done: Done = None,
    ) -> StepResult:
        """The results of this process; done: called during each thread's last micro-batch."""
        B = len(images)

        def work(replica: Model, rows: range) -> StepResult:
            if train:
                replica.flat.zero_grad()
            model = replica.at(images.shape[2:])
            xp = get_xp(replica.flat.data)
            loss: Any = 0.0
            correct: Any = 0.0
            for part in _split(rows, self._micro_batch_for(model, train)):
                chunk, fraction = slice(part.start, part.stop), len(part) / B
                inputs = xp.asarray(images[chunk], replica.dtype)
                stream = RandomStream(seed, step, part.start)
                target = xp.asarray(targets[chunk])
                result, backward = objective(model, inputs, target, train, stream)
                if train:
                    backward(fraction, done if part.stop == rows.stop else None)
                loss, correct = loss + result.loss * fraction, correct + result.correct
            return StepResult(loss, correct)

        results = self._run_on_all(work, B)
        return StepResult(sum(r.loss for r in results), sum(r.correct for r in results))

    def _micro_batch_for(self, model: Model, train: bool) -> int | None:
        """The number of images with as many tokens as a micro-batch at full size."""
        if self.micro_batch is None:
            return None
        full_num_tokens, config = self.replicas[0].config.num_tokens, model.config
        num_tokens = config.num_tokens - train * config.patch_dropout * math.prod(config.grid)
        return max(1, int(self.micro_batch * full_num_tokens / num_tokens))

    def _over_ranks(self, result: StepResult) -> StepResult:
        """The sums of the results of all processes."""
        if self.world.size == 1:
            return result
        xp = get_xp(self.replicas[0].flat.data)
        sums = xp.stack([xp.asarray(number, np.float64) for number in result])
        self.world.all_reduce(sums)
        return StepResult(sums[0], sums[1])

    def logits(self, images: np.ndarray) -> np.ndarray:
        """images (N, C, H, W), any N, on the host -> logits (N, K), on the host."""
        return self._rows(images, ViT.__call__, self.replicas[0].config.num_classes)

    def features(self, images: np.ndarray) -> np.ndarray:
        """images (N, C, H, W), any N, on the host -> the features before the head, (N, width)."""
        return self._rows(images, ViT.features, self.replicas[0].config.dim)

    def _rows(self, images: np.ndarray, function: Callable, columns: int) -> np.ndarray:
        """function(model, images), (N, columns) on the host, a micro-batch at a time."""
        xp = get_xp(self.replicas[0].flat.data)
        out = np.zeros((len(images), columns), np.float32)

        def work(replica: ViT, rows: range) -> None:
            for part in _split(rows, self.micro_batch or 1024):
                chunk = slice(part.start, part.stop)
                found = function(replica, xp.asarray(images[chunk], replica.dtype))
                out[chunk] = found if xp is np else found.get()

        self._run_on_all(work, len(images))
        self.world.all_reduce(out)  # the rows of other ranks are zeros here
        return out

    def map(self, function: Callable, items: Iterable) -> list:
        """Like the builtin `map`, with each worker processing its own part of the items."""
        items = list(items)
        cuts = np.linspace(0, len(items), len(self.replicas) + 1).astype(int).tolist()
        parts = [items[start:stop] for start, stop in itertools.pairwise(cuts)]
        with self._exclusive():
            done = self._pool.map(lambda part: [function(item) for item in part], parts)
            return list(itertools.chain.from_iterable(done))

    def map_arrays(self, function: Callable, arrays: Iterable[np.ndarray]) -> list[np.ndarray]:
        """Like the builtin `map`, for a function whose result has its argument's shape: each
        process works on its own part of the arrays, and each worker on its own part of those.
        """
        arrays = list(arrays)
        ends = np.cumsum([0, *(array.size for array in arrays)])
        xp = get_xp(arrays[0]) if arrays else np
        flat = xp.zeros(int(ends[-1]), arrays[0].dtype if arrays else np.float32)
        found = [
            flat[a:b].reshape(array.shape)
            for array, (a, b) in zip(arrays, itertools.pairwise(ends), strict=True)
        ]

        def work(i: int) -> None:
            found[i][...] = function(arrays[i])

        self.map(work, self.world.rows(len(arrays)))
        self.world.all_reduce(flat)  # the zeros are filled in by the other ranks
        return found

    def _run_on_all(self, work: Callable, num_rows: int) -> list:
        """Run work(replica, rows) on each worker, with the rows split evenly; results in order."""
        local = self.world.rows(num_rows)
        bounds = np.linspace(local.start, local.stop, len(self.replicas) + 1).astype(int)
        with self._exclusive():
            jobs = [
                self._pool.submit(work, replica, range(start, stop))
                for replica, start, stop in zip(self.replicas, bounds[:-1], bounds[1:], strict=True)
            ]
            return [job.result() for job in jobs]


def _init_worker(device: str) -> None:
    """Initialize a worker's thread."""
    one_accelerate_thread()
    use_device(device)
    use_twins(find_twins)


def _split(rows: range, size: int | None) -> list[range]:
    """Split rows into equal pieces of at most `size`."""
    if not len(rows):
        return []
    count = -(-len(rows) // (size or len(rows)))
    bounds = np.linspace(rows.start, rows.stop, count + 1).astype(int).tolist()
    return [range(a, b) for a, b in itertools.pairwise(bounds)]


def _default_micro_batch(config: ViTConfig) -> int:
    """The default micro-batch: the same on every machine, so that a seed gives the same sums."""
    return max(1, TOKENS_AT_A_TIME // config.num_tokens)
