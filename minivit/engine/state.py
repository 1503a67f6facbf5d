"""The state in a checkpoint, apart from its arrays: typed, converted to and from JSON."""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, Self

import msgspec

from minivit.config import overlay
from minivit.data import Preprocess, Statistics
from minivit.data.dataset import is_name
from minivit.errors import UserError, shown
from minivit.models import ViTConfig

MAX_STEPS = 2**53
"""More steps than any run takes; float64 still represents the number exactly."""


@dataclass(frozen=True, kw_only=True)
class TrainState:
    """The state of training at some step.

    window, epoch_sums: see `Meter`. config, data_digest: what a run must be resumed with. threads,
    micro_batch, ranks, arithmetic: what the last bits depend on. own_layers: see `Model`. Fields
    with defaults are missing in checkpoints of earlier versions.
    """

    vit: ViTConfig
    pretext: str = "none"
    data: str
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    step: int
    epoch: int
    step_in_epoch: int
    total_steps: int
    optimizer_steps: int
    schedule: dict[str, Any] = field(default_factory=dict)
    random: dict[str, int] = field(default_factory=dict)
    best_accuracy: float
    seconds: float
    window: list[tuple[float, float]]
    epoch_sums: tuple[float, float, int]
    config: dict[str, Any] = field(default_factory=dict)
    data_digest: str = ""
    threads: int | None = None
    micro_batch: int | None = None
    ranks: int = 1
    arithmetic: str = ""
    own_layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        channels, classes = self.vit.in_channels, self.vit.num_classes
        _ = self.preprocess  # raises if the config has an unknown resize mode
        for wrong, what in (
            (len(self.statistics.mean) != channels, f"mean and std are not of {channels} channels"),
            (len(self.class_names) != classes, f"it does not name its {classes} classes"),
            (not all(map(is_name, (self.data, *self.class_names))), "a name is not printable text"),
            (not 0 <= self.step <= self.total_steps <= MAX_STEPS, "its step is out of range"),
            (not 0 <= self.optimizer_steps <= self.total_steps, "its step is out of range"),
            (not all(map(math.isfinite, self._numbers())), "a number is infinite or NaN"),
        ):
            if wrong:
                raise UserError(what)

    def _numbers(self) -> tuple[float, ...]:
        """The numbers that a resumed run updates."""
        window = (number for pair in self.window for number in pair)
        return (self.best_accuracy, self.seconds, *self.epoch_sums, *window)

    @property
    def statistics(self) -> Statistics:
        """The mean and standard deviation that images were normalized with."""
        return Statistics(self.mean, self.std)

    @property
    def preprocess(self) -> Preprocess:
        """How image files were preprocessed."""
        resize = self.config.get("resize", Preprocess.resize)
        return Preprocess(self.vit.image_hw, self.vit.in_channels, resize)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, state: dict[str, Any], where: str) -> Self:
        """The inverse of `to_dict`.

        Args:
            where: the file, for the error message.

        Raises:
            UserError: something is missing, has the wrong type, or is unknown to this version.
        """
        known = {one.name for one in dataclasses.fields(cls)}
        vit = state.get("vit")
        if isinstance(vit, dict):  # a field that is missing comes from an older version: default
            state = state | {"vit": overlay(ViTConfig(), vit, where)}
        unknown = sorted(set(state) - known)
        if unknown:
            raise UserError(
                f"{where}: its state has {shown(unknown[0])}, which this version of minivit does "
                "not know; use the version that wrote it"
            )
        try:
            return msgspec.convert(state, cls)
        except (msgspec.ValidationError, UserError) as error:
            raise UserError(
                f"{where}: its state cannot be used: {error}; the file is damaged, use another"
            ) from None
