"""`python -m minivit.gradcheck` is `minivit gradcheck`."""

import sys

from minivit.commands import run

if __name__ == "__main__":
    sys.exit(run("gradcheck", sys.argv[1:]))
