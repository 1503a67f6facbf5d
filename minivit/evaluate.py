"""`python -m minivit.evaluate` runs `minivit evaluate`."""

import sys

from minivit.commands import run

if __name__ == "__main__":
    sys.exit(run("evaluate", sys.argv[1:]))
