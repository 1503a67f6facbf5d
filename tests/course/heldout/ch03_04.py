"""Held-out answers to chapters 03 and 04."""

import math

import numpy as np

from heldout.collect import right, wrong

# 03.a: L = (ab + c)a at 2, -3, 10: u = -6, v = 4; dv = 2, da = v + dv·b = 4 - 6 = -2, db = 4, dc = 2  # noqa: E501
right("03.a", (-2, 4, 2), [-2.0, 4.0, 2.0])
wrong("03.a", "two|twice|both|second|other|path|way|arrow|alone", (4, 4, 2), (-6, 4, 2))
wrong("03.a", "minus|sign|subtract|added|negative", (10, 4, 2))
wrong("03.a", "order|swapped", (4, -2, 2))
wrong("03.a", "dv|chain|multipl|dc|1", (-2, 4, 1))
wrong("03.a", "chain|multipl|dv|db", (-2, 2, 2))

# 03.b: gradient(f, x, h)


def _flat_differences(f, x, h):
    flat = x.ravel()
    out = np.empty(flat.size)
    for i in range(flat.size):
        up, down = flat.copy(), flat.copy()
        up[i] += h
        down[i] -= h
        out[i] = (f(up.reshape(x.shape)) - f(down.reshape(x.shape))) / (2 * h)
    return out.reshape(x.shape)


def _nditer(f, x, h):
    grad = np.zeros_like(x)
    it = np.nditer(x, flags=["multi_index"], op_flags=["readwrite"])
    x = x.copy()
    while not it.finished:
        ix = it.multi_index
        old = x[ix]
        x[ix] = old + h
        fxph = f(x)
        x[ix] = old - h
        fxmh = f(x)
        x[ix] = old
        grad[ix] = (fxph - fxmh) / (2 * h)
        it.iternext()
    return grad


right("03.b", _flat_differences, _nditer)


def _difference(formula):
    def answer(f, x, h):
        out = np.zeros_like(x)
        for ix in np.ndindex(*x.shape):
            step = np.zeros_like(x)
            step[ix] = h
            out[ix] = formula(f, x, step, h)
        return out

    return answer


wrong(
    "03.b",
    "bracket|precedence|times h|multipl|/ ?2 ?\\* ?h|h²|h",
    _difference(lambda f, x, s, h: (f(x + s) - f(x - s)) / 2 * h),
)
wrong("03.b", "sign", _difference(lambda f, x, s, h: (f(x - s) - f(x + s)) / (2 * h)))
wrong(
    "03.b", "one side|half|one-sided", _difference(lambda f, x, s, h: (f(x + s) - f(x)) / (2 * h))
)


def _whole_shift(f, x, h):
    return np.full_like(x, (f(x + h) - f(x - h)) / (2 * h))


def _not_restored(f, x, h):
    x = x.copy()
    out = np.zeros_like(x)
    for ix in np.ndindex(x.shape):
        x[ix] += h
        up = f(x)
        x[ix] -= 2 * h
        out[ix] = (up - f(x)) / (2 * h)
    return out


def _in_place(f, x, h):
    out = np.zeros_like(x)
    for ix in np.ndindex(x.shape):
        x[ix] += h
        up = f(x)
        x[ix] -= 2 * h
        out[ix] = (up - f(x)) / (2 * h)
        x[ix] += h + 1e-9
    return out


def _rows_only(f, x, h):
    out = np.zeros_like(x)
    for i in range(len(x)):
        step = np.zeros_like(x)
        step[i] = h
        out[i] = (f(x + step) - f(x - step)) / (2 * h)
    return out


wrong("03.b", "all (numbers|of them)|at once|together", _whole_shift)
wrong("03.b", "put back|restor|moved back|stay", _not_restored)
wrong("03.b", "in place", _in_place)
wrong("03.b", "row|axis|axes|first", _rows_only)

# 03.c: linear_backward(dy, x, weight)
right(
    "03.c",
    lambda dy, x, w: (
        np.einsum("btk,ck->btc", dy, w),
        np.einsum("btc,btk->ck", x, dy),
        np.einsum("btk->k", dy),
    ),
    lambda dy, x, w: (
        dy @ w.T,
        x.reshape(-1, x.shape[-1]).T @ dy.reshape(-1, dy.shape[-1]),
        dy.sum(axis=(0, 1)),
    ),
    lambda dy, x, w: [np.matmul(dy, w.T), np.matmul(x.swapaxes(1, 2), dy).sum(0), dy.sum(0).sum(0)],
)
wrong(
    "03.c",
    "mean|average|divided",
    lambda dy, x, w: (dy @ w.T, np.tensordot(x, dy, ([0, 1], [0, 1])) / len(x), dy.sum(1).mean(0)),
)
wrong(
    "03.c",
    "mean|average|divided",
    lambda dy, x, w: (dy @ w.T, np.tensordot(x, dy, ([0, 1], [0, 1])), dy.mean((0, 1))),
)
wrong(
    "03.c", "sum|leading|batch|shape", lambda dy, x, w: (dy @ w.T, x.swapaxes(1, 2) @ dy, dy.sum(1))
)
wrong(
    "03.c",
    "sum|batch|leading|shape",
    lambda dy, x, w: (dy @ w.T, np.tensordot(x, dy, ([0, 1], [0, 1])), dy.sum(0)),
)
wrong(
    "03.c",
    "transpos",
    lambda dy, x, w: (dy @ w.T, np.tensordot(dy, x, ([0, 1], [0, 1])), dy.sum((0, 1))),
)
wrong(
    "03.c",
    "transpos|ValueError",
    lambda dy, x, w: (dy @ w, np.tensordot(x, dy, ([0, 1], [0, 1])), dy.sum((0, 1))),
)
wrong(
    "03.c",
    "reshape|transpos",
    lambda dy, x, w: (
        dy @ w.T,
        x.reshape(x.shape[-1], -1) @ dy.reshape(-1, dy.shape[-1]),
        dy.sum((0, 1)),
    ),
)
wrong(
    "03.c",
    "first|last|one image|batch|only",
    lambda dy, x, w: (dy @ w.T, x[0].T @ dy[0], dy[0].sum(0)),
)
wrong(
    "03.c",
    "order|swapped|other",
    lambda dy, x, w: (dy @ w.T, dy.sum((0, 1)), np.tensordot(x, dy, ([0, 1], [0, 1]))),
)
wrong(
    "03.c",
    "sum of|first|x|ones",
    lambda dy, x, w: (dy @ w.T, np.outer(x.sum((0, 1)), dy.sum((0, 1))), dy.sum((0, 1))),
)

# 03.d, 05.c: softmax_backward(dprobs, probs)


def _jacobian(dp, p):
    out = np.empty_like(p)
    for ix in np.ndindex(p.shape[:-1]):
        out[ix] = (np.diag(p[ix]) - np.outer(p[ix], p[ix])) @ dp[ix]
    return out


for name in ("03.d", "05.c"):
    right(
        name,
        lambda dp, p: dp * p - p * np.sum(dp * p, -1, keepdims=True),
        lambda dp, p: p * (dp - np.einsum("...k,...k->...", dp, p)[..., None]),
    )
    wrong(name, "loop", _jacobian)
    wrong(name, "axis|column|row|last", lambda dp, p: p * (dp - (dp * p).sum(0, keepdims=True)))
    wrong(
        name,
        "outside|brackets?|parenthes|not multiplied|factor|p ",
        lambda dp, p: dp * p - (dp * p).sum(-1, keepdims=True),
    )

# 03.e: cross_entropy_gradient(logits, labels)


def _softmax(z):
    e = np.exp(z - np.max(z, -1, keepdims=True))
    return e / np.sum(e, -1, keepdims=True)


def _hot(z, y):
    return np.eye(z.shape[1], dtype=z.dtype)[y]


def _cs231n(z, y):
    dscores = _softmax(z)
    dscores[range(len(y)), y] -= 1
    return dscores / len(y)


right(
    "03.e",
    _cs231n,
    lambda z, y: (_softmax(z) - np.eye(z.shape[1])[y]) / z.shape[0],
    lambda z, y: (_softmax(z) - (np.arange(z.shape[1]) == y[:, None])) / len(z),
)
wrong("03.e", "batch|mean|divi|B", lambda z, y: _softmax(z) - _hot(z, y))
wrong("03.e", "sign|reversed", lambda z, y: (_hot(z, y) - _softmax(z)) / len(z))
wrong("03.e", "one-hot|target|right class|subtract|1", lambda z, y: _softmax(z) / len(z))


def _global_max(z, y):
    e = np.exp(z - z.max())
    p = e / e.sum(1, keepdims=True)
    return (p - _hot(z, y)) / len(z)


def _no_max(z, y):
    e = np.exp(z)
    p = e / e.sum(1, keepdims=True)
    return (p - _hot(z, y)) / len(z)


def _softmax_over_batch(z, y):
    e = np.exp(z - z.max(0, keepdims=True))
    return (e / e.sum(0, keepdims=True) - _hot(z, y)) / len(z)


wrong("03.e", "max|largest", _global_max, _no_max)
wrong("03.e", "axis|column|batch|row", _softmax_over_batch)
wrong(
    "03.e",
    "column|slice|:, labels|every row|all rows|too many",
    lambda z, y: (_softmax(z) - np.isin(np.arange(z.shape[1]), y)[None] * 1.0) / len(z),
)
wrong(
    "03.e", "classes|K|size|all numbers|numbers", lambda z, y: (_softmax(z) - _hot(z, y)) / z.size
)
wrong("03.e", "classes|K", lambda z, y: (_softmax(z) - _hot(z, y)) / z.shape[1])
wrong(
    "03.e",
    "only.*(right|label)|other classes|right class",
    lambda z, y: (_softmax(z) - 1) * _hot(z, y) / len(z),
)
wrong(
    "03.e",
    "log",
    lambda z, y: (
        (
            z
            - z.max(1, keepdims=True)
            - np.log(np.exp(z - z.max(1, keepdims=True)).sum(1, keepdims=True))
            - _hot(z, y)
        )
        / len(z)
    ),
)
wrong("03.e", "softmax", lambda z, y: (z - _hot(z, y)) / len(z))

# 03.f: residual_backward(dy, x, weight, bias), y = x + tanh(xW + b)


def _residual(dy, x, w, b, ds=None, skip=1, t=None):
    th = np.tanh(x @ w + b)
    ds = dy * (1 - th * th) if ds is None else ds(dy, th)
    return skip * dy + ds @ (w.T if t is None else w), x.T @ ds, ds.sum(0)


right("03.f", lambda dy, x, w, b: _residual(dy, x, w, b))
right(
    "03.f",
    lambda dy, x, w, b: tuple(
        np.copy(a) for a in _residual(dy, x, w, b, lambda d, t: d / np.cosh(np.arctanh(t)) ** 2)
    ),
)
wrong(
    "03.f",
    "line|x itself|residual|identity|skip|straight|\\bdy\\b",
    lambda dy, x, w, b: _residual(dy, x, w, b, skip=0),
)
wrong("03.f", "transpos|weight.T", lambda dy, x, w, b: _residual(dy, x, w, b, t=1))
wrong("03.f", "square|²|tanh", lambda dy, x, w, b: _residual(dy, x, w, b, lambda d, t: d * (1 - t)))
wrong(
    "03.f",
    "sign|1 ?[-−+]|\\+",
    lambda dy, x, w, b: _residual(dy, x, w, b, lambda d, t: d * (1 + t * t)),
)
wrong("03.f", "bias", lambda dy, x, w, b: _residual(dy, x, w, 0 * b))
wrong(
    "03.f",
    "y |already|x ?\\+|inner|whole|residual",
    lambda dy, x, w, b: _residual(dy, x, w, b, lambda d, t: d * (1 - (x + t) ** 2)),
)
wrong(
    "03.f",
    "transpos|dweight",
    lambda dy, x, w, b: (
        _residual(dy, x, w, b)[0],
        _residual(dy, x, w, b)[1].T,
        _residual(dy, x, w, b)[2],
    ),
)
wrong(
    "03.f",
    "mean|divided|average",
    lambda dy, x, w, b: (*_residual(dy, x, w, b)[:2], _residual(dy, x, w, b)[2] / len(x)),
)
wrong(
    "03.f",
    "sum|shape|leading",
    lambda dy, x, w, b: (*_residual(dy, x, w, b)[:2], dy * (1 - np.tanh(x @ w + b) ** 2)),
)
wrong("03.f", "bias|slope|tanh", lambda dy, x, w, b: (*_residual(dy, x, w, b)[:2], dy.sum(0)))

# 04.a: layernorm(x, gamma, beta, eps)


def _ln(x, gamma, beta, eps):
    return (
        gamma * (x - np.mean(x, -1, keepdims=True)) / np.sqrt(np.var(x, -1, keepdims=True) + eps)
        + beta
    )


def _ln_f32(x, gamma, beta, eps):
    mu = x.mean(axis=-1)[..., None]
    centered = x - mu
    sd = ((centered**2).sum(-1, keepdims=True) / x.shape[-1] + eps) ** 0.5
    return centered / sd * gamma + beta


right("04.a", _ln, _ln_f32, lambda x, g, b, e: np.asfortranarray(_ln(x, g, b, e)))
wrong(
    "04.a",
    "eps",
    lambda x, g, b, e: g * (x - x.mean(-1, keepdims=True)) / (x.std(-1, keepdims=True) + e) + b,
)
wrong(
    "04.a",
    "eps",
    lambda x, g, b, e: g * (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True) + b,
)
wrong(
    "04.a",
    "eps",
    lambda x, g, b, e: (
        g * (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + e**2) + b
    ),
)
wrong(
    "04.a",
    "C ?[-−] ?1|ddof|unbiased|Bessel",
    lambda x, g, b, e: (
        g * (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, ddof=1, keepdims=True) + e) + b
    ),
)
wrong(
    "04.a",
    "root|variance",
    lambda x, g, b, e: g * (x - x.mean(-1, keepdims=True)) / (x.var(-1, keepdims=True) + e) + b,
)
wrong(
    "04.a",
    "beta|β",
    lambda x, g, b, e: g * (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + e),
)
wrong(
    "04.a",
    "gamma|γ",
    lambda x, g, b, e: (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + e) + b,
)
wrong("04.a", "gamma and beta|gamma|swapped", lambda x, g, b, e: _ln(x, b, g, e))
wrong(
    "04.a", "RMS|mean", lambda x, g, b, e: g * x / np.sqrt((x * x).mean(-1, keepdims=True) + e) + b
)
wrong("04.a", "batch", lambda x, g, b, e: g * (x - x.mean(0)) / np.sqrt(x.var(0) + e) + b)
wrong(
    "04.a", "whole|all|axis|token", lambda x, g, b, e: g * (x - x.mean()) / np.sqrt(x.var() + e) + b
)
wrong(
    "04.a",
    "ndim|axes|axis|token",
    lambda x, g, b, e: (
        g * (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + e) + b
        if x.ndim > 1
        else _ln(x, g, b, e)
    ),
)
wrong(
    "04.a",
    "x²|x\\*\\*2|cancel|large mean|difference of|digits",
    lambda x, g, b, e: (
        g
        * (x - x.mean(-1, keepdims=True))
        / np.sqrt((x**2).mean(-1, keepdims=True) - x.mean(-1, keepdims=True) ** 2 + e)
        + b
    ),
)
wrong(
    "04.a",
    "beta.*(gamma|before|inside)|bracket",
    lambda x, g, b, e: (
        g * ((x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + e) + b)
    ),
)
wrong("04.a", "mean|centr", lambda x, g, b, e: g * x / np.sqrt(x.var(-1, keepdims=True) + e) + b)
wrong(
    "04.a",
    "multipl|divi",
    lambda x, g, b, e: (
        g * (x - x.mean(-1, keepdims=True)) * np.sqrt(x.var(-1, keepdims=True) + e) + b
    ),
)
wrong(
    "04.a",
    "divi|spread|variance|standard dev",
    lambda x, g, b, e: g * (x - x.mean(-1, keepdims=True)) + b,
)
wrong(
    "04.a",
    "sum|mean|C",
    lambda x, g, b, e: (
        g
        * (x - x.mean(-1, keepdims=True))
        / np.sqrt(((x - x.mean(-1, keepdims=True)) ** 2).sum(-1, keepdims=True) + e)
        + b
    ),
)
wrong(
    "04.a",
    "sign|subtract",
    lambda x, g, b, e: (
        g * (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + e) - b
    ),
)
# two at once
wrong(
    "04.a",
    "beta[\\s\\S]*eps|eps[\\s\\S]*beta",
    lambda x, g, b, e: g * (x - x.mean(-1, keepdims=True)) / (x.std(-1, keepdims=True) + e),
)


def _three_axes_only(x, g, b, e):
    _B, _T, _C = x.shape
    return _ln(x, g, b, e)


wrong("04.a", "axes|ValueError|shape|unpack", _three_axes_only)

# 04.b: layernorm_backward(dy, xhat, rstd, gamma)


def _m(a):
    return np.mean(a, axis=-1, keepdims=True)


def _lnb(dy, xhat, rstd, gamma):
    """Karpathy's formula for batch norm, turned by an axis."""
    n = dy.shape[-1]
    d = dy * gamma
    dx = rstd / n * (n * d - d.sum(-1, keepdims=True) - xhat * (d * xhat).sum(-1, keepdims=True))
    return dx, (dy * xhat).sum((0, 1)), dy.sum((0, 1))


right("04.b", _lnb, lambda *a: list(_lnb(*a)))


def _dx(formula):
    return lambda dy, xhat, rstd, gamma: (
        formula(dy, xhat, rstd, gamma),
        *_lnb(dy, xhat, rstd, gamma)[1:],
    )


wrong(
    "04.b",
    "mean\\(dxhat\\)|first mean|term",
    _dx(lambda dy, h, r, g: r * (g * dy - h * _m(g * dy * h))),
)
wrong("04.b", "xhat|second|term|x̂", _dx(lambda dy, h, r, g: r * (g * dy - _m(g * dy))))
wrong("04.b", "mean|term", _dx(lambda dy, h, r, g: r * g * dy))
wrong(
    "04.b",
    "rstd|standard deviation",
    _dx(lambda dy, h, r, g: g * dy - _m(g * dy) - h * _m(g * dy * h)),
)
wrong(
    "04.b",
    "rstd|divided|multipl",
    _dx(lambda dy, h, r, g: (g * dy - _m(g * dy) - h * _m(g * dy * h)) / r),
)
wrong(
    "04.b",
    "sign|\\+|added",
    _dx(lambda dy, h, r, g: r * (g * dy - _m(g * dy) + h * _m(g * dy * h))),
)
wrong(
    "04.b",
    "sign|\\+|added",
    _dx(lambda dy, h, r, g: r * (g * dy + _m(g * dy) - h * _m(g * dy * h))),
)
wrong(
    "04.b",
    "sum",
    _dx(
        lambda dy, h, r, g: (
            r * (g * dy - (g * dy).sum(-1, keepdims=True) - h * (g * dy * h).sum(-1, keepdims=True))
        )
    ),
)
wrong(
    "04.b",
    "sum",
    _dx(lambda dy, h, r, g: r * (g * dy - (g * dy).sum(-1, keepdims=True) - h * _m(g * dy * h))),
)
wrong("04.b", "xhat|x̂|outside", _dx(lambda dy, h, r, g: r * (g * dy - _m(g * dy) - _m(g * dy * h))))
wrong(
    "04.b",
    "product of|means? of|separate|mean",
    _dx(lambda dy, h, r, g: r * (g * dy - _m(g * dy) - h * _m(g * dy) * _m(h))),
)
wrong(
    "04.b",
    "token|axis|batch",
    _dx(
        lambda dy, h, r, g: (
            r * (g * dy - (g * dy).mean(1, keepdims=True) - h * (g * dy * h).mean(1, keepdims=True))
        )
    ),
)
wrong(
    "04.b",
    "square|³|cube|rstd",
    _dx(lambda dy, h, r, g: r**3 * (g * dy - _m(g * dy) - h * _m(g * dy * h))),
)
wrong(
    "04.b",
    "C|n |number|factor",
    _dx(
        lambda dy, h, r, g: (
            r
            * (
                h.shape[-1] * g * dy
                - (g * dy).sum(-1, keepdims=True)
                - h * (g * dy * h).sum(-1, keepdims=True)
            )
        )
    ),
)


def _params(dgamma, dbeta):
    return lambda dy, h, r, g: (_lnb(dy, h, r, g)[0], dgamma(dy, h, r, g), dbeta(dy, h, r, g))


def _right_dgamma(dy, h, r, g):
    return (dy * h).sum((0, 1))


def _right_dbeta(dy, h, r, g):
    return dy.sum((0, 1))


wrong("04.b", "xhat|x̂|dbeta", _params(lambda dy, h, r, g: dy.sum((0, 1)), _right_dbeta))
wrong("04.b", "gamma|γ|dxhat", _params(_right_dgamma, lambda dy, h, r, g: (g * dy).sum((0, 1))))
wrong("04.b", "gamma|γ|dxhat", _params(lambda dy, h, r, g: (g * dy * h).sum((0, 1)), _right_dbeta))
wrong(
    "04.b",
    "mean|average|divided",
    _params(lambda dy, h, r, g: (dy * h).mean((0, 1)), lambda dy, h, r, g: dy.mean((0, 1))),
)
wrong("04.b", "sum|leading|shape", _params(lambda dy, h, r, g: (dy * h).sum(0), _right_dbeta))
wrong("04.b", "rstd|xhat|x ", _params(lambda dy, h, r, g: (dy * h * r).sum((0, 1)), _right_dbeta))
wrong("04.b", "swapped|other|exchang|order", _params(_right_dbeta, _right_dgamma))
wrong(
    "04.b",
    "sum|axis|axes|shape",
    _params(lambda dy, h, r, g: (dy * h).sum(-1), lambda dy, h, r, g: dy.sum(-1)),
)
# two at once: gamma left out of dx, and means taken over tokens; the sum in place of a mean and a sign  # noqa: E501
wrong(
    "04.b",
    "sign[\\s\\S]*rstd|rstd[\\s\\S]*(sign|\\+)|\\+[\\s\\S]*rstd",
    _dx(lambda dy, h, r, g: g * dy - _m(g * dy) + h * _m(g * dy * h)),
)

# 04.c: gelu_backward(dy, x)
_erf = np.vectorize(math.erf, otypes=[float])


def _cdf(x):
    return 0.5 * (1 + _erf(x / math.sqrt(2)))


def _pdf(x):
    return np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)


def _tanh_slope(dy, x):
    c = math.sqrt(2 / math.pi)
    t = np.tanh(c * (x + 0.044715 * x**3))
    return dy * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x))


def _sigmoid_slope(dy, x):
    s = 1 / (1 + np.exp(-1.702 * x))
    return dy * (s + 1.702 * x * s * (1 - s))


right(
    "04.c",
    lambda dy, x: dy * (_cdf(x) + x * _pdf(x)),
    lambda dy, x: _cdf(x) * dy + dy * x * _pdf(x),
)
wrong("04.c", "tanh", _tanh_slope)
wrong("04.c", "sigmoid|1.702|approxim", _sigmoid_slope)
wrong(
    "04.c",
    "2π|√|root|sqrt|2 ?\\* ?math.pi|density",
    lambda dy, x: dy * (_cdf(x) + x * np.exp(-0.5 * x * x) / (2 * math.pi)),
)
wrong("04.c", "sqrt|√2|root", lambda dy, x: dy * (0.5 * (1 + _erf(x)) + x * _pdf(x)))
wrong("04.c", "sign|\\+|minus", lambda dy, x: dy * (_cdf(x) - x * _pdf(x)))
wrong(
    "04.c",
    "half|0.5|1 ?\\+|factor|/ 2",
    lambda dy, x: dy * (1 + _erf(x / math.sqrt(2)) + x * _pdf(x)),
)
wrong(
    "04.c",
    "√2|sqrt|root|2π|density|φ|erf|divided by `2`",
    lambda dy, x: dy * (_cdf(x) + x * np.exp(-0.5 * x * x) * math.sqrt(2 / math.pi)),
)
