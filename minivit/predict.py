"""`python -m minivit.predict` runs `minivit predict`."""

import sys

from minivit.commands import run

if __name__ == "__main__":
    sys.exit(run("predict", sys.argv[1:]))
