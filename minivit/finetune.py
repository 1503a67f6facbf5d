"""`python -m minivit.finetune` runs `minivit finetune`."""

import sys

from minivit.commands import run

if __name__ == "__main__":
    sys.exit(run("finetune", sys.argv[1:]))
