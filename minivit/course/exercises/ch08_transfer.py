"""Chapter 08, beyond the text: Lion."""

import numpy as np

from minivit.course import right_transfer
from minivit.course.exercise import Exercise, Hard, Mistake, add

# 08.g: lion(theta, grad, m, lr, betas, weight_decay) -> theta, m


def _draw_lion(rng: np.random.Generator, size: int) -> tuple:
    shape, betas = (((3, 4), (0.9, 0.99)), ((5,), (0.8, 0.95)), ((2, 6), (0.95, 0.5)))[size]
    return *rng.standard_normal((3, *shape)), 0.1, betas, (0.3, 0.0, 0.5)[size]


def _lion(direction, new_m=lambda m, g, b1, b2: b2 * m + (1 - b2) * g, shrink=None):
    """A wrong answer: direction(m, g, β₁, β₂), the stored m, the weight decay."""

    def wrong(theta, grad, m, lr, betas, weight_decay):
        step = direction(m, grad, *betas)
        factor = (shrink or (lambda lr, decay: 1 - lr * decay))(lr, weight_decay)
        return theta * factor - lr * step, new_m(m, grad, *betas)

    return wrong


def _sign(m, g, b1, b2):
    return np.sign(b1 * m + (1 - b1) * g)


add(
    Exercise(
        name="08.g",
        answer=right_transfer.lion,
        outputs=("theta", "m"),
        inputs=_draw_lion,
        hard=(
            Hard("in the first step",
                 lambda rng: (*rng.standard_normal((2, 4)), np.zeros(4), 0.03, (0.9, 0.99), 0.1)),
            Hard("where a gradient is zero", lambda rng: (
                rng.standard_normal(3), np.zeros(3), np.zeros(3), 0.1, (0.9, 0.99), 0.2)),
        ),
        mistakes=(
            Mistake("the step's sign was taken from the new m; take it from the mix of the old m "
                    "and the gradient with weight β₁",
                    _lion(lambda m, g, b1, b2: np.sign(b2 * m + (1 - b2) * g))),
            Mistake("β₁ and β₂ are swapped",
                    _lion(lambda m, g, b1, b2: _sign(m, g, b2, b1),
                          lambda m, g, b1, b2: b1 * m + (1 - b1) * g)),
            Mistake("one β was used for both: m is updated with β₂, the step is mixed with β₁",
                    _lion(_sign, lambda m, g, b1, b2: b1 * m + (1 - b1) * g)),
            Mistake("the sign is missing: every weight moves by the same amount, whatever the size "
                    "of its gradient", _lion(lambda m, g, b1, b2: b1 * m + (1 - b1) * g)),
            Mistake("the sign is that of the gradient alone",
                    _lion(lambda m, g, b1, b2: np.sign(g))),
            Mistake("the decay was not multiplied by the learning rate: it is 1 - ηλ",
                    _lion(_sign, shrink=lambda lr, decay: 1 - decay)),
            Mistake("there is no weight decay", _lion(_sign, shrink=lambda lr, decay: 1)),
        ),
    )
)  # fmt: skip
