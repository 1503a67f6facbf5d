"""`python -m minivit.pretrain` runs `minivit pretrain`."""

import sys

from minivit.commands import run

if __name__ == "__main__":
    sys.exit(run("pretrain", sys.argv[1:]))
