"""`python -m minivit.attention` runs `minivit attention`."""

import sys

from minivit.commands import run

if __name__ == "__main__":
    sys.exit(run("attention", sys.argv[1:]))
