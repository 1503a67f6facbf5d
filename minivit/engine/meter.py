"""Loss and accuracy of the steps since the last log line, and of the epoch."""

from typing import Any, NamedTuple

from minivit.backend import get_xp, to_host
from minivit.engine.objective import StepResult


class Means(NamedTuple):
    """Mean loss of some steps, and the fraction of their images classified correctly."""

    loss: float
    accuracy: float


class Meter:
    """Collects the results of steps on the device and reads them with one copy.

    window: (loss, correct) of each step since the last log line. epoch: [loss, correct, steps],
    sums since the epoch began.
    """

    def __init__(self, batch_size: int):
        self.batch_size = batch_size
        self.window: list[tuple[float, float]] = []
        self.epoch: Any = [0.0, 0.0, 0]
        self._pending: list[StepResult] = []

    def add(self, result: StepResult) -> None:
        """Add a step's result; it stays on the device, as reading it would wait for the device."""
        self._pending.append(result)

    def read(self) -> list[float]:
        """Read what was added since the last call; returns the losses, one per step."""
        if not self._pending:
            return []
        xp = get_xp(self._pending[0].loss)
        values = to_host(xp.stack([xp.stack(result) for result in self._pending])).tolist()
        self._pending.clear()
        for loss, correct in values:
            self.window.append((loss, correct))
            self.epoch = [a + b for a, b in zip(self.epoch, (loss, correct, 1), strict=True)]
        return [loss for loss, _ in values]

    def end_window(self) -> Means:
        """Means since the last log line; begins a new window."""
        losses, corrects = zip(*self.window, strict=True)
        steps = len(self.window)
        self.window = []
        return Means(sum(losses) / steps, sum(corrects) / (steps * self.batch_size))

    def end_epoch(self) -> Means:
        """Means of the epoch; begins a new one."""
        loss, correct, steps = self.epoch
        self.epoch = [0.0, 0.0, 0]
        return Means(loss / steps, correct / (steps * self.batch_size))
