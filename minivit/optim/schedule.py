"""Learning rate schedules."""

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Schedule:
    r"""Linear warm-up, then decay.

    .. math:: \eta_t = \eta_{peak}\,\frac{t + 1}{W} \quad (t < W), \qquad
              \eta_t = \eta_{final} +
              (\eta_{peak} - \eta_{final})\,f\!\Bigl(\frac{t - W}{S - W}\Bigr)

    with f(s) = ½(1 + cos πs) (cosine; Loshchilov & Hutter, 2017), 1 - s (linear) or 1 (constant).

    peak, final: learning rates. warmup: W steps. total: S steps.
    """

    kind: Literal["cosine", "linear", "constant"]
    peak: float
    warmup: int
    total: int
    final: float = 0.0

    def __call__(self, step: int) -> float:
        """The learning rate of step number `step`, from 0."""
        if step < self.warmup:
            return self.peak * (step + 1) / self.warmup
        progress = min((step - self.warmup) / max(self.total - self.warmup, 1), 1.0)
        factor = {
            "cosine": 0.5 * (1.0 + math.cos(math.pi * progress)),
            "linear": 1.0 - progress,
            "constant": 1.0,
        }[self.kind]
        return self.final + (self.peak - self.final) * factor
