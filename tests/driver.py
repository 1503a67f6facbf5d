"""Runs minivit.train on tiny images in a separate process, with a fault at a given moment.

    python driver.py FAULT MOMENT FLAGS…

FAULT: a signal that the process sends itself, such as SIGINT or SIGKILL; "full", a full disk;
"bug", an internal error; "slow", a delay of five seconds; "data", different images from the start;
"lost", no images; "none". MOMENT: "load:0", before the images are loaded; "digest:0", before ranks
compare theirs; "step:N", after step N; "save:N", while the checkpoint after step N is being
written. ":RANK" is appended if only that rank has the fault.
"""

import errno
import os
import signal
import sys
import time

import tiny

from minivit.commands.cli import guarded
from minivit.commands.train import run as main
from minivit.data import shapes
from minivit.engine import Trainer
from minivit.engine.distributed import find_world
from minivit.engine.launch import find_launch
from minivit.errors import UserError


def full() -> None:
    """From now on, every write fails."""

    def fail(file):
        raise OSError(errno.ENOSPC, "No space left on device")

    os.fsync = fail


def bug() -> None:
    raise RuntimeError("a bug")


def slow() -> None:
    time.sleep(5)


def lost() -> None:
    raise UserError("the images are lost")


def fault_at(kind: str, step: str, act) -> None:
    """Schedule the fault of this process."""
    train_step, save, compare = Trainer._train_step, Trainer.save, Trainer._require_same_ranks

    def step_and_signal(self, *args):
        train_step(self, *args)
        if kind == "step" and self.step == int(step):
            act()

    def save_and_signal(self):
        if kind == "save" and self.step == int(step):
            os.fsync = lambda file: act()
        save(self)

    def signal_and_load():
        act()
        return tiny.dataset()

    def signal_and_compare(self):
        if kind == "digest":
            act()
        compare(self)

    if kind == "load":
        shapes.load = signal_and_load
    Trainer._train_step, Trainer.save = step_and_signal, save_and_signal
    Trainer._require_same_ranks = signal_and_compare


if __name__ == "__main__":
    name, moment, *flags = sys.argv[1:]
    shapes.load = tiny.dataset
    kind, step, *rank = moment.split(":") if moment else ("", "")
    if find_launch().size == 1 or not rank or find_world().rank == int(rank[0]):
        if name == "data":
            shapes.load = lambda: tiny.dataset(num_test=17)
        elif name == "lost":
            shapes.load = lost
        elif name in ("full", "bug", "slow"):
            fault_at(kind, step, {"full": full, "bug": bug, "slow": slow}[name])
        elif name != "none":
            fault_at(kind, step, lambda: os.kill(os.getpid(), getattr(signal, name)))
    sys.exit(guarded(lambda: main(flags)))
