"""`python -m minivit.live` runs `minivit live`."""

import sys

from minivit.commands import run

if __name__ == "__main__":
    sys.exit(run("live", sys.argv[1:]))
