"""Chapter 03: the linear layer, softmax and cross-entropy."""

import numpy as np

from minivit.course import right
from minivit.course.exercise import Exercise, Hard, Mistake, add
from minivit.functional import (
    cross_entropy_forward,
    linear_forward,
    softmax_forward,
)

# 03.c: linear_backward(dy, x, weight) -> dx, dweight, dbias

SHAPES = ((2, 3, 4, 5), (5, 2, 3, 4), (3, 4, 6, 2))  # B, T, C, K


def _draw_linear(rng: np.random.Generator, size: int) -> tuple:
    B, T, C, K = SHAPES[size]
    return tuple(rng.standard_normal(shape) for shape in ((B, T, K), (B, T, C), (C, K)))


_linear = right.linear_backward


def _reshaped_weight(dy, x, weight):
    _, dweight, dbias = _linear(dy, x, weight)
    return dy @ weight.reshape(weight.shape[::-1]), dweight, dbias


def _reshaped_dweight(dy, x, weight):
    dx, dweight, dbias = _linear(dy, x, weight)
    return dx, dweight.T.reshape(dweight.shape), dbias


def _averaged(over):
    def wrong(dy, x, weight):
        dx, dweight, dbias = _linear(dy, x, weight)
        rows = np.prod([dy.shape[axis] for axis in over])
        return dx, dweight / rows, dbias / rows

    return wrong


def _first_image(dy, x, weight):
    dx, _, _ = _linear(dy, x, weight)
    return dx, x[0].T @ dy[0], dy[0].sum(0)


def _without_dy(dy, x, weight):
    dx, dweight, _ = _linear(np.ones_like(dy), x, weight)
    return dx, dweight, dy.sum((0, 1))


def _linear_loss(dy, x, weight):
    x, weight, bias = x.copy(), weight.copy(), np.zeros(weight.shape[1])

    def objective() -> float:
        return float((dy * linear_forward(x, weight, bias)[0]).sum())

    return objective, {"dx": x, "dweight": weight, "dbias": bias}


add(
    Exercise(
        name="03.c",
        hard=(
            Hard("for one image of one token",
                 lambda rng: tuple(rng.standard_normal(s) for s in ((1, 1, 3), (1, 1, 4), (4, 3)))),
        ),
        answer=right.linear_backward,
        outputs=("dx", "dweight", "dbias"),
        inputs=_draw_linear,
        forward=_linear_loss,
        mistakes=(
            Mistake("weight was given the right shape by reshape. Reshape keeps the numbers in "
                    "order; weight.T swaps rows and columns", _reshaped_weight),
            Mistake("dyᵀx was given the right shape by reshape. The gradient is xᵀdy, whose rows "
                    "belong to the inputs", _reshaped_dweight),
            Mistake("the rows were averaged; every row used weight and bias, so their gradients "
                    "are sums (the mean over the batch is in dy already)", _averaged((0, 1))),
            Mistake("the images were averaged; every image used weight and bias, so their "
                    "gradients are sums", _averaged((0,))),
            Mistake("only the first image was counted; the sum is over all rows of all images",
                    _first_image),
            Mistake("dy was left out: the chain rule multiplies by the upstream gradient",
                    _without_dy),
        ),
    )
)  # fmt: skip


# 03.d: softmax_backward(dprobs, probs) -> dscores


def _draw_softmax(rng: np.random.Generator, size: int) -> tuple:
    shape = ((2, 5), (4, 3), (3, 2, 4))[size]
    return rng.standard_normal(shape), softmax_forward(rng.standard_normal(shape))[0]


def _sum(a, axis=-1):
    return a.sum(axis, keepdims=True)


def _softmax_loss(dprobs, probs):
    scores = np.log(probs)
    return lambda: float((dprobs * softmax_forward(scores)[0]).sum()), {"dscores": scores}


add(
    Exercise(
        name="03.d",
        warm_up=True,
        hard=(
            Hard("for a single row, an array with one axis",
                 lambda rng: (rng.standard_normal(4), right.softmax(rng.standard_normal(4)))),
        ),
        grown=lambda rng, n: (
            rng.standard_normal((2 * n, 3 * n)),
            right.softmax(rng.standard_normal((2 * n, 3 * n)))),
        answer=right.softmax_backward,
        outputs=("dscores",),
        inputs=_draw_softmax,
        forward=_softmax_loss,
        mistakes=(
            Mistake("only the diagonal p·(1 - p) was used, as if each probability depended only on "
                    "its own score; a score changes all probabilities of its row",
                    lambda dp, p: dp * p * (1 - p)),
            Mistake("the sum is missing: every score is also in the denominator of all other "
                    "probabilities",
                    lambda dp, p: dp * p),
            Mistake("dp was summed; sum dp·p, which is the mean of dp weighted by the "
                    "probabilities",
                    lambda dp, p: p * (dp - _sum(dp))),
            Mistake("the sum is over the batch (axis 0); probabilities compete within their row, "
                    "axis=-1",
                    lambda dp, p: p * (dp - _sum(dp * p, 0))),
            Mistake("a mean was used instead of a sum: the probabilities are already its weights",
                    lambda dp, p: p * (dp - (dp * p).mean(-1, keepdims=True))),
            Mistake("the factor p in front of the parenthesis is missing",
                    lambda dp, p: dp - _sum(dp * p)),
            Mistake("the sum was added; what one probability gains, the others lose",
                    lambda dp, p: p * (dp + _sum(dp * p))),
        ),
    )
)  # fmt: skip


# 03.e: cross_entropy_gradient(logits, labels) -> dlogits


def _draw_logits(rng: np.random.Generator, size: int) -> tuple:
    B, K = ((3, 5), (6, 4), (4, 7))[size]
    logits = 2 * rng.standard_normal((B, K)) + (0, 0, 1000)[size]  # the last overflows exp
    return logits, rng.integers(0, K, B)


def _parts(formula):
    """A wrong answer formula(p, t, B, K)."""

    def wrong(logits, labels):
        probs, targets = cross_entropy_forward(logits, labels)[1]
        return formula(probs, targets, *logits.shape)

    return wrong


def _over_the_batch(logits, labels):
    probs = softmax_forward(logits.T)[0].T
    _, targets = cross_entropy_forward(logits, labels)[1]
    return (probs - targets) / len(logits)


def _logit_loss(logits, labels):
    logits = logits.copy()
    return lambda: float(cross_entropy_forward(logits, labels)[0]), {"dlogits": logits}


def _less(largest):
    """A wrong answer that subtracts largest(logits)."""

    def wrong(logits, labels):
        weights = np.exp(logits - largest(logits))
        targets = np.eye(logits.shape[1], dtype=logits.dtype)[labels]
        return (weights / weights.sum(1, keepdims=True) - targets) / len(logits)

    return wrong


def _every_row(logits, labels):
    dlogits = right.softmax(logits)
    dlogits[:, labels] -= 1
    return dlogits / len(logits)


add(
    Exercise(
        name="03.e",
        warm_up=True,
        hard=(
            Hard("where one row has large logits and the others do not: each row needs its own "
                 "maximum",
                 lambda rng: (
                     rng.standard_normal((3, 4)) + np.array([[0.0], [1000.0], [0.0]]),
                     rng.integers(0, 4, 3))),
            Hard("for one image",
                 lambda rng: (rng.standard_normal((1, 3)), rng.integers(0, 3, 1))),
        ),
        answer=right.cross_entropy_gradient,
        outputs=("dlogits",),
        inputs=_draw_logits,
        forward=_logit_loss,
        mistakes=(
            Mistake("the largest logit of the whole batch was subtracted instead of each row's: "
                    "all exponentials of another row can underflow to zero",
                    _less(lambda z: z.max())),
            Mistake('no maximum was subtracted before the exponential, which overflows',
                    _less(lambda z: 0)),
            Mistake("the labels were applied to every row: dlogits[:, labels] selects whole "
                    "columns; pair them: dlogits[np.arange(B), labels]",
                    _every_row),
            Mistake("the division by B is missing: the loss is a mean over the batch",
                    _parts(lambda p, t, B, K: p - t)),
            Mistake("it was divided by B·K: the loss is a mean over the images, but a sum over "
                    "the classes", _parts(lambda p, t, B, K: (p - t) / (B * K))),
            Mistake("the difference is reversed: the gradient points uphill, so it is positive for "
                    "a class with too much probability", _parts(lambda p, t, B, K: (t - p) / B)),
            Mistake("the target was not subtracted: the true class is pushed down, too",
                    _parts(lambda p, t, B, K: p / B)),
            Mistake("that is the gradient with respect to p, -t/p; softmax's own backward is "
                    "missing", _parts(lambda p, t, B, K: -t / p / B)),
            Mistake("softmax was taken over the batch (axis 0); the classes of one image "
                    "compete, axis=-1", _over_the_batch),
        ),
    )
)  # fmt: skip
