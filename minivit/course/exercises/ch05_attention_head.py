"""Chapter 05: one attention head."""

import math

import numpy as np

from minivit.course import right
from minivit.course.exercise import Exercise, Hard, Mistake, add
from minivit.functional import attention_forward, softmax_backward

SHAPES = ((2, 3, 4, 5), (3, 2, 6, 4), (1, 4, 3, 7))  # B, H, T, D


def _t(a):
    return a.swapaxes(-1, -2)


def _softmax(scores, axis=-1):
    weights = np.exp(scores - scores.max(axis, keepdims=True))
    return weights / weights.sum(axis, keepdims=True)


# 05.a: an attention weight with pencil and paper: scores 4/2 and 2/2

add(
    Exercise(
        name="05.a",
        answer=1 / (1 + math.exp(-1)),
        mistakes=(
            Mistake("the scores were not divided by √D", 1 / (1 + math.exp(-2))),
            Mistake("the scores were divided by D instead of √D", 1 / (1 + math.exp(-0.5))),
            Mistake("this is the weight of token 1; give the weight of token 0",
                    1 / (1 + math.exp(1))),
            Mistake("the scores themselves were normalized to sum to one, without the exponential",
                    2 / 3),
            Mistake("this is the score of token 0; softmax is missing", 2.0),
        ),
    )
)  # fmt: skip


# 05.b: attention(q, k, v) -> out, probs


def _draw_forward(rng: np.random.Generator, size: int) -> tuple:
    B, H, T, D = SHAPES[size]
    shape = ((T, D), (B, T, D), (B, H, T, D))[size]
    return tuple(rng.standard_normal(shape) for _ in range(3))


def _with_probs(formula):
    """A wrong answer whose attention map is formula(q, k)."""

    def wrong(q, k, v):
        probs = formula(q, k)
        return probs @ v, probs

    return wrong


def _scores(q, k):
    return q @ _t(k) / math.sqrt(q.shape[-1])


def _no_softmax_norm(q, k):
    return np.exp(_scores(q, k) - _scores(q, k).max(-1, keepdims=True))


def _column_out(q, k, v):
    probs = _softmax(_scores(q, k))
    return _t(probs) @ v, probs


def _large_scores(rng):
    q, k, v = rng.standard_normal((3, 4, 3))
    q[1] *= 2000
    return q, k, v


def _naive_softmax(scores):
    weights = np.exp(scores)
    return weights / weights.sum(-1, keepdims=True)


add(
    Exercise(
        name="05.b",
        hard=(
            Hard("where one row has large scores and the others do not: each row needs its own "
                 "maximum",
                 lambda rng: _large_scores(rng)),
            Hard("for one token",
                 lambda rng: tuple(rng.standard_normal((3, 2, 1, 4)))),
        ),
        answer=right.attention,
        outputs=("out", "probs"),
        inputs=_draw_forward,
        mistakes=(
            Mistake("the largest score of all was subtracted instead of each row's: all "
                    "exponentials of another row can underflow to zero",
                    _with_probs(lambda q, k: _naive_softmax(_scores(q, k) - _scores(q, k).max()))),
            Mistake('no maximum was subtracted before the exponential, which overflows',
                    _with_probs(lambda q, k: _naive_softmax(_scores(q, k)))),
            Mistake('the scores were returned instead of their softmax',
                    lambda q, k, v: (right.attention(q, k, v)[0], _scores(q, k))),
            Mistake("the scores were not divided by √D: their spread grows with the head size, and "
                    "softmax gives nearly all weight to one token",
                    _with_probs(lambda q, k: _softmax(q @ _t(k)))),
            Mistake("the scores were divided by D instead of √D",
                    _with_probs(lambda q, k: _softmax(q @ _t(k) / q.shape[-1]))),
            Mistake("the scores were divided by √T, the number of tokens; their spread depends on "
                    "the head size D, q.shape[-1]",
                    _with_probs(lambda q, k: _softmax(q @ _t(k) / math.sqrt(q.shape[-2])))),
            Mistake("the scores were multiplied by √D instead of divided",
                    _with_probs(lambda q, k: _softmax(q @ _t(k) * math.sqrt(q.shape[-1])))),
            Mistake("queries and keys are swapped: k qᵀ instead of q kᵀ",
                    _with_probs(lambda q, k: _softmax(_scores(k, q)))),
            Mistake("softmax was taken down the columns (axis -2): the weights of one query, a "
                    "row, sum to one",
                    _with_probs(lambda q, k: _softmax(_scores(q, k), -2))),
            Mistake("softmax was taken over the whole matrix; each row sums to one",
                    _with_probs(lambda q, k: _softmax(_scores(q, k), (-2, -1)))),
            Mistake("the exponentials were not divided by the sum of their row",
                    _with_probs(_no_softmax_norm)),
            Mistake("the values were weighted by the columns of probs (its transpose); row t holds "
                    "the weights of query t", _column_out),
        ),
    )
)  # fmt: skip


# 05.c: softmax_backward(dprobs, probs) -> dscores


def _draw_softmax(rng: np.random.Generator, size: int) -> tuple:
    B, H, T, D = SHAPES[size]
    shape = ((B, T), (B, H, T), (B, H, D, T))[size]
    return rng.standard_normal(shape), _softmax(rng.standard_normal(shape))


def _softmax_loss(dprobs, probs):
    scores = np.log(probs)
    return lambda: float((dprobs * _softmax(scores)).sum()), {"dscores": scores}


add(
    Exercise(
        name="05.c",
        warm_up=True,
        hard=(
            Hard("for a single row, an array with one axis",
                 lambda rng: (rng.standard_normal(4), _softmax(rng.standard_normal(4)))),
        ),
        grown=lambda rng, n: (
            rng.standard_normal((2 * n, 3 * n)), _softmax(rng.standard_normal((2 * n, 3 * n)))),
        answer=right.softmax_backward,
        outputs=("dscores",),
        inputs=_draw_softmax,
        forward=_softmax_loss,
        mistakes=(
            Mistake("only the weight's own score was considered, P(1 - P)·dP: a score changes all "
                    "other weights of its row, too", lambda d, p: d * p * (1 - p)),
            Mistake("the mean of the row is missing: the weights sum to one, so what one gains the "
                    "others lose", lambda d, p: p * d),
            Mistake("the factor probs in front of the parenthesis is missing",
                    lambda d, p: d - (d * p).sum(-1, keepdims=True)),
            Mistake("the plain mean of dprobs was subtracted instead of the weighted mean, Σ "
                    "dprobs·probs", lambda d, p: p * (d - d.mean(-1, keepdims=True))),
            Mistake("the plain sum of dprobs was subtracted; each must be weighted by its "
                    "probability",
                    lambda d, p: p * (d - d.sum(-1, keepdims=True))),
            Mistake("Σ dprobs·probs was divided by the number of tokens; the weights sum to one, "
                    "so the sum is already the mean",
                    lambda d, p: p * (d - (d * p).mean(-1, keepdims=True))),
            Mistake("the sum was taken over an axis other than the row's own (axis=-1)",
                    lambda d, p: p * (d - (d * p).sum(-2, keepdims=True))),
            Mistake("the sum was taken over all rows together; each row has its own",
                    lambda d, p: p * (d - (d * p).sum())),
            Mistake("the sign of the row's mean is wrong: subtract it",
                    lambda d, p: p * (d + (d * p).sum(-1, keepdims=True))),
        ),
    )
)  # fmt: skip


# 05.d: attention_backward(dout, q, k, v, probs) -> dq, dk, dv


def _draw_backward(rng: np.random.Generator, size: int) -> tuple:
    dout, q, k, v = (rng.standard_normal(SHAPES[size]) for _ in range(4))
    return dout, q, k, v, _softmax(_scores(q, k))


def _variant(*, dscores=softmax_backward, dprobs=None, dv=None, scale=None, dq=None, dk=None):
    """A wrong answer: every step is right except the given ones."""

    def wrong(dout, q, k, v, probs):
        root = math.sqrt(q.shape[-1]) if scale is None else scale(q)
        change = dout @ _t(v) if dprobs is None else dprobs(dout, v)
        ds = dscores(change, probs) / root
        return (
            ds @ k if dq is None else dq(ds, q, k),
            _t(ds) @ q if dk is None else dk(ds, q, k),
            _t(probs) @ dout if dv is None else dv(probs, dout),
        )

    return wrong


def _attention_loss(dout, q, k, v, probs):
    q, k, v = q.copy(), k.copy(), v.copy()
    return lambda: float((dout * attention_forward(q, k, v)[0]).sum()), {"dq": q, "dk": k, "dv": v}


add(
    Exercise(
        name="05.d",
        hard=(
            Hard("for one image, one head and one token",
                 lambda rng: (*rng.standard_normal((4, 1, 1, 1, 3)), np.ones((1, 1, 1, 1)))),
        ),
        answer=right.attention_backward,
        outputs=("dq", "dk", "dv"),
        inputs=_draw_backward,
        forward=_attention_loss,
        mistakes=(
            Mistake("the division by √D is missing: the scores have it, so their gradients have "
                    "it, too, in dq and in dk", _variant(scale=lambda q: 1.0)),
            Mistake("the division by √D was done twice: once, in dscores, is enough for dq and dk",
                    _variant(scale=lambda q: q.shape[-1])),
            Mistake("dscores was multiplied by √D; the scores were divided by it, and so are their "
                    "gradients",
                    _variant(scale=lambda q: 1 / math.sqrt(q.shape[-1]))),
            Mistake("softmax's backward lacks the mean of the row, Σ dprobs·probs",
                    _variant(dscores=lambda d, p: d * p)),
            Mistake("softmax's backward lacks the factor probs in front of the parenthesis",
                    _variant(dscores=lambda d, p: d - (d * p).sum(-1, keepdims=True))),
            Mistake("softmax's backward sums down the columns; it should sum along the rows "
                    "(axis=-1)",
                    _variant(dscores=lambda d, p: p * (d - (d * p).sum(-2, keepdims=True)))),
            Mistake("softmax's backward was left out: dprobs was used as dscores",
                    _variant(dscores=lambda d, p: d)),
            Mistake("dprobs is v doutᵀ, which is transposed: row t belongs to dout of query t",
                    _variant(dprobs=lambda dout, v: v @ _t(dout))),
            Mistake("dscores is transposed: a query's gradient sums along its row, dscores @ k",
                    _variant(dq=lambda ds, q, k: _t(ds) @ k)),
            Mistake("dscores is not transposed: a key's gradient sums down its column",
                    _variant(dk=lambda ds, q, k: ds @ q)),
            Mistake("dq was computed from q: in a product, each factor's gradient contains the "
                    "other one, so dq is computed from k", _variant(dq=lambda ds, q, k: ds @ q)),
            Mistake("dk was computed from k: in a product, each factor's gradient contains the "
                    "other one, so dk is computed from q",
                    _variant(dk=lambda ds, q, k: _t(ds) @ k)),
            Mistake("probs is not transposed: a value's gradient sums down its column, over the "
                    "queries that used it", _variant(dv=lambda p, dout: p @ dout)),
            Mistake("probs is missing from dv: each query used only a weighted part of each value",
                    _variant(dv=lambda p, dout: np.broadcast_to(dout.sum(-2, keepdims=True),
                                                                dout.shape))),
        ),
    )
)  # fmt: skip
