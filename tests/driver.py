"""minivit.train on tiny pictures, in a process of its own, which signals itself at a given moment.

    python driver.py SIGNAL MOMENT FLAGS…

SIGNAL: SIGINT, SIGKILL, or "none". MOMENT: "step:N", after step N; "save:N", when the checkpoint
after step N is half-way to its place.
"""

import os
import signal
import sys

import tiny

from minivit.commands.cli import guarded
from minivit.commands.train import run as main
from minivit.data import shapes
from minivit.engine import Trainer


def signal_at(number: int, moment: str) -> None:
    """Arrange for this process to send itself a signal, once."""
    kind, step = moment.split(":")
    train_step, save = Trainer._train_step, Trainer.save

    def step_and_signal(self, *args):
        train_step(self, *args)
        if kind == "step" and self.step == int(step):
            os.kill(os.getpid(), number)

    def save_and_signal(self):
        if kind == "save" and self.step == int(step):
            os.fsync = lambda file: os.kill(os.getpid(), number)
        save(self)

    Trainer._train_step, Trainer.save = step_and_signal, save_and_signal


if __name__ == "__main__":
    name, moment, *flags = sys.argv[1:]
    shapes.load = tiny.dataset
    if name != "none":
        signal_at(getattr(signal, name), moment)
    sys.exit(guarded(lambda: main(flags)))
