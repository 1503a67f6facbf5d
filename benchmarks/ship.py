"""Make the checkpoint that comes with minivit from a run: its weights for inference, in float16.

Run this module with the run as its argument; --out writes to another file than the package's.
"""

import argparse
import hashlib
from pathlib import Path

import numpy as np

from minivit.engine import Checkpoint, Run, load_checkpoint, save_checkpoint
from minivit.engine.trained import weights_to_use
from minivit.interop.shipped import SHIPPED

MACHINE_SETTINGS = ("data_dir", "data_url", "threads", "micro_batch")
"""Settings that describe the training machine and are not shipped."""


def to_float16(checkpoint: Checkpoint) -> Checkpoint:
    """A checkpoint of the weights for inference, in float16, without optimizer state and settings
    of the machine.
    """
    config = {
        name: value
        for name, value in checkpoint.state["config"].items()
        if name not in MACHINE_SETTINGS
    }
    weights = {name: array.astype(np.float16) for name, array in weights_to_use(checkpoint).items()}
    if not all(np.isfinite(array).all() for array in weights.values()):
        raise SystemExit("a weight is too large for float16; ship another run")
    return Checkpoint(weights, {}, {**checkpoint.state, "config": config, "window": []})


def main() -> None:
    """Write the file, and print what its model card must say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, default=SHIPPED)
    options = parser.parse_args()
    run = Run.open(options.run)
    save_checkpoint(options.out, to_float16(load_checkpoint(run.best)))
    raw = options.out.read_bytes()
    print(f"{options.out}: {len(raw):,} bytes, SHA-256 {hashlib.sha256(raw).hexdigest()}")
    for line in run.test_results():
        print(f"test accuracy {line['test_accuracy']:.2%} on {line['data']}")


if __name__ == "__main__":
    main()
