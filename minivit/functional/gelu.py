"""GELU, the Gaussian error linear unit (Hendrycks & Gimpel, 2016), exact and in its tanh form.

GELU multiplies x by Φ(x), the probability that a standard normal variable is below x.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minivit.backend import Array, blockwise, get_xp, has_twin

# erf(z) = tanh(z·(a0 + a1·z² + …)), a0 first. atanh(erf(z))/z is a smooth even function, so a short
# polynomial in z² follows it; minimax fit on |z| ≤ 3.9 for the relative error of erf, which is
# 1e-7 in exact arithmetic and 2.5e-7 in float32. Beyond 3.9 it grows, and its tanh is 1.
ERF_COEFFICIENTS = (
    1.12837927,
    0.102769056,
    -1.91831924e-4,
    -6.1978373e-4,
    8.76369694e-5,
    -5.66841575e-6,
    1.4184877e-7,
)
# from here on 1 - erf(z) < 2.2e-17, too small for float64 to distinguish erf(z) from 1
ERF_IS_ONE = 6.0

# Φ(x) = (1 + erf(x/√2)) / 2, and (1 + tanh u) / 2 = 1 / (1 + exp(-2u)): the same polynomial, with a
# power of √½ and the -2 in each coefficient
PHI_COEFFICIENTS = tuple(
    -2.0 * a * math.sqrt(0.5) ** (2 * i + 1) for i, a in enumerate(ERF_COEFFICIENTS)
)


def erf(z: Array) -> Array:
    r"""The error function, element-wise; float32 or float64 like `z`.

    .. math:: \mathrm{erf}(z) = \frac{2}{\sqrt\pi} \int_0^z e^{-t^2} dt

    float32: relative error ≤ 1e-6, in one `tanh`. float64: accurate to the last digits, by a
    slower series, for checks.
    """
    xp = get_xp(z)
    if z.dtype == xp.float64:
        return _erf_series(z)
    out = _odd_polynomial(z, ERF_COEFFICIENTS, xp.empty_like(z))
    return xp.tanh(out, out)


def _odd_polynomial(x: Array, coefficients: tuple[float, ...], out: Array) -> Array:
    """out = x·(a0 + a1·x² + a2·x⁴ + …), a0 first, by Horner's scheme."""
    square = x * x
    get_xp(x).multiply(square, coefficients[-1], out)
    for coefficient in coefficients[-2:0:-1]:
        out += coefficient
        out *= square
    out += coefficients[0]
    out *= x
    return out


def _logistic(minus_x: Array) -> None:
    """1 / (1 + exp(-x)), overwriting -x: cheaper than (1 + tanh(x/2)) / 2, and no digits cancel."""
    xp = get_xp(minus_x)
    xp.exp(minus_x, minus_x)
    minus_x += 1.0
    xp.reciprocal(minus_x, minus_x)


def _erf_series(z: Array) -> Array:
    r"""Abramowitz & Stegun 7.1.6, whose terms all have the same sign, so that nothing cancels.

    .. math:: \mathrm{erf}(z) = \frac{2}{\sqrt\pi} e^{-z^2}
              \sum_{n \ge 0} \frac{2^n z^{2n+1}}{1 \cdot 3 \cdots (2n+1)}
    """
    xp = get_xp(z)
    clipped = xp.clip(z, -ERF_IS_ONE, ERF_IS_ONE)
    square = clipped * clipped
    term = clipped.copy()
    total = clipped.copy()
    for n in range(1, 160):  # enough for |z| = 6: the last term is 1e-17 of the sum
        term *= square * (2.0 / (2 * n + 1))
        total += term
    total *= xp.exp(-square)
    total *= 2.0 / math.sqrt(math.pi)
    return xp.where(xp.abs(z) < ERF_IS_ONE, total, xp.sign(z))


class GeluCache(NamedTuple):
    """x: the input. cdf: Φ(x) or its approximation, which the derivative needs again."""

    x: Array
    cdf: Array


def _with_cdf(cdf: Callable[[Array, Array], object], x: Array) -> tuple[Array, GeluCache]:
    """y = x c(x) and c(x), where cdf(x, out) fills in c(x)."""

    def fill(x: Array, y: Array, c: Array) -> None:
        cdf(x, c)
        get_xp(x).multiply(x, c, y)

    with np.errstate(over="ignore"):  # exp(-x) may be infinite: then the result is 0
        y, c = blockwise(fill, 2, x)
    return y, GeluCache(x, c)


def _without_cdf(cdf: Callable[[Array, Array], object], x: Array) -> Array:
    """y alone, with one array fewer."""

    def fill(x: Array, y: Array) -> None:
        cdf(x, y)
        y *= x

    with np.errstate(over="ignore"):
        (y,) = blockwise(fill, 1, x)
    return y


@has_twin
def gelu_forward(x: Array) -> tuple[Array, GeluCache]:
    r"""Exact GELU.

    .. math:: y = x\,\Phi(x), \qquad
              \Phi(x) = \tfrac12\bigl(1 + \mathrm{erf}(x / \sqrt 2)\bigr)

    Args:
        x: any shape.

    Returns:
        y of x's shape, cache.
    """
    return _with_cdf(_normal_cdf, x)


@has_twin
def gelu(x: Array) -> Array:
    """`gelu_forward` without a cache."""
    return _without_cdf(_normal_cdf, x)


def _normal_cdf(x: Array, out: Array) -> None:
    """out = Φ(x)."""
    if x.dtype == get_xp(x).float64:
        out[...] = erf(x * math.sqrt(0.5))
        out += 1.0
        out *= 0.5
    else:
        _odd_polynomial(x, PHI_COEFFICIENTS, out)
        _logistic(out)


@has_twin
def gelu_backward(dy: Array, cache: GeluCache) -> Array:
    r"""dy -> dx, both of x's shape; φ = Φ' is the normal density.

    .. math:: dx = dy\,\bigl(\Phi(x) + x\,\varphi(x)\bigr), \qquad
              \varphi(x) = \frac{1}{\sqrt{2\pi}} e^{-x^2/2}
    """
    (dx,) = blockwise(_gelu_derivative, 1, dy, *cache)
    return dx


def _gelu_derivative(dy: Array, x: Array, cdf: Array, dx: Array) -> None:
    xp = get_xp(x)
    xp.multiply(x, x, dx)
    dx *= -0.5
    xp.exp(dx, dx)
    dx *= 1.0 / math.sqrt(2.0 * math.pi)  # φ(x)
    dx *= x
    dx += cdf
    dx *= dy


TANH_SCALE = math.sqrt(2.0 / math.pi)
TANH_CUBIC = 0.044715


@has_twin
def gelu_tanh_forward(x: Array) -> tuple[Array, GeluCache]:
    r"""GELU with Φ approximated by a tanh, as in the paper's own code (flax).

    .. math:: y = x\,c, \qquad c = \tfrac12 (1 + \tanh u), \qquad
              u = \sqrt{2/\pi}\,(x + 0.044715\,x^3)

    Args:
        x: any shape.

    Returns:
        y of x's shape, cache.
    """
    return _with_cdf(_tanh_cdf, x)


@has_twin
def gelu_tanh(x: Array) -> Array:
    """`gelu_tanh_forward` without a cache."""
    return _without_cdf(_tanh_cdf, x)


def _tanh_cdf(x: Array, out: Array) -> None:
    """out = (1 + tanh u) / 2 = 1 / (1 + exp(-2u))."""
    _odd_polynomial(x, (-2.0 * TANH_SCALE, -2.0 * TANH_SCALE * TANH_CUBIC), out)
    _logistic(out)


@has_twin
def gelu_tanh_backward(dy: Array, cache: GeluCache) -> Array:
    r"""dy -> dx, both of x's shape; the derivative of tanh is 1 - tanh², hence of c:

    .. math:: dx = dy\,\bigl(c + x\,c'\bigr), \qquad c' = 2c\,(1 - c)\,u', \qquad
              u' = \sqrt{2/\pi}\,(1 + 3 \cdot 0.044715\,x^2)
    """
    (dx,) = blockwise(_gelu_tanh_derivative, 1, dy, *cache)
    return dx


def _gelu_tanh_derivative(dy: Array, x: Array, cdf: Array, dx: Array) -> None:
    xp = get_xp(x)
    xp.multiply(x, x, dx)
    dx *= 6.0 * TANH_SCALE * TANH_CUBIC
    dx += 2.0 * TANH_SCALE  # 2u'
    dx *= x
    dx *= 1.0 - cdf
    dx += 1.0
    dx *= cdf  # c·(1 + 2x·u'·(1 - c))
    dx *= dy


QUICK_SCALE = 1.702


def quick_gelu_forward(x: Array) -> tuple[Array, GeluCache]:
    r"""GELU with Φ approximated by the logistic function, as in CLIP (Radford et al., 2021).

    .. math:: y = x\,c, \qquad c = \sigma(1.702\,x) = \frac{1}{1 + e^{-1.702\,x}}

    Args:
        x: any shape.

    Returns:
        y of x's shape, cache.
    """
    return _with_cdf(_quick_cdf, x)


def quick_gelu(x: Array) -> Array:
    """`quick_gelu_forward` without a cache."""
    return _without_cdf(_quick_cdf, x)


def _quick_cdf(x: Array, out: Array) -> None:
    """out = σ(1.702 x)."""
    get_xp(x).multiply(x, -QUICK_SCALE, out)
    _logistic(out)


def quick_gelu_backward(dy: Array, cache: GeluCache) -> Array:
    r"""dy -> dx, both of x's shape; the derivative of σ is σ (1 - σ):

    .. math:: dx = dy\,c\,\bigl(1 + 1.702\,x\,(1 - c)\bigr)
    """
    (dx,) = blockwise(_quick_gelu_derivative, 1, dy, *cache)
    return dx


def _quick_gelu_derivative(dy: Array, x: Array, cdf: Array, dx: Array) -> None:
    get_xp(x).multiply(x, QUICK_SCALE, dx)
    dx *= 1.0 - cdf
    dx += 1.0
    dx *= cdf
    dx *= dy
