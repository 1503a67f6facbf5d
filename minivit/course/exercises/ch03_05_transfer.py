"""Chapters 03 to 05, beyond the text: label smoothing, RMSNorm, attention with a bias."""

import math

import numpy as np

from minivit.course import right, right_transfer
from minivit.course.exercise import Exercise, Hard, Mistake, add, gradient_of
from minivit.functional import cross_entropy_forward

# 03.g: smoothed_gradient(logits, labels, smoothing) -> dlogits


def _draw_smoothed(rng: np.random.Generator, size: int) -> tuple:
    B, K = ((3, 5), (6, 4), (4, 7))[size]
    logits = 2 * rng.standard_normal((B, K)) + (0, 0, 1000)[size]  # the last overflows exp
    return logits, rng.integers(0, K, B), (0.1, 0.3, 0.2)[size]


def _towards(targets):
    """A wrong answer whose targets are targets(one-hot, smoothing, K)."""

    def wrong(logits, labels, smoothing):
        B, K = logits.shape
        one_hot = np.eye(K, dtype=logits.dtype)[labels]
        return (right.softmax(logits) - targets(one_hot, smoothing, K)) / B

    return wrong


def _smoothed_loss(logits, labels, smoothing):
    logits = logits.copy()
    return lambda: float(cross_entropy_forward(logits, labels, smoothing)[0]), {"dlogits": logits}


def _times(factor):
    return lambda *a: right_transfer.smoothed_gradient(*a) * factor(*a[0].shape)


add(
    Exercise(
        name="03.g",
        answer=right_transfer.smoothed_gradient,
        outputs=("dlogits",),
        inputs=_draw_smoothed,
        forward=_smoothed_loss,
        hard=(
            Hard("where one row has large logits and the others do not: each row needs its own "
                 "maximum",
                 lambda rng: (rng.standard_normal((3, 4)) + np.array([[0.0], [1000.0], [0.0]]),
                              rng.integers(0, 4, 3), 0.1)),
            Hard("for one image, smoothed completely (ε = 1)",
                 lambda rng: (rng.standard_normal((1, 3)), rng.integers(0, 3, 1), 1.0)),
        ),
        mistakes=(
            Mistake("the targets were not smoothed",
                    _towards(lambda hot, s, K: hot)),
            Mistake("the true class lost ε and the others got ε/(K - 1): here all K classes share "
                    "ε, including the true one", _towards(lambda hot, s, K: (
                        hot * (1 - s) + (1 - hot) * s / (K - 1)))),
            Mistake("every class was given ε instead of ε/K: the targets do not sum to 1",
                    _towards(lambda hot, s, K: hot * (1 - s) + s)),
            Mistake("ε/K was added, but the one-hot target was not multiplied by 1 - ε",
                    _towards(lambda hot, s, K: hot + s / K)),
            Mistake("the one-hot target was multiplied by 1 - ε, but ε/K was not added",
                    _towards(lambda hot, s, K: hot * (1 - s))),
            Mistake("ε and 1 - ε were mixed up",
                    _towards(lambda hot, s, K: hot * s + (1 - s) / K)),
            Mistake("the softmax was smoothed instead of the target", lambda z, y, s: (
                (1 - s) * right.softmax(z) + s / z.shape[1] - np.eye(z.shape[1])[y]) / len(z)),
            Mistake("the division by B is missing: the loss is a mean over the batch",
                    _times(lambda B, K: B)),
        ),
    )
)  # fmt: skip


# 04.d: rmsnorm_backward(dy, x, gamma, eps) -> dx, dgamma


def _draw_rms(rng: np.random.Generator, size: int) -> tuple:
    B, T, C = ((2, 3, 4), (5, 4, 8), (3, 7, 6))[size]
    dy, x = rng.standard_normal((2, B, T, C))
    return dy, x + 0.7, rng.standard_normal(C), 0.02


def _mean(a, axis=-1):
    return a.mean(axis, keepdims=True)


def _with_dx(formula):
    """A wrong answer whose dx is formula(dxhat, xhat, rstd)."""

    def wrong(dy, x, gamma, eps):
        _, dgamma = right_transfer.rmsnorm_backward(dy, x, gamma, eps)
        rstd = 1 / np.sqrt(_mean(x * x) + eps)
        return formula(dy * gamma, x * rstd, rstd), dgamma

    return wrong


def _as_layernorm(dy, x, gamma, eps):
    rstd = 1 / np.sqrt(x.var(-1, keepdims=True) + eps)
    dx, dgamma, _ = right.layernorm_backward(dy, (x - _mean(x)) * rstd, rstd, gamma)
    return dx, dgamma


def _of_x(dy, x, gamma, eps):
    dx, _ = right_transfer.rmsnorm_backward(dy, x, gamma, eps)
    return dx, (dy * x).sum((0, 1))


add(
    Exercise(
        name="04.d",
        answer=right_transfer.rmsnorm_backward,
        outputs=("dx", "dgamma"),
        inputs=_draw_rms,
        forward=gradient_of(right_transfer.rmsnorm, "dx", "dgamma"),
        hard=(
            Hard("for one image of one token", lambda rng: (
                *rng.standard_normal((2, 1, 1, 5)), rng.standard_normal(5), 0.01)),
            Hard("for a token that is all zeros", lambda rng: (
                rng.standard_normal((2, 1, 3)), np.zeros((2, 1, 3)), rng.standard_normal(3), 0.1)),
        ),
        mistakes=(
            Mistake("that is LayerNorm's backward: RMSNorm subtracts no mean, so there is no term "
                    "mean(dxhat)",
                    _with_dx(lambda d, h, r: r * (d - _mean(d) - h * _mean(d * h)))),
            Mistake("x̂ and σ are LayerNorm's, with the mean subtracted; here x̂ is x divided by "
                    "its root mean square", _as_layernorm),
            Mistake("the root mean square was treated as a constant: it depends on every number of "
                    "the token", _with_dx(lambda d, h, r: r * d)),
            Mistake("a sum was used instead of the mean of dxhat·x̂",
                    _with_dx(lambda d, h, r: r * (d - h * (d * h).sum(-1, keepdims=True)))),
            Mistake("the mean of dxhat·x̂ was added; the component along x̂ is subtracted",
                    _with_dx(lambda d, h, r: r * (d + h * _mean(d * h)))),
            Mistake("the mean of dxhat·x̂ is not multiplied by x̂",
                    _with_dx(lambda d, h, r: r * (d - _mean(d * h)))),
            Mistake("the division by the root mean square is missing in dx",
                    _with_dx(lambda d, h, r: d - h * _mean(d * h))),
            Mistake("dgamma uses x instead of x̂, which is x divided by its root mean square",
                    _of_x),
        ),
    )
)  # fmt: skip


# 05.e: biased_attention(q, k, v, table, index) -> out, probs


def _draw_biased(rng: np.random.Generator, size: int) -> tuple:
    return _biased(rng, *((2, 3, 4), (3, 5, 2), (1, 4, 6))[size])


def _offsets(T):
    """For each pair (t, s) of T positions in a row: the number of its offset, of 2T - 1."""
    positions = np.arange(T)
    return positions - positions[:, None] + T - 1


def _biased(rng, B, T, D):
    q, k, v = rng.standard_normal((3, B, T, D))
    return q, k, v, 2 * rng.standard_normal(2 * T - 1), _offsets(T)


def _scored(scores):
    """A wrong answer whose scores are scores(q kᵀ, √D, the pairs' bias)."""

    def wrong(q, k, v, table, index):
        probs = right.softmax(scores(q @ k.swapaxes(-1, -2), math.sqrt(q.shape[-1]), table[index]))
        return probs @ v, probs

    return wrong


def _after_softmax(q, k, v, table, index):
    probs = right.attention(q, k, v)[1] + table[index]
    return probs @ v, probs


def _times_softmax(q, k, v, table, index):
    probs = right.attention(q, k, v)[1] * np.exp(table[index])
    return probs @ v, probs


def _large_bias(rng):
    q, k, v, table, index = _biased(rng, 1, 3, 4)
    return q, k, v, table + 2000.0 * np.arange(5), index


add(
    Exercise(
        name="05.e",
        answer=right_transfer.biased_attention,
        outputs=("out", "probs"),
        inputs=_draw_biased,
        hard=(
            Hard("for one token", lambda rng: _biased(rng, 2, 1, 3)),
            Hard("where a large bias dominates: each row needs its own maximum", _large_bias),
        ),
        mistakes=(
            Mistake("the bias is missing", _scored(lambda s, root, b: s / root)),
            Mistake("the bias was divided by √D, too; only the dot product should be",
                    _scored(lambda s, root, b: (s + b) / root)),
            Mistake("the scores were not divided by √D", _scored(lambda s, root, b: s + b)),
            Mistake("the scores were multiplied by the bias; it is added",
                    _scored(lambda s, root, b: s / root * b)),
            Mistake("the bias is transposed: index[t, s] belongs to query t and key s",
                    _scored(lambda s, root, b: s / root + b.T)),
            Mistake("the bias was added after softmax, so the rows do not sum to 1",
                    _after_softmax),
            Mistake("the rows of probs do not sum to 1: the bias is missing from the denominator "
                    "of softmax",
                    _times_softmax),
            Mistake("the bias was subtracted", _scored(lambda s, root, b: s / root - b)),
        ),
    )
)  # fmt: skip


# 05.f: table_backward(dscores, index, R) -> dtable


def _draw_table(rng: np.random.Generator, size: int) -> tuple:
    B, T = ((2, 3), (3, 5), (4, 2))[size]
    return rng.standard_normal((B, T, T)), _offsets(T), 2 * T - 1


def _table_loss(dscores, index, R):
    table = np.zeros(R)
    return lambda: float((dscores * table[index]).sum()), {"dtable": table}


def _last_alone(dscores, index, R):
    dtable = np.zeros(R)
    dtable[index] += dscores.sum(0)
    return dtable


def _over(change):
    """A wrong answer that changes the gradients of the pairs before they are summed."""
    return lambda dscores, index, R: right_transfer.table_backward(change(dscores), index, R)


def _mean_of_uses(dscores, index, R):
    uses = np.maximum(np.bincount(index.ravel(), minlength=R), 1)
    return right_transfer.table_backward(dscores, index, R) / uses


add(
    Exercise(
        name="05.f",
        answer=right_transfer.table_backward,
        outputs=("dtable",),
        inputs=_draw_table,
        forward=_table_loss,
        hard=(
            Hard("where some numbers of the table are not used by any pair", lambda rng: (
                rng.standard_normal((2, 3, 3)), rng.integers(0, 4, (3, 3)) * 2, 9)),
            Hard("for one image, with the same number for all pairs", lambda rng: (
                rng.standard_normal((1, 3, 3)), np.zeros((3, 3), int), 1)),
        ),
        mistakes=(
            Mistake("only the last pair of each offset was counted: dtable[index] += … adds once "
                    "per index, however often it occurs; np.add.at or a loop adds every time",
                    _last_alone),
            Mistake("only the first image was counted; all of them used the table",
                    _over(lambda d: d[:1])),
            Mistake("the images were averaged; a number that is used several times gets the sum of "
                    "its gradients",
                    _over(lambda d: d.mean(0, keepdims=True))),
            Mistake("the pairs of an offset were averaged; a number that is used several times "
                    "gets the sum of its gradients",
                    _mean_of_uses),
            Mistake("dscores is transposed: index[t, s] belongs to query t and key s",
                    _over(lambda d: d.swapaxes(1, 2))),
        ),
    )
)  # fmt: skip
