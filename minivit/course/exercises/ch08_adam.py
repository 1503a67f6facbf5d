"""Chapter 08: SGD with momentum, Adam, AdamW, a schedule, clipping."""

import numpy as np

from minivit.course import right
from minivit.course.exercise import Exercise, Hard, Mistake, add

SHAPES = ((3, 4), (5, 2), (2, 6))


# 08.a: sgd(theta, grad, velocity, lr, momentum) -> theta, velocity


def _draw_sgd(rng: np.random.Generator, size: int) -> tuple:
    return *(rng.standard_normal(SHAPES[size]) for _ in range(3)), 0.1, (0.9, 0.8, 0.5)[size]


def _plain(theta, grad, velocity, lr, momentum):
    return theta - lr * grad, momentum * velocity + grad


def _old_velocity(theta, grad, velocity, lr, momentum):
    return theta - lr * velocity, momentum * velocity + grad


def _averaged(theta, grad, velocity, lr, momentum):
    velocity = momentum * velocity + (1 - momentum) * grad
    return theta - lr * velocity, velocity


def _lr_inside(theta, grad, velocity, lr, momentum):
    velocity = momentum * velocity + lr * grad
    return theta - velocity, velocity


def _uphill(theta, grad, velocity, lr, momentum):
    velocity = momentum * velocity + grad
    return theta + lr * velocity, velocity


def _nesterov(theta, grad, velocity, lr, momentum):
    velocity = momentum * velocity + grad
    return theta - lr * (grad + momentum * velocity), velocity


add(
    Exercise(
        name="08.a",
        warm_up=True,
        answer=right.sgd,
        outputs=("theta", "velocity"),
        inputs=_draw_sgd,
        mistakes=(
            Mistake("theta was updated with the gradient; update it with the velocity", _plain),
            Mistake("theta was updated with the old velocity; add this step's gradient first",
                    _old_velocity),
            Mistake("the gradient was weighted by 1 - μ. That is a running average; velocity is a "
                    "running sum, u = μu + g", _averaged),
            Mistake("the learning rate was put into the velocity. It belongs in θ - ηu, so that a "
                    "changed rate applies to old gradients, too", _lr_inside),
            Mistake("theta moved uphill: subtract the step", _uphill),
            Mistake("that is Nesterov momentum, which steps by g + μu; plain momentum steps by u",
                    _nesterov),
        ),
    )
)  # fmt: skip


# 08.b: the learning rate above which gradient descent diverges on ½(3θ₁² + 50θ₂²)

add(
    Exercise(
        name="08.b",
        answer=2 / 50,
        mistakes=(
            Mistake("that is for the flat direction; the steep one diverges first", 2 / 3),
            Mistake("that rate reaches the minimum of the steep direction in one step; a larger "
                    "one may overshoot, as long as the loss still decreases", 1 / 50),
            Mistake("the ½ in front of the loss was counted in the gradient; the derivative of "
                    "½·50·θ² is 50·θ", 2 / 25),
            Mistake("the curvatures were averaged; each direction diverges independently",
                    2 / 26.5),
        ),
    )
)  # fmt: skip


# 08.c: adam(theta, grad, m, v, t, lr, betas, eps) -> theta, m, v


def _draw_adam(rng: np.random.Generator, size: int) -> tuple:
    theta, grad, m = (rng.standard_normal(SHAPES[size]) for _ in range(3))
    t, betas = ((2, (0.9, 0.99)), (7, (0.8, 0.95)), (30, (0.9, 0.98)))[size]
    return theta, grad, 0.3 * m, rng.uniform(0.1, 1.0, theta.shape), t, 0.1, betas, 0.02


_adam = right.adam


def _adam_with(change):
    """A wrong answer whose step is change(m, v, correction of m, of v, eps)."""

    def wrong(theta, grad, m, v, t, lr, betas, eps):
        _, m, v = _adam(theta, grad, m, v, t, lr, betas, eps)
        return theta - lr * change(m, v, *(1 - beta**t for beta in betas), eps), m, v

    return wrong


def _from_zero(theta, grad, m, v, t, lr, betas, eps):
    _, m, v = _adam(theta, grad, m, v, t, lr, betas, eps)
    return _adam(theta, grad, m, v, t - 1, lr, betas, eps)[0], m, v


def _corrected_returned(theta, grad, m, v, t, lr, betas, eps):
    theta, m, v = _adam(theta, grad, m, v, t, lr, betas, eps)
    return theta, m / (1 - betas[0] ** t), v / (1 - betas[1] ** t)


def _betas_swapped(theta, grad, m, v, t, lr, betas, eps):
    return _adam(theta, grad, m, v, t, lr, betas[::-1], eps)


def _not_squared(theta, grad, m, v, t, lr, betas, eps):
    _, new_m, _ = _adam(theta, grad, m, v, t, lr, betas, eps)
    v = betas[1] * v + (1 - betas[1]) * abs(grad)
    step = new_m / (1 - betas[0] ** t) / (np.sqrt(v / (1 - betas[1] ** t)) + eps)
    return theta - lr * step, new_m, v


def _adam_product(theta, grad, m, v, t, lr, betas, eps):
    _, m, v = _adam(theta, grad, m, v, t, lr, betas, eps)
    first, second = m / (1 - betas[0] * t), v / (1 - betas[1] * t)
    return theta - lr * first / (np.sqrt(second) + eps), m, v


def _adam_old(theta, grad, m, v, t, lr, betas, eps):
    _, new_m, new_v = _adam(theta, grad, m, v, t, lr, betas, eps)
    first, second = m / (1 - betas[0] ** t), v / (1 - betas[1] ** t)
    return theta - lr * first / (np.sqrt(second) + eps), new_m, new_v


add(
    Exercise(
        name="08.c",
        hard=(
            Hard("in the first step",
                 lambda rng: (
                     *rng.standard_normal((2, 3)), *np.zeros((2, 3)), 1, 0.03, (0.9, 0.999), 0.01)),
        ),
        answer=right.adam,
        outputs=("theta", "m", "v"),
        inputs=_draw_adam,
        mistakes=(
            Mistake("1 - β·t was used instead of 1 - βᵗ, which has a power of β",
                    _adam_product),
            Mistake("theta was updated with the old m and v; update them with this step's gradient "
                    "first",
                    _adam_old),
            Mistake("both bias corrections are missing: m and v began at zero, and are too small "
                    "at first", _adam_with(lambda m, v, a, b, eps: m / (np.sqrt(v) + eps))),
            Mistake("v has no bias correction; divide it by 1 - β₂ᵗ",
                    _adam_with(lambda m, v, a, b, eps: m / a / (np.sqrt(v) + eps))),
            Mistake("m has no bias correction; divide it by 1 - β₁ᵗ",
                    _adam_with(lambda m, v, a, b, eps: m / (np.sqrt(v / b) + eps))),
            Mistake("the bias correction counts steps from 0; the first step has t = 1",
                    _from_zero),
            Mistake("the square root of v is missing: v is a mean of squares",
                    _adam_with(lambda m, v, a, b, eps: m / a / (v / b + eps))),
            Mistake("eps is under the square root; Adam adds it after the root",
                    _adam_with(lambda m, v, a, b, eps: m / a / np.sqrt(v / b + eps))),
            Mistake("the corrected averages were returned and would be corrected again at the next "
                    "step; return m and v themselves", _corrected_returned),
            Mistake("β₁ and β₂ are swapped", _betas_swapped),
            Mistake("v averages |g|; it should average g²", _not_squared),
        ),
    )
)  # fmt: skip


# 08.d: adamw(theta, grad, m, v, t, lr, betas, eps, weight_decay) -> theta, m, v


def _l2(theta, grad, m, v, t, lr, betas, eps, weight_decay):
    return _adam(theta, grad + weight_decay * theta, m, v, t, lr, betas, eps)


def _decayed(change):
    """A wrong answer: theta = change(old theta, Adam's theta, lr, weight decay)."""

    def wrong(theta, grad, m, v, t, lr, betas, eps, weight_decay):
        stepped, m, v = _adam(theta, grad, m, v, t, lr, betas, eps)
        return change(theta, stepped, lr, weight_decay), m, v

    return wrong


add(
    Exercise(
        name="08.d",
        answer=right.adamw,
        outputs=("theta", "m", "v"),
        inputs=lambda rng, size: (*_draw_adam(rng, size), (0.3, 0.5, 0.2)[size]),
        mistakes=(
            Mistake("the decay was added to the gradient (L2), so it is divided by √v, too; AdamW "
                    "shrinks the weights themselves", _l2),
            Mistake("the decay was not multiplied by the learning rate: it is 1 - ηλ",
                    _decayed(lambda old, new, lr, decay: new - decay * old)),
            Mistake("the decay came after Adam's step and shrank that step, too; it comes before",
                    _decayed(lambda old, new, lr, decay: new * (1 - lr * decay))),
            Mistake("the weights grow: the decay was added",
                    _decayed(lambda old, new, lr, decay: new + lr * decay * old)),
            Mistake("there is no decay", _decayed(lambda old, new, lr, decay: new)),
        ),
    )
)  # fmt: skip
