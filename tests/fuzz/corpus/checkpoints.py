"""Checkpoints that once caused a failure: accepted although damaged, tracebacks, unlimited memory
use."""

from pathlib import Path

import numpy as np

from minivit.engine.checkpoint import load_checkpoint, save_checkpoint


def changed_state(state, path, value):
    """A copy of the state with another value at a path."""
    inner = state
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return state


def state(*path, value):
    """A checkpoint whose state has this value at this path, with a matching digest."""

    def write(file: Path) -> None:
        checkpoint = load_checkpoint(file)
        changed_state(checkpoint.state, path, value)
        save_checkpoint(file, checkpoint)

    return write


def without(name):
    def write(file: Path) -> None:
        checkpoint = load_checkpoint(file)
        del checkpoint.state[name]
        save_checkpoint(file, checkpoint)

    return write


def one_bit(file: Path) -> None:
    raw = bytearray(file.read_bytes())
    raw[-1] ^= 0x40
    file.write_bytes(raw)


def no_number(file: Path) -> None:
    checkpoint = load_checkpoint(file)
    checkpoint.weights["head.bias"] = np.full(4, np.nan, np.float32)
    save_checkpoint(file, checkpoint)


ENTRIES = {
    "one bit of the last weight": one_bit,
    "a weight that is no number": no_number,
    "no vit": without("vit"),
    "a field of a newer version": state("added", value=1),
    "a field of the model of a newer version": state("vit", "added", value=1),
    "nested too deep": state("vit", "depth", value=[[[[[]]]]]),
    "a model of 65,536 blocks": state("vit", "depth", value=65536),
    "a model of a billion columns": state("vit", "dim", value=10**9),
    "a standard deviation of zero": state("std", value=[0.0, 1.0, 1.0]),
    "fewer means than channels": state("mean", value=[0.5]),
    "a mean that is infinite": state("mean", value=[1e400, 0.5, 0.5]),
    "fewer names than classes": state("class_names", value=["a"]),
    "a name that moves a terminal's cursor": state("class_names", value=["\x1b[2J", "b", "c", "d"]),
}
