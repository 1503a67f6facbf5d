"""The gradients of one step of a tiny model, computed by any number of ranks.

    mpiexec -n 3 python gradients.py FILE THREADS

FILE: a .npz with every gradient in float32 and float64, the loss and the logits; written by rank 0.
THREADS: the number of threads of each rank.
"""

import dataclasses
import sys

import numpy as np
import tiny

from minivit.engine import DataParallel
from minivit.engine.distributed import find_world
from minivit.engine.objective import Classification
from minivit.models import ViT

B = 7
NOISY = dataclasses.replace(tiny.VIT, dropout=0.2, attn_dropout=0.2, drop_path=0.3)


def gradients(threads: int, world=None) -> dict[str, np.ndarray]:
    """Gradients by dtype and name, such as "float32/head.weight"."""
    rng, found = np.random.default_rng(0), {}
    images = rng.standard_normal((B, 3, 8, 8)).astype(np.float32)
    targets = rng.integers(4, size=B)
    for dtype in ("float32", "float64"):
        model = ViT(NOISY, dtype=dtype)
        model.flat.data[...] = np.random.default_rng(0).normal(0, 0.2, model.flat.data.shape)
        with DataParallel(model, threads, micro_batch=2, world=world) as workers:
            result = workers.loss_and_gradients(images, targets, Classification(0.1), 3, 5)
            evaluated = workers.loss(images, targets, Classification(0.1), 3, 5)
            found[f"{dtype}/logits"] = workers.logits(images)
            views = model.flat.views(model.flat.grad)
            found |= {f"{dtype}/{name}": view for name, view in views.items()}
            matrices = [view for view in views.values() if view.ndim == 2]
            for i, array in enumerate(workers.map_arrays(np.tanh, matrices)):
                found[f"{dtype}/tanh {i}"] = array
        sums = [*map(float, result), *map(float, evaluated)]
        found[f"{dtype}/sums"] = np.array(sums)
    return found


if __name__ == "__main__":
    world = find_world()
    found = gradients(int(sys.argv[2]), world)
    if world.main:
        np.savez(sys.argv[1], **found)
