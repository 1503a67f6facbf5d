"""Fixed position embeddings: sines and cosines in two dimensions."""

import numpy as np

from minivit.errors import UserError


def sincos_2d(height: int, width: int, dim: int, temperature: float = 10_000.0) -> np.ndarray:
    r"""Four quarters: sine and cosine of the column, sine and cosine of the row.

    .. math:: e = [\sin(x\omega), \cos(x\omega), \sin(y\omega), \cos(y\omega)], \qquad
              \omega_i = \mathrm{temperature}^{-i / (n - 1)}, \quad i = 0 \dots n-1,\ n = C/4

    From Vaswani et al. (2017), in 2-D as in big_vision's plain ViT (Beyer et al., 2022).

    Args:
        height, width: of the grid of patches. dim: C.

    Returns:
        float64 (height·width, C) on the host, in reading order.

    Raises:
        UserError: C is not a multiple of four.
    """
    if dim % 4:
        raise UserError(
            f"sincos2d needs a dim that is a multiple of 4, found {dim}; choose {dim // 4 * 4}"
        )
    n = dim // 4
    omega = temperature ** -(np.arange(n) / max(n - 1, 1))
    y, x = np.divmod(np.arange(height * width), width)
    x, y = x[:, None] * omega, y[:, None] * omega
    return np.concatenate([np.sin(x), np.cos(x), np.sin(y), np.cos(y)], 1)
