"""`minivit pretrain`: learn from images without labels, by predicting hidden patches.

It is `minivit train` with another task (`--pretext`) and has the same flags. `minivit finetune
--from RUN` starts from the pretrained weights.
"""

from minivit.commands import train

CHANGES = {"pretext": "colour", "epochs": 10, "label_smoothing": 0.0}
"""Changes to the recipe of the data set: the paper's task."""


def run(argv: list[str], prog: str = "minivit pretrain") -> int:
    """Pretrain by predicting patches; see `train.run`."""
    return train.run(argv, prog, CHANGES)
