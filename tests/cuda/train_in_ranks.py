"""Steps by kernels compiled for the CPU, in any number of ranks, whose sums go through `Nccl`.

    mpiexec -n 2 python -m cuda.train_in_ranks FILE OPTIMIZER

FILE: a .npz with the losses, and with weights and logits after some steps; written by rank 0.
"""

import sys
import tempfile
from pathlib import Path
from unittest.mock import patch

import numpy as np
import tiny
from cuda import nccl_on_cpu
from cuda.device_on_cpu import OnCpu
from cuda.lt_on_cpu import LtOnCpu

from minivit.backend.cuda.nccl import Nccl
from minivit.engine import fused
from minivit.engine.distributed import Ranks, find_world
from minivit.engine.stepper import FusedStepper, Parts

VIT = {"dim": 32, "num_heads": 2, "depth": 1, "activation": "gelu_tanh"}
AUGMENTATION = {"crop": 1, "flip": 0.5, "mixup": 0.8, "erasing": 0.9}
BATCH, STEPS = 7, 2


def train(optimizer: str, world) -> dict[str, np.ndarray]:
    """The result of a few steps."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = tiny.trainer(
            Path(folder),
            vit=VIT,
            batch_size=BATCH,
            augmentation=AUGMENTATION,
            optimizer=optimizer,
        )
    model = tiny.randomize(trainer.model)
    parts = Parts(
        trainer.config,
        model,
        trainer.optimizer,
        trainer.batches,
        trainer.objective,
        trainer.layout,
        world,
    )
    sums = []
    few = patch.object(fused, "BLOCKS", 8)  # many would be slow on a CPU
    with few, FusedStepper(parts, OnCpu(LtOnCpu())) as stepper:
        for step in range(STEPS):
            sums.append([*stepper.train(stepper.prepare(step), step, 1e-3)])
        images = np.random.default_rng(0).standard_normal((19, 3, 8, 8)).astype(np.float32)
        logits = stepper.logits(images)
    return {"sums": np.array(sums), "weights": model.flat.data, "logits": logits}


def join(world: Ranks) -> nccl_on_cpu.Nccl:
    """Sums of arrays through the replacement for NCCL."""
    library = nccl_on_cpu.Nccl(world._mpi)
    identity = world.from_main(library.get_unique_id)
    address = lambda array: array.ctypes.data  # noqa: E731
    world._gpus = Nccl(nccl_on_cpu.cupy, library, address, world.rank, world.size, identity)
    return library


if __name__ == "__main__":
    world = find_world()
    library = join(world)
    found = train(sys.argv[2], world)
    assert library.counts == [found["weights"].size, 2] * STEPS + [19 * 4]
    if world.main:
        np.savez(sys.argv[1], **found)
