"""`python -m minivit.doctor` runs `minivit doctor`."""

import sys

from minivit.commands import run

if __name__ == "__main__":
    sys.exit(run("doctor", sys.argv[1:]))
