"""Layer normalization (Ba, Kiros & Hinton, 2016)."""

from typing import NamedTuple

from minivit.backend import Array, get_xp, has_twin
from minivit.functional.linear import column_sums


class LayerNormCache(NamedTuple):
    """xhat (..., C): the normalized input, which both gradients depend on.
    rstd (rows,): one over the standard deviation, the scale of dx. gamma (C,).
    """

    xhat: Array
    rstd: Array
    gamma: Array


@has_twin
def layernorm_forward(
    x: Array, gamma: Array, beta: Array, eps: float = 1e-6
) -> tuple[Array, LayerNormCache]:
    r"""Give every token mean 0 and variance 1, then a learned scale and shift.

    .. math:: \hat{x} = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}}, \qquad
              y = \gamma\,\hat{x} + \beta

    μ and σ² are computed over one token's C numbers, never over the batch.

    Args:
        x: (..., C). gamma, beta: (C,). eps: 1e-6 as in the paper's code and timm.

    Returns:
        y (..., C), cache.
    """
    xp = get_xp(x)
    C = x.shape[-1]
    rows = x.reshape(-1, C)
    average = xp.full(C, 1.0 / C, x.dtype)  # row means as products: see linear.column_sums
    xhat = rows - (rows @ average)[:, None]
    variance = row_dots(xhat, xhat) / C
    rstd = 1.0 / xp.sqrt(variance + eps)
    xhat *= rstd[:, None]
    y = xhat * gamma
    y += beta
    return y.reshape(x.shape), LayerNormCache(xhat.reshape(x.shape), rstd, gamma)


@has_twin
def layernorm_backward(dy: Array, cache: LayerNormCache) -> tuple[Array, Array, Array]:
    r"""dy (..., C) -> dx (..., C), dgamma (C,), dbeta (C,).

    μ and σ depend on every number of the token. So dx is the gradient with respect to x̂,
    without its mean and its component along x̂: shifting or scaling a token does not change y, so
    dx is orthogonal to both.

    .. math:: d\hat{x} = \gamma\,dy, \qquad
              dx = \frac{1}{\sigma}\bigl(d\hat{x} - \mathrm{mean}(d\hat{x})
                   - \hat{x}\,\mathrm{mean}(d\hat{x}\,\hat{x})\bigr)
    .. math:: d\gamma = \sum_{rows} dy\,\hat{x}, \qquad d\beta = \sum_{rows} dy
    """
    xhat, rstd, gamma = cache
    C = xhat.shape[-1]
    dy_rows, xhat = dy.reshape(-1, C), xhat.reshape(-1, C)
    product = dy_rows * xhat
    dgamma, dbeta = column_sums(product), column_sums(dy_rows)
    mean_dxhat = dy_rows @ (gamma / C)  # mean(γ·dy) as a product
    mean_dxhat_xhat = product @ (gamma / C)
    dx = dy_rows * gamma
    dx -= mean_dxhat[:, None]
    xp = get_xp(dy)
    xp.multiply(xhat, mean_dxhat_xhat[:, None], product)
    dx -= product
    dx *= rstd[:, None]
    return dx.reshape(dy.shape), dgamma, dbeta


def row_dots(a: Array, b: Array) -> Array:
    """Dot product of each row of `a` with the same row of `b`: (R, C), (R, C) -> (R,)."""
    return get_xp(a).einsum("rc,rc->r", a, b)
