"""`python -m minivit.train` runs `minivit train`."""

import sys

from minivit.commands import run

if __name__ == "__main__":
    sys.exit(run("train", sys.argv[1:]))
