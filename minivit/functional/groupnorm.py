"""Group normalization (Wu & He, 2018) and weight standardization (Qiao et al., 2019).

Together they replace batch normalization in BiT's ResNets (Kolesnikov et al., 2020), the paper's
baseline: neither depends on other images in the batch.
"""

from typing import NamedTuple

from minivit.backend import Array, get_xp
from minivit.errors import UserError
from minivit.functional.layernorm import row_dots


class GroupNormCache(NamedTuple):
    """xhat (B, H·W, C): the normalized input. rstd (B, 1, C): of each group, repeated for its
    channels. gamma (C,). num_groups. shape: of x.
    """

    xhat: Array
    rstd: Array
    gamma: Array
    num_groups: int
    shape: tuple


def groupnorm_forward(
    x: Array, gamma: Array, beta: Array, num_groups: int, eps: float = 1e-5
) -> tuple[Array, GroupNormCache]:
    r"""Give each group of channels of each image mean 0 and variance 1, over all positions.

    .. math:: \hat{x} = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}}, \qquad
              y = \gamma\,\hat{x} + \beta

    Args:
        x: (B, H, W, C). gamma, beta: (C,). num_groups: must divide C.

    Returns:
        y (B, H, W, C), cache.

    Raises:
        UserError: the number of channels is not a multiple of num_groups.
    """
    xp = get_xp(x)
    B, C = len(x), x.shape[-1]
    if C % num_groups:
        raise UserError(f"num_groups {num_groups} does not divide {C} channels")
    rows = x.reshape(B, -1, C)
    average = xp.full(rows.shape[1], 1.0 / rows.shape[1], x.dtype)  # means as products
    mean = group_means(average @ rows, num_groups)
    xhat = rows - mean
    variance = group_means(xp.einsum("bnc,bnc->bc", xhat, xhat) / rows.shape[1], num_groups)
    rstd = 1.0 / xp.sqrt(variance + eps)
    xhat *= rstd
    y = xhat * gamma
    y += beta
    return y.reshape(x.shape), GroupNormCache(xhat, rstd, gamma, num_groups, x.shape)


def groupnorm_backward(dy: Array, cache: GroupNormCache) -> tuple[Array, Array, Array]:
    r"""dy (B, H, W, C) -> dx (B, H, W, C), dgamma (C,), dbeta (C,).

    Like LayerNorm's, with means over a group:

    .. math:: dx = \frac{1}{\sigma}\bigl(d\hat{x} - \mathrm{mean}(d\hat{x})
                   - \hat{x}\,\mathrm{mean}(d\hat{x}\,\hat{x})\bigr), \qquad d\hat{x} = \gamma\,dy
    """
    xhat, rstd, gamma, num_groups, shape = cache
    xp = get_xp(dy)
    rows = dy.reshape(xhat.shape)
    num_positions = xhat.shape[1]
    sums = xp.ones(num_positions, dy.dtype) @ rows  # (B, C)
    products = xp.einsum("bnc,bnc->bc", rows, xhat)
    mean_dxhat = group_means(sums * gamma / num_positions, num_groups)
    mean_dxhat_xhat = group_means(products * gamma / num_positions, num_groups)
    dx = rows * gamma
    dx -= mean_dxhat
    dx -= xhat * mean_dxhat_xhat
    dx *= rstd
    return dx.reshape(shape), products.sum(0), sums.sum(0)


def group_means(channels: Array, num_groups: int) -> Array:
    """(B, C), one number per channel -> (B, 1, C), the mean of each channel's group."""
    B, C = channels.shape
    means = channels.reshape(B, num_groups, -1).mean(-1, keepdims=True)
    return get_xp(channels).broadcast_to(means, (B, num_groups, C // num_groups)).reshape(B, 1, C)


def standardize_forward(weight: Array, eps: float = 1e-10) -> tuple[Array, tuple]:
    r"""Give the weights of each output mean 0 and variance 1.

    .. math:: \hat{w} = \frac{w - \mu}{\sqrt{\sigma^2 + \epsilon}}

    Args:
        weight: (…, O); each column belongs to one output.

    Returns:
        ŵ of weight's shape, cache.
    """
    xp = get_xp(weight)
    columns = weight.reshape(-1, weight.shape[-1])
    w_hat = columns - columns.mean(0)
    rstd = 1.0 / xp.sqrt((w_hat * w_hat).mean(0) + eps)
    w_hat *= rstd
    return w_hat.reshape(weight.shape), (w_hat, rstd)


def standardize_backward(dw_hat: Array, cache: tuple) -> Array:
    r"""dw_hat (…, O) -> dweight: LayerNorm's backward, over columns.

    .. math:: dw = \frac{1}{\sigma}\bigl(d\hat{w} - \mathrm{mean}(d\hat{w})
                   - \hat{w}\,\mathrm{mean}(d\hat{w}\,\hat{w})\bigr)
    """
    w_hat, rstd = cache
    columns = dw_hat.reshape(w_hat.shape)
    dweight = columns - columns.mean(0)
    dweight -= w_hat * (row_dots(columns.T, w_hat.T) / len(w_hat))
    dweight *= rstd
    return dweight.reshape(dw_hat.shape)
