"""The loops of the twins, compiled by Numba for this CPU and cached in `__pycache__`.

Each is its pair's formula, element by element; the compiler vectorizes it to eight or sixteen
numbers at a time. All loops are in one file, as Numba's cache only notices changes in a loop's own
file. They are written out, as Numba does not cache loops that a function generates for several
formulas.
"""

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from minivit.functional import gelu
from minivit.functional.softmax import SAFE

FAST = {"contract", "reassoc", "nsz", "arcp"}
"""Permitted changes of rounding: fused multiply-add, sums in any order, division by a reciprocal.
Infinities and NaN are preserved.
"""

VECTOR, MATRIX = "float32[::1]", "float32[:, ::1]"
IMAGES, INDICES = "float32[:, :, :, ::1]", "int8[:, :, :, ::1]"


def compiled(signature: str) -> Callable[[Callable], Any]:
    """Compile immediately, for these types; without the GIL, so that threads run in parallel."""

    def compile_one(loop: Callable) -> Any:
        options: dict[str, Any] = {"nogil": True, "fastmath": FAST, "error_model": "numpy"}
        try:
            return numba.njit(signature, cache=True, **options)(loop)
        except (OSError, RuntimeError):  # no folder for the cache, or a full disk
            return numba.njit(signature, **options)(loop)

    return compile_one


f32 = np.float32
ONE, HALF = f32(1), f32(0.5)
LOG2_E = f32(1.4426950408889634)
LN2_HIGH, LN2_LOW = f32(0.693359375), f32(-2.12194440e-4)
"""ln 2 in two parts: n times the first is exact for |n| ≤ 127."""
A6, A5, A4, A3, A2 = map(
    f32, (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1)
)
MAX_EXPONENT = f32(87)
"""exp of ±87 and its reciprocal are normal float32 numbers."""


@numba.njit(inline="always", error_model="numpy")
def exp(x):
    r"""e^x, relative error ≤ 3e-7; x is clipped to ±87.

    .. math:: e^x = 2^n e^r, \qquad n = \mathrm{round}(x / \ln 2), \qquad r = x - n \ln 2

    |r| ≤ ½ ln 2, where a polynomial of degree 7 is enough (Cephes, expf); for 2^n, n is written to
    the exponent bits. `math.exp` would be called for one number at a time.
    """
    x = -MAX_EXPONENT if x < -MAX_EXPONENT else x  # written so that NaN stays NaN
    x = MAX_EXPONENT if x > MAX_EXPONENT else x
    n = f32(np.floor(x * LOG2_E + HALF))
    r = x - n * LN2_HIGH - n * LN2_LOW
    p = ((((A6 * r + A5) * r + A4) * r + A3) * r + A2) * r + HALF
    power = np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)
    return (p * r * r + r + ONE) * power


C0, C1, C2, C3, C4, C5, C6 = map(f32, gelu.PHI_COEFFICIENTS)
U1, U3 = f32(-2.0 * gelu.TANH_SCALE), f32(-2.0 * gelu.TANH_SCALE * gelu.TANH_CUBIC)
DENSITY = f32(1.0 / math.sqrt(2.0 * math.pi))
THREE = f32(3)


@numba.njit(inline="always", error_model="numpy")
def normal_cdf(x):
    """Φ(x), see `gelu.PHI_COEFFICIENTS`."""
    s = x * x
    u = ((((((C6 * s + C5) * s + C4) * s + C3) * s + C2) * s + C1) * s + C0) * x
    return ONE / (ONE + exp(u))


@numba.njit(inline="always", error_model="numpy")
def tanh_cdf(x):
    """(1 + tanh u) / 2 = 1 / (1 + exp(-2u))."""
    return ONE / (ONE + exp((U3 * x * x + U1) * x))


@compiled(f"void({VECTOR}, {VECTOR}, {VECTOR})")
def gelu_forward(x, y, cdf):
    for i in range(x.size):
        cdf[i] = normal_cdf(x[i])
        y[i] = x[i] * cdf[i]


@compiled(f"void({VECTOR}, {VECTOR})")
def gelu_inference(x, y):
    for i in range(x.size):
        y[i] = x[i] * normal_cdf(x[i])


@compiled(f"void({VECTOR}, {VECTOR}, {VECTOR}, {VECTOR})")
def gelu_backward(dy, x, cdf, dx):
    for i in range(x.size):
        density = DENSITY * exp(-HALF * x[i] * x[i])
        dx[i] = dy[i] * (cdf[i] + x[i] * density)


@compiled(f"void({VECTOR}, {VECTOR}, {VECTOR})")
def gelu_tanh_forward(x, y, cdf):
    for i in range(x.size):
        cdf[i] = tanh_cdf(x[i])
        y[i] = x[i] * cdf[i]


@compiled(f"void({VECTOR}, {VECTOR})")
def gelu_tanh_inference(x, y):
    for i in range(x.size):
        y[i] = x[i] * tanh_cdf(x[i])


@compiled(f"void({VECTOR}, {VECTOR}, {VECTOR}, {VECTOR})")
def gelu_tanh_backward(dy, x, cdf, dx):
    for i in range(x.size):
        minus_2du = U1 + THREE * U3 * x[i] * x[i]
        dx[i] = dy[i] * cdf[i] * (ONE - minus_2du * x[i] * (ONE - cdf[i]))


@compiled(f"void({MATRIX}, {VECTOR}, {VECTOR}, float32, {MATRIX}, {MATRIX}, {VECTOR})")
def layernorm_forward(x, gamma, beta, eps, y, xhat, rstd):
    R, C = x.shape
    for r in range(R):
        total = f32(0)
        for c in range(C):
            total += x[r, c]
        mean = total / f32(C)
        squares = f32(0)
        for c in range(C):
            squares += (x[r, c] - mean) * (x[r, c] - mean)
        rstd[r] = ONE / f32(math.sqrt(squares / f32(C) + eps))
        for c in range(C):
            xhat[r, c] = (x[r, c] - mean) * rstd[r]
            y[r, c] = xhat[r, c] * gamma[c] + beta[c]


@compiled(f"void({MATRIX}, {MATRIX}, {VECTOR}, {VECTOR}, {MATRIX}, {VECTOR}, {VECTOR})")
def layernorm_backward(dy, xhat, rstd, gamma, dx, dgamma, dbeta):
    R, C = dy.shape
    for r in range(R):
        sum_dxhat, sum_dxhat_xhat = f32(0), f32(0)
        for c in range(C):
            dgamma[c] += dy[r, c] * xhat[r, c]
            dbeta[c] += dy[r, c]
            sum_dxhat += dy[r, c] * gamma[c]
            sum_dxhat_xhat += dy[r, c] * gamma[c] * xhat[r, c]
        mean_dxhat, mean_dxhat_xhat = sum_dxhat / f32(C), sum_dxhat_xhat / f32(C)
        scale = rstd[r]
        for c in range(C):
            dx[r, c] = (dy[r, c] * gamma[c] - mean_dxhat - xhat[r, c] * mean_dxhat_xhat) * scale


MAGNITUDE_BITS = np.int32(0x7FFFFFFF)


@numba.njit(inline="always")
def sortable_bits(bits):
    """The bits of a float32 -> an integer in the same order as the numbers; and back.

    The compiler vectorizes the maximum of integers, but not of floats, as one may be NaN.
    """
    return bits ^ ((bits >> np.int32(31)) & MAGNITUDE_BITS)


@compiled(f"void({MATRIX}, int32[:, ::1], {MATRIX}, {MATRIX}, {MATRIX})")
def online_softmax(scores, bits, row_max, row_sum, out):
    R, T = scores.shape
    for r in range(R):
        largest = sortable_bits(np.float32(row_max[r, 0]).view(np.int32))
        for t in range(T):
            largest = max(largest, sortable_bits(bits[r, t]))
        new_max = np.int32(sortable_bits(largest)).view(np.float32)
        rescale = exp(row_max[r, 0] - new_max)
        block_sum = f32(0)
        for t in range(T):
            scores[r, t] = exp(scores[r, t] - new_max)
            block_sum += scores[r, t]
        row_sum[r, 0] = row_sum[r, 0] * rescale + block_sum
        row_max[r, 0] = new_max
        for d in range(out.shape[1]):
            out[r, d] *= rescale


@compiled(f"void({MATRIX}, {MATRIX})")
def shifted_exp(scores, shift):
    R, T = scores.shape
    for r in range(R):
        row_shift = shift[r, 0]
        for t in range(T):
            scores[r, t] = exp(scores[r, t] - row_shift)


@compiled(f"void({MATRIX}, {MATRIX}, {MATRIX})")
def scores_gradient(dprobs, probs, correction):
    R, T = probs.shape
    for r in range(R):
        row_correction = correction[r, 0]
        for t in range(T):
            dprobs[r, t] = probs[r, t] * (dprobs[r, t] - row_correction)


SAFE_SCORE = f32(SAFE)
ROWS = 16
"""Rows per pass of softmax: their exponentials are one long loop and stay in the L1 cache."""


@compiled(f"void({MATRIX}, {MATRIX})")
def softmax_forward(scores, probs):
    R, T = scores.shape
    for first in range(0, R, ROWS):
        rows = range(first, min(R, first + ROWS))
        s, p = scores[first : first + ROWS].reshape(-1), probs[first : first + ROWS].reshape(-1)
        num_safe = 0
        for i in range(s.size):
            p[i] = exp(s[i])
            num_safe += abs(s[i]) <= SAFE_SCORE  # false for NaN
        if num_safe < s.size:
            for r in rows:
                largest = scores[r, 0]
                for t in range(T):
                    largest = scores[r, t] if scores[r, t] > largest else largest
                for t in range(T):
                    probs[r, t] = exp(scores[r, t] - largest)
        for r in rows:
            total = f32(0)
            for t in range(T):
                total += probs[r, t]
            factor = ONE / total
            for t in range(T):
                probs[r, t] *= factor


@compiled(f"void({MATRIX}, {MATRIX}, {MATRIX})")
def softmax_backward(dprobs, probs, dscores):
    R, T = probs.shape
    for r in range(R):
        correction = f32(0)
        for t in range(T):
            correction += dprobs[r, t] * probs[r, t]
        for t in range(T):
            dscores[r, t] = probs[r, t] * (dprobs[r, t] - correction)


@compiled(f"void({IMAGES}, int64, int64, int64, {IMAGES}, {INDICES})")
def max_pool_forward(x, size, stride, padding, y, argmax):
    B, H, W, C = x.shape
    y[...] = -np.inf
    argmax[...] = 0
    for b in range(B):
        for r in range(y.shape[1]):
            for c in range(y.shape[2]):
                for index in range(size * size):
                    row = stride * r - padding + index // size
                    column = stride * c - padding + index % size
                    if 0 <= row < H and 0 <= column < W:
                        for k in range(C):
                            number, largest = x[b, row, column, k], y[b, r, c, k]
                            # not <=, rather than >: NaN is kept
                            take = not number <= largest and largest == largest
                            y[b, r, c, k] = number if take else largest
                            argmax[b, r, c, k] = index if take else argmax[b, r, c, k]


@compiled(f"void({IMAGES}, {INDICES}, int64, int64, int64, {IMAGES})")
def max_pool_backward(dy, argmax, size, stride, padding, dx):
    _, H, W, C = dx.shape
    dx[...] = 0
    for b in range(dy.shape[0]):
        for r in range(dy.shape[1]):
            for c in range(dy.shape[2]):
                for index in range(size * size):
                    row = stride * r - padding + index // size
                    column = stride * c - padding + index % size
                    if 0 <= row < H and 0 <= column < W:
                        for k in range(C):
                            chosen = argmax[b, r, c, k] == index
                            dx[b, row, column, k] += dy[b, r, c, k] if chosen else f32(0)
