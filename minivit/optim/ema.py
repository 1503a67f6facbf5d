"""An exponential moving average of the weights (Polyak & Juditsky, 1992)."""

from minivit.backend import Array, blocks


class ExponentialMovingAverage:
    r"""Weights averaged over recent steps: often better than those of the last step.

    .. math:: \bar\theta \leftarrow d\,\bar\theta + (1 - d)\,\theta, \qquad
              d = \min\bigl(\mathrm{decay}, \tfrac{1 + t}{10 + t}\bigr)

    The second bound makes the average forget the random initialization quickly.

    Args:
        data: the flat weights to average. decay: close to 1; 0.999 averages about 1,000 steps.
    """

    def __init__(self, data: Array, decay: float):
        self.average = data.copy()
        self.decay = decay

    def update(self, data: Array, step: int) -> None:
        """Update with the weights after step number `step` (from 1)."""
        decay = min(self.decay, (1.0 + step) / (10.0 + step))
        for rows in blocks(data):
            self.average[rows] += (1.0 - decay) * (data[rows] - self.average[rows])
