"""Chapter 04: LayerNorm and GELU."""

import math

import numpy as np

from minivit.course import right
from minivit.course.exercise import Exercise, Hard, Mistake, add
from minivit.functional import gelu_forward, layernorm_forward
from minivit.functional.gelu import erf

SHAPES = ((2, 3, 4), (5, 4, 8), (3, 7, 6))  # B, T, C


# 04.a: layernorm(x, gamma, beta, eps) -> y


def _draw_forward(rng: np.random.Generator, size: int) -> tuple:
    B, T, C = SHAPES[size]
    x = 0.3 * rng.standard_normal((B, T, C)) + rng.standard_normal((B, T, 1))
    return x, rng.standard_normal(C), rng.standard_normal(C), 0.01


def _normalize(x, gamma, beta, mean, variance):
    return (x - mean) / np.sqrt(variance) * gamma + beta


def _over(axis):
    def wrong(x, gamma, beta, eps):
        mean, variance = x.mean(axis, keepdims=True), x.var(axis, keepdims=True)
        return _normalize(x, gamma, beta, mean, variance + eps)

    return wrong


def _eps_outside(x, gamma, beta, eps):
    mean, std = x.mean(-1, keepdims=True), x.std(-1, keepdims=True)
    return (x - mean) / (std + eps) * gamma + beta


def _no_root(x, gamma, beta, eps):
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / (variance + eps) * gamma + beta


def _one_fewer(x, gamma, beta, eps):
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, ddof=1, keepdims=True)
    return _normalize(x, gamma, beta, mean, variance + eps)


def _no_eps(x, gamma, beta, eps):
    return _over(-1)(x, gamma, beta, 0.0)


def _no_scale(x, gamma, beta, eps):
    return _over(-1)(x, np.ones_like(gamma), np.zeros_like(beta), eps)


def _tokens(rng, *shape):
    C = shape[-1]
    return 0.3 * rng.standard_normal(shape) + 1, *rng.standard_normal((2, C)), 0.01


def _rms(x, gamma, beta, eps):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * gamma + beta


add(
    Exercise(
        name="04.a",
        warm_up=True,
        hard=(
            Hard("for a single token, an array with one axis",
                 lambda rng: _tokens(rng, 5)),
            Hard("for an array with four axes",
                 lambda rng: _tokens(rng, 2, 3, 2, 4)),
            Hard("for numbers with a large mean: mean(x²) - mean(x)² loses digits there",
                 lambda rng: (
                     rng.standard_normal((3, 6)) + 1e6, *rng.standard_normal((2, 6)), 0.01)),
        ),
        answer=right.layernorm,
        outputs=("y",),
        inputs=_draw_forward,
        mistakes=(
            Mistake('the mean was not subtracted, and the squares are those of x: that is RMSNorm',
                    _rms),
            Mistake('eps was squared',
                    lambda x, gamma, beta, eps: right.layernorm(x, gamma, beta, eps * eps)),
            Mistake('beta was added before the scale, and so multiplied by gamma',
                    lambda x, gamma, beta, eps: right.layernorm(x, gamma, gamma * beta, eps)),
            Mistake('beta was left out',
                    lambda x, gamma, beta, eps: right.layernorm(x, gamma, 0 * beta, eps)),
            Mistake(
                "mean and variance were taken over the batch (axis 0): that is BatchNorm; "
                "LayerNorm averages over one token's C numbers, axis=-1",
                _over(0),
            ),
            Mistake(
                "mean and variance were taken over the tokens (axis 1); take them over one "
                "token's C numbers, axis=-1",
                _over(1),
            ),
            Mistake(
                "mean and variance were taken over tokens and width together; each token has its "
                "own, axis=-1 alone",
                _over((1, 2)),
            ),
            Mistake("eps was added to the standard deviation; it belongs under the square root",
                    _eps_outside),
            Mistake("x was divided by the variance; the square root is missing", _no_root),
            Mistake("the variance was computed with C - 1 (ddof=1); here the sum is divided by C",
                    _one_fewer),
            Mistake("eps was left out: a token of equal numbers would cause a division by zero",
                    _no_eps),
            Mistake("gamma and beta were left out", _no_scale),
        ),
    )
)  # fmt: skip


# 04.b: layernorm_backward(dy, xhat, rstd, gamma) -> dx, dgamma, dbeta


def _draw_backward(rng: np.random.Generator, size: int) -> tuple:
    B, T, C = SHAPES[size]
    x = rng.standard_normal((B, T, C))
    rstd = 1.0 / x.std(-1, keepdims=True)
    xhat = (x - x.mean(-1, keepdims=True)) * rstd
    return rng.standard_normal((B, T, C)), xhat, rstd, rng.standard_normal(C)


def _mean(a):
    return a.mean(-1, keepdims=True)


def _backward(dy, xhat, rstd, gamma, *, dx=None):
    """The right answer, except for the given dx."""
    dxhat = dy * gamma
    if dx is None:
        dx = rstd * (dxhat - _mean(dxhat) - xhat * _mean(dxhat * xhat))
    return dx, (dy * xhat).sum((0, 1)), dy.sum((0, 1))


def _with_dx(formula):
    """A wrong answer whose dx is formula(dy, dxhat, xhat, rstd, gamma)."""

    def wrong(dy, xhat, rstd, gamma):
        dx = formula(dy, dy * gamma, xhat, rstd, gamma)
        return _backward(dy, xhat, rstd, gamma, dx=dx)

    return wrong


def _swapped(dy, xhat, rstd, gamma):
    dx, dgamma, dbeta = _backward(dy, xhat, rstd, gamma)
    return dx, dbeta, dgamma


def _dgamma_of_x(dy, xhat, rstd, gamma):
    dx, _, dbeta = _backward(dy, xhat, rstd, gamma)
    return dx, (dy * xhat * gamma).sum((0, 1)), dbeta


def _averaged(dy, xhat, rstd, gamma):
    dx, dgamma, dbeta = _backward(dy, xhat, rstd, gamma)
    rows = dy.shape[0] * dy.shape[1]
    return dx, dgamma / rows, dbeta / rows


def _layernorm_loss(dy, xhat, rstd, gamma):
    x, gamma = xhat / rstd, gamma.copy()
    beta = np.zeros_like(gamma)

    def objective() -> float:
        return float((dy * layernorm_forward(x, gamma, beta, 0.0)[0]).sum())

    return objective, {"dx": x, "dgamma": gamma, "dbeta": beta}


def _one_token(rng):
    dy, x = rng.standard_normal((2, 1, 1, 6))
    return dy, (x - x.mean()) / x.std(), 1 / x.std(keepdims=True), rng.standard_normal(6)


add(
    Exercise(
        name="04.b",
        hard=(
            Hard("for one image of one token",
                 lambda rng: _one_token(rng)),
        ),
        grown=lambda rng, n: tuple(
            rng.standard_normal(s) for s in ((n, 2 * n, n), (n, 2 * n, n), (n, 2 * n, 1), (n,))),
        answer=right.layernorm_backward,
        outputs=("dx", "dgamma", "dbeta"),
        inputs=_draw_backward,
        forward=_layernorm_loss,
        mistakes=(
            Mistake('sums were used instead of the means',
                    _with_dx(
                        lambda dy, d, xhat, rstd, g: rstd * (
                            d - d.sum(-1, keepdims=True)
                            - xhat * (d * xhat).sum(-1, keepdims=True)))),
            Mistake("the means were taken over the tokens (axis 1) instead of over the token's "
                    "numbers (axis -1)",
                    _with_dx(
                        lambda dy, d, xhat, rstd, g: rstd * (
                            d - d.mean(1, keepdims=True)
                            - xhat * (d * xhat).mean(1, keepdims=True)))),
            Mistake(
                "the term mean(dxhat) is missing: x̂ has mean 0 whatever x is, so dx must not "
                "shift all of a token's numbers together",
                _with_dx(lambda dy, d, xhat, rstd, g: rstd * (d - xhat * _mean(d * xhat))),
            ),
            Mistake(
                "the term x̂·mean(dxhat·x̂) is missing: σ, too, depends on every number of the "
                "token",
                _with_dx(lambda dy, d, xhat, rstd, g: rstd * (d - _mean(d))),
            ),
            Mistake(
                "mean and standard deviation were treated as constants: both means are missing",
                _with_dx(lambda dy, d, xhat, rstd, g: rstd * d),
            ),
            Mistake(
                "gamma is outside the means: they are means of dxhat = γ·dy, not of dy",
                _with_dx(
                    lambda dy, d, xhat, rstd, g: (
                        rstd * g * (dy - _mean(dy) - xhat * _mean(dy * xhat))
                    )
                ),
            ),
            Mistake(
                "gamma is missing: what arrives at x̂ is γ·dy",
                _with_dx(
                    lambda dy, d, xhat, rstd, g: rstd * (dy - _mean(dy) - xhat * _mean(dy * xhat))
                ),
            ),
            Mistake(
                "the division by σ (rstd) is missing",
                _with_dx(lambda dy, d, xhat, rstd, g: d - _mean(d) - xhat * _mean(d * xhat)),
            ),
            Mistake(
                "the means were taken over the batch (axis 0) instead of over the token (axis -1)",
                _with_dx(
                    lambda dy, d, xhat, rstd, g: (
                        rstd * (d - d.mean(0) - xhat * (d * xhat).mean(0))
                    )
                ),
            ),
            Mistake("dgamma and dbeta are swapped", _swapped),
            Mistake("gamma was multiplied into its own gradient; dgamma is Σ dy·x̂", _dgamma_of_x),
            Mistake("the rows were averaged; every row used gamma and beta, so their gradients are "
                    "sums", _averaged),
        ),
    )
)  # fmt: skip


# 04.c: gelu_backward(dy, x) -> dx


def _draw_gelu(rng: np.random.Generator, size: int) -> tuple:
    shape = SHAPES[size]
    return rng.standard_normal(shape), 2 * rng.standard_normal(shape)


def _cdf(x):
    return 0.5 * (1 + erf(x * math.sqrt(0.5)))


def _density(x):
    return np.exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi))


def _gelu_loss(dy, x):
    x = x.copy()
    return lambda: float((dy * gelu_forward(x)[0]).sum()), {"dx": x}


def _of_tanh(dy, x):
    c = math.sqrt(2 / math.pi)
    tanh = np.tanh(c * (x + 0.044715 * x**3))
    slope = (1 - tanh**2) * c * (1 + 0.134145 * x**2)
    return dy * 0.5 * (1 + tanh + x * slope)


def _of_sigmoid(dy, x):
    s = 1 / (1 + np.exp(-1.702 * x))
    return dy * s * (1 + 1.702 * x * (1 - s))


add(
    Exercise(
        name="04.c",
        warm_up=True,
        hard=(
            Hard("far from zero, where the density is almost zero",
                 lambda rng: (rng.standard_normal(6), np.linspace(-9, 9, 6))),
        ),
        answer=right.gelu_backward,
        outputs=("dx",),
        inputs=_draw_gelu,
        forward=_gelu_loss,
        mistakes=(
            Mistake("that is the derivative of the tanh approximation; this exercise uses the "
                    "exact GELU, with erf",
                    _of_tanh),
            Mistake("that is the derivative of the approximation x·sigmoid(1.702x); this exercise "
                    "uses the exact GELU",
                    _of_sigmoid),
            Mistake("that is GELU itself times dy, not its derivative",
                    lambda dy, x: dy * x * _cdf(x)),
            Mistake("Φ was treated as a constant: the product rule has a second term, x·φ(x)",
                    lambda dy, x: dy * _cdf(x)),
            Mistake("the first term of the product rule, Φ(x), is missing",
                    lambda dy, x: dy * x * _density(x)),
            Mistake("φ(x) is not multiplied by x", lambda dy, x: dy * (_cdf(x) + _density(x))),
            Mistake("the factor 1/√(2π) of the normal density is missing",
                    lambda dy, x: dy * (_cdf(x) + x * np.exp(-0.5 * x * x))),
            Mistake("the exponent is -x² instead of -x²/2",
                    lambda dy, x: dy * (_cdf(x) + x * np.exp(-x * x) / math.sqrt(2 * math.pi))),
            Mistake("dy was left out: the chain rule multiplies by the upstream gradient",
                    lambda dy, x: _cdf(x) + x * _density(x)),
            Mistake("that is ReLU's derivative; GELU has no kink",
                    lambda dy, x: dy * (x > 0)),
        ),
    )
)  # fmt: skip
