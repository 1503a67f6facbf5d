"""GELU, the Gaussian error linear unit (Hendrycks & Gimpel, 2016), exact and in its tanh form.

GELU lets a number through by as much as it stands out: x times Φ(x), the share of a standard
normal population that lies below x.
"""

import math

from minivit.backend import Array, blockwise, get_xp

# erf(z) = tanh(z·(a0 + a1·z² + …)), a0 first. atanh(erf(z))/z is a smooth even function, so a short
# polynomial in z² follows it; minimax fit on |z| ≤ 3.9 for the relative error of erf, which is
# 1e-7 in exact arithmetic and 2.5e-7 in float32. Past 3.9 it grows, and tanh of it is 1.
ERF_COEFFICIENTS = (
    1.12837927,
    0.102769056,
    -1.91831924e-4,
    -6.1978373e-4,
    8.76369694e-5,
    -5.66841575e-6,
    1.4184877e-7,
)
ERF_IS_ONE = 6.0  # from here on 1 - erf(z) < 2.2e-17, less than float64 can tell from zero


def erf(z: Array) -> Array:
    r"""The error function, element by element; float32 or float64 as `z` is.

    .. math:: \mathrm{erf}(z) = \frac{2}{\sqrt\pi} \int_0^z e^{-t^2} dt

    float32: relative error ≤ 1e-6, in one `tanh`. float64: to the last digits, for checks, by a
    slower series.
    """
    xp = get_xp(z)
    return _erf_series(z) if z.dtype == xp.float64 else _erf_tanh(z)


def _erf_tanh(z: Array) -> Array:
    xp = get_xp(z)
    square = z * z
    u = square * ERF_COEFFICIENTS[-1]
    for coefficient in ERF_COEFFICIENTS[-2:0:-1]:  # Horner's scheme
        u += coefficient
        u *= square
    u += ERF_COEFFICIENTS[0]
    u *= z
    return xp.tanh(u, u)


def _erf_series(z: Array) -> Array:
    r"""Abramowitz & Stegun 7.1.6, whose terms all have one sign, so that nothing cancels.

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


def gelu_forward(x: Array) -> tuple[Array, Array]:
    r"""GELU by its definition.

    .. math:: y = x\,\Phi(x), \qquad
              \Phi(x) = \tfrac12\bigl(1 + \mathrm{erf}(x / \sqrt 2)\bigr)

    The derivative is made here, while x and Φ are in the CPU's cache.

    Args:
        x: any shape.

    Returns:
        y of x's shape, cache: the derivative dy/dx.
    """
    y, derivative = blockwise(_gelu, x, 2)
    return y, derivative


def _gelu(x: Array, y: Array, slope: Array) -> None:
    """y = x·Φ(x), slope = Φ(x) + x·φ(x), where φ = Φ' is the normal density."""
    xp = get_xp(x)
    z = x * math.sqrt(0.5)
    cdf = erf(z)
    cdf += 1.0
    cdf *= 0.5
    xp.multiply(x, cdf, y)
    xp.multiply(z, z, slope)
    xp.subtract(-0.5 * math.log(2.0 * math.pi), slope, slope)
    xp.exp(slope, slope)  # φ(x) = exp(-x²/2 - ½ log 2π)
    slope *= x
    slope += cdf


def gelu_backward(dy: Array, cache: Array) -> Array:
    r"""dy -> dx, both of x's shape.

    .. math:: dx = dy\,\bigl(\Phi(x) + x\,\varphi(x)\bigr)
    """
    return dy * cache


TANH_SCALE = math.sqrt(2.0 / math.pi)
TANH_CUBIC = 0.044715


def gelu_tanh_forward(x: Array) -> tuple[Array, Array]:
    r"""GELU with Φ approximated by a tanh, as in the paper's own code (flax).

    .. math:: y = \tfrac12 x\,(1 + \tanh u), \qquad
              u = \sqrt{2/\pi}\,(x + 0.044715\,x^3)

    Args:
        x: any shape.

    Returns:
        y of x's shape, cache: the derivative dy/dx.
    """
    y, derivative = blockwise(_gelu_tanh, x, 2)
    return y, derivative


def _gelu_tanh(x: Array, y: Array, slope: Array) -> None:
    """y = ½x(1 + t), slope = ½(1 + t) + ½x(1 - t²)·du/dx, with t = tanh(u)."""
    xp = get_xp(x)
    square = x * x
    cdf = square * (TANH_SCALE * TANH_CUBIC)
    cdf += TANH_SCALE
    cdf *= x
    xp.tanh(cdf, cdf)
    cdf += 1.0
    cdf *= 0.5  # ½(1 + t), the approximate Φ(x); then ½(1 - t²) = 2·cdf·(1 - cdf)
    xp.multiply(x, cdf, y)
    square *= 6.0 * TANH_SCALE * TANH_CUBIC
    square += 2.0 * TANH_SCALE  # 2·du/dx
    xp.subtract(1.0, cdf, slope)
    slope *= y
    slope *= square
    slope += cdf


def gelu_tanh_backward(dy: Array, cache: Array) -> Array:
    r"""dy -> dx, both of x's shape.

    .. math:: dx = dy\,\bigl(\tfrac12(1 + t) + \tfrac12 x (1 - t^2)\,u'\bigr), \qquad t = \tanh u
    """
    return dy * cache
