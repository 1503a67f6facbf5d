"""`python -m minivit.pretrain`: learn from pictures without labels, by predicting hidden patches.

It is `python -m minivit.train` with another task (`--pretext`); every flag of that holds here.
`python -m minivit.finetune --from RUN` goes on with what was learned.
"""

import sys

from minivit import train
from minivit.cli import guarded

PROG = "python -m minivit.pretrain"

CHANGES = {"pretext": "colour", "epochs": 10, "label_smoothing": 0.0}
"""What it changes of the recipe of the data set: the paper's task."""


def main(argv: list[str]) -> int:
    """Train on patches; see `train.main`."""
    return train.main(argv, PROG, CHANGES)


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(sys.argv[1:])))
