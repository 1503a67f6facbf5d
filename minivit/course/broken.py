"""Three training runs of chapter 09, each with one fault, to be diagnosed from their curves."""

from collections.abc import Callable
from typing import NamedTuple

from minivit.data.dataset import Split
from minivit.errors import UserError


class RunInputs(NamedTuple):
    """The inputs of a training run: training images, validation images, learning rates."""

    train: Split
    val: Split
    schedule: Callable[[int], float]


def broken(name: str, train: Split, val: Split, schedule: Callable[[int], float]) -> RunInputs:
    """The inputs with fault "A", "B" or "C". Read this code only after your diagnosis.

    Raises:
        UserError: there is no such training run.
    """
    match name:
        case "A":
            return RunInputs(train, Split(val.pixels // 3, val.labels), schedule)
        case "B":
            return RunInputs(train, val, lambda step: schedule(0))
        case "C":
            return RunInputs(train, train[: len(val)], schedule)
    raise UserError(f"there is no training run {name!r:.20}; expected A, B or C")
