"""`minivit pretrain`: learn from images without labels, by predicting hidden patches.

It is `minivit train` with another task (`--pretext`) and has the same flags. `minivit finetune
--from RUN` starts from the pre-trained weights.
"""

from dataclasses import dataclass

from minivit.commands import train

CHANGES = {"pretext": "colour", "epochs": 10, "label_smoothing": 0.0}
"""Changes to the recipe of the data set: the paper's task."""


@dataclass(frozen=True)
class Arguments(train.Arguments):
    """Pre-train a Vision Transformer on images without labels: it predicts hidden patches.

    Without flags: CIFAR-10 if it is found or can be downloaded, else the built-in shapes, with the
    basic settings of that data set. Any flag overrides what --model sets, which overrides --config,
    which overrides --preset. minivit finetune --from RUN starts from the weights of the run. The
    settings of the data set replace some of the defaults below; --dry-run shows the result.
    """


def run(argv: list[str], prog: str = "minivit pretrain") -> int:
    """Pre-train by predicting patches; see `train.run`."""
    return train.run(argv, prog, CHANGES, Arguments)
