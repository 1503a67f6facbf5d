"""`python -m benchmarks.train_step`: one training step, compared with PyTorch and JAX."""

import sys

from benchmarks.command import Options, run
from minivit.commands.cli import run_command

if __name__ == "__main__":
    prog = "python -m benchmarks.train_step"
    sys.exit(run_command(lambda options: run(options, True, prog), Options, prog))
