"""The usable lines of metrics.jsonl, by kind."""

import csv
import io
from collections.abc import Sequence
from typing import Any, Literal

REQUIRED = {
    "step": ("epoch", "loss", "accuracy", "lr"),
    "epoch": ("epoch",),
    "test": ("test_accuracy",),
}
"""The keys that a line of each kind must have."""
OPTIONAL = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
COLUMNS = ("epoch", "step", "seconds", *OPTIONAL)
"""The columns of metrics.csv."""
MAX_VALUE = 1e12  # with larger numbers training has diverged


Kind = Literal["step", "epoch", "test"]
KINDS: tuple[Kind, ...] = ("step", "epoch", "test")


def of_kind(metrics: Sequence[dict], kind: Kind) -> list[dict]:
    """The lines of this kind with valid numbers: a power cut may have damaged any line, and a
    damaged log is no reason to stop.
    """
    return [line for line in metrics if line.get("kind") == kind and _usable(line, REQUIRED[kind])]


def epoch_table(metrics: Sequence[dict]) -> str:
    """The lines of kind "epoch" as CSV; a cell is empty where an epoch was not validated."""
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for line in of_kind(metrics, "epoch"):
        writer.writerow({name: line[name] for name in COLUMNS if is_number(line.get(name))})
    return file.getvalue()


def _usable(line: dict[str, Any], required: Sequence[str]) -> bool:
    present = [name for name in OPTIONAL if name in line]
    return all(is_number(line.get(name)) for name in (*required, *present))


def is_number(value: Any) -> bool:
    """Whether it is a number that can be drawn."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MAX_VALUE
