"""A step's gradients, summed over threads and processes while backward still runs.

Backward begins with the last block. Once every thread has finished a block, the gradients of its
matrices, which are most of a model, are summed and sent while the blocks before it are computed.
The rest follows at the end.
"""

import threading
from collections.abc import Callable, Sequence

from minivit.backend import blocks
from minivit.engine.world import World
from minivit.models import Model


class GradientSum:
    """One step's sum, in the gradients of the first replica.

    Args:
        replicas: one per thread. world: the processes; each makes the same sums in the same order.
        pieces: of the model, from the function `pieces`.
    """

    def __init__(self, replicas: Sequence[Model], world: World, pieces: list[list[slice]]):
        self._total, *self._others = (replica.flat.grad for replica in replicas)
        *self._pieces, self._remaining = pieces
        self._unfinished = [len(replicas)] * len(self._pieces)
        self._lock = threading.Lock()
        self._started = 0
        self._waits: list[Callable[[], None]] = []
        self._world = world

    def finished(self, block: int) -> None:
        """To be called when a thread has all its gradients of a block; the last thread to finish
        starts the sum. All threads visit the blocks in the same order, so the pieces start in that
        order, too.
        """
        piece = len(self._pieces) - 1 - block
        if piece < 0:
            return
        with self._lock:
            self._unfinished[piece] -= 1
            last = self._unfinished[piece] == 0
        if last:
            self._begin(self._pieces[piece])
            self._started += 1

    def finish(self) -> None:
        """Sum what is left, such as the blocks of a thread without images, and wait for
        everything.
        """
        for piece in (*self._pieces[self._started :], self._remaining):
            self._begin(piece)
        for wait in self._waits:
            wait()

    def _begin(self, piece: list[slice]) -> None:
        for stretch in piece:
            for rows in blocks(self._total, stretch):
                for other in self._others:
                    self._total[rows] += other[rows]
            self._waits.append(self._world.start_all_reduce(self._total[stretch]))


def pieces(model: Model) -> list[list[slice]]:
    """The slices of the flat gradient with each block's matrices, from the last block to the first;
    then the rest.

    Layers that are not minivit's may share a parameter between blocks, and a GPU sums in its own
    stream: in these cases everything belongs to the rest.
    """
    flat = model.flat
    block_of = {
        name: int(name.split(".")[1])
        for name, shape in flat.shapes.items()
        if name.startswith("blocks.") and len(shape) >= 2
    }
    if model.own_layers or model.device != "cpu":
        block_of = {}
    last_first = sorted(set(block_of.values()), reverse=True)
    return [
        list(flat.spans(lambda name, block=block: block_of.get(name) == block))  # type: ignore[misc]
        for block in (*last_first, None)
    ]
