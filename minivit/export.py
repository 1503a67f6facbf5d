"""`python -m minivit.export` runs `minivit export`."""

import sys

from minivit.commands import run

if __name__ == "__main__":
    sys.exit(run("export", sys.argv[1:]))
