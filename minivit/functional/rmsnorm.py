"""Root mean square normalization (Zhang & Sennrich, 2019)."""

from typing import NamedTuple

from minivit.backend import Array, get_xp
from minivit.functional.layernorm import row_dots
from minivit.functional.linear import column_sums


class RMSNormCache(NamedTuple):
    """xhat (..., C): the normalized input, which both gradients depend on.
    rrms (rows,): one over the root mean square, the scale of dx. gamma (C,).
    """

    xhat: Array
    rrms: Array
    gamma: Array


def rmsnorm_forward(x: Array, gamma: Array, eps: float = 1e-6) -> tuple[Array, RMSNormCache]:
    r"""Give every token mean square 1, then a learned scale: LayerNorm without mean and shift.

    .. math:: \hat{x} = \frac{x}{\sqrt{\frac1C \sum_j x_j^2 + \epsilon}}, \qquad
              y = \gamma\,\hat{x}

    Args:
        x: (..., C). gamma: (C,). eps: added to the mean square, as in PyTorch and timm.

    Returns:
        y (..., C), cache.
    """
    xp = get_xp(x)
    C = x.shape[-1]
    rows = x.reshape(-1, C)
    rrms = 1.0 / xp.sqrt(row_dots(rows, rows) / C + eps)
    xhat = rows * rrms[:, None]
    return (xhat * gamma).reshape(x.shape), RMSNormCache(xhat.reshape(x.shape), rrms, gamma)


def rmsnorm_backward(dy: Array, cache: RMSNormCache) -> tuple[Array, Array]:
    r"""dy (..., C) -> dx (..., C), dgamma (C,).

    The root mean square depends on every number of the token. So dx is the gradient with
    respect to x̂, without its component along x̂: scaling a token does not change y. Shifting it
    does, so unlike in LayerNorm the mean is kept.

    .. math:: d\hat{x} = \gamma\,dy, \qquad
              dx = \frac{1}{\mathrm{rms}}\bigl(d\hat{x}
                   - \hat{x}\,\mathrm{mean}(d\hat{x}\,\hat{x})\bigr), \qquad
              d\gamma = \sum_{rows} dy\,\hat{x}
    """
    xhat, rrms, gamma = cache
    C = xhat.shape[-1]
    dy_rows, xhat = dy.reshape(-1, C), xhat.reshape(-1, C)
    product = dy_rows * xhat
    dgamma = column_sums(product)
    mean_dxhat_xhat = product @ (gamma / C)  # mean(γ·dy·x̂) as a product
    dx = dy_rows * gamma
    dx -= xhat * mean_dxhat_xhat[:, None]
    dx *= rrms[:, None]
    return dx.reshape(dy.shape), dgamma
