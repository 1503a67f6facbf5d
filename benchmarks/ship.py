"""Make the checkpoint that comes with minivit from a run: the weights to use, in float16.

A module to run, with the run as its argument; --out is another file than the package's.
"""

import argparse
import hashlib
from pathlib import Path

import numpy as np

from minivit.engine import Checkpoint, Run, load_checkpoint, save_checkpoint
from minivit.engine.trained import weights_to_use
from minivit.interop.shipped import SHIPPED

OF_THIS_MACHINE = ("data_dir", "data_url", "threads", "micro_batch")
"""Settings that are not shipped."""


def halved(checkpoint: Checkpoint) -> Checkpoint:
    """The weights to use in float16, without the optimizer's state and the machine's settings."""
    config = {
        name: value
        for name, value in checkpoint.state["config"].items()
        if name not in OF_THIS_MACHINE
    }
    weights = {name: array.astype(np.float16) for name, array in weights_to_use(checkpoint).items()}
    if not all(np.isfinite(array).all() for array in weights.values()):
        raise SystemExit("a weight is beyond float16; ship another run")
    return Checkpoint(weights, {}, {**checkpoint.state, "config": config, "window": []})


def main() -> None:
    """Write the file, and print what its card must say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, default=SHIPPED)
    options = parser.parse_args()
    run = Run.open(options.run)
    save_checkpoint(options.out, halved(load_checkpoint(run.best)))
    raw = options.out.read_bytes()
    print(f"{options.out}: {len(raw):,} bytes, SHA-256 {hashlib.sha256(raw).hexdigest()}")
    for line in run.tested():
        print(f"test accuracy {line['test_accuracy']:.2%} on {line['data']}")


if __name__ == "__main__":
    main()
