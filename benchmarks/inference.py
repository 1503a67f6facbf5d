"""`python -m benchmarks.inference`: one forward pass, compared with PyTorch and JAX."""

import sys

from benchmarks.command import Options, run
from minivit.commands.cli import run_command

if __name__ == "__main__":
    prog = "python -m benchmarks.inference"
    sys.exit(run_command(lambda options: run(options, False, prog), Options, prog))
