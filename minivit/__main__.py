"""`python -m minivit` runs `minivit`."""

import sys

from minivit.commands import main

if __name__ == "__main__":
    sys.exit(main())
