"""LayerScale (Touvron et al., 2021, "Going deeper with Image Transformers")."""

from minivit.backend import Array
from minivit.functional.linear import column_sums


def layer_scale_forward(x: Array, gamma: Array) -> tuple[Array, tuple[Array, Array]]:
    r"""A learned scale for each channel of a residual branch, small at first.

    .. math:: y = \gamma\,x

    Args:
        x: (..., C). gamma: (C,).

    Returns:
        y (..., C), cache.
    """
    return x * gamma, (x, gamma)


def layer_scale_backward(dy: Array, cache: tuple[Array, Array]) -> tuple[Array, Array]:
    r"""dy (..., C) -> dx (..., C), dgamma (C,).

    .. math:: dx = \gamma\,dy, \qquad d\gamma = \sum_{rows} dy\,x
    """
    x, gamma = cache
    C = x.shape[-1]
    return dy * gamma, column_sums((dy * x).reshape(-1, C))
