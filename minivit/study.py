"""`python -m minivit.study` runs `minivit study`."""

import sys

from minivit.commands import run

if __name__ == "__main__":
    sys.exit(run("study", sys.argv[1:]))
