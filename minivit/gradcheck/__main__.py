"""`python -m minivit.gradcheck` is the same as `minivit gradcheck`."""

import sys

from minivit.commands import run

if __name__ == "__main__":
    sys.exit(run("gradcheck", sys.argv[1:]))
