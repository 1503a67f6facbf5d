"""`minivit pretrain`: learn from images without labels, by predicting hidden patches.

It is `minivit train` with another task (`--pretext`); every flag of that holds here.
`minivit finetune --from RUN` goes on with what was learned.
"""

from minivit.commands import train

CHANGES = {"pretext": "colour", "epochs": 10, "label_smoothing": 0.0}
"""What it changes of the recipe of the data set: the paper's task."""


def run(argv: list[str], prog: str = "minivit pretrain") -> int:
    """Train on patches; see `train.run`."""
    return train.run(argv, prog, CHANGES)
