"""Rotary positions (Su et al., 2021), for patches on a grid (Heo et al., 2024)."""

import math

import numpy as np

from minivit.backend import Array, get_xp


def rotary_forward(x: Array, cos: Array, sin: Array, half: bool) -> tuple[Array, tuple]:
    r"""Rotate pairs of numbers of each patch by angles proportional to its position.

    .. math:: y = x \odot \cos\theta + \mathrm{turn}(x) \odot \sin\theta, \qquad
              \mathrm{turn}(x_1, x_2) = (-x_2, x_1)

    After this, a query's product with a key depends on the offset between the two patches, not on
    where they are.

    Args:
        x: (B, H, T, D), queries or keys. cos, sin: (N, D), of the last N of the T tokens; the
            tokens before them (class token, registers) have no position and stay unchanged.
        half: whether number i is paired with number i + D/2; otherwise neighbors form a pair.

    Returns:
        y (B, H, T, D), cache.
    """
    return _rotated(x, cos, sin, half), (cos, sin, half)


def rotary_backward(dy: Array, cache: tuple) -> Array:
    """dy (B, H, T, D) -> dx (B, H, T, D): rotated back by the same angles."""
    cos, sin, half = cache
    return _rotated(dy, cos, -sin, half)


def _rotated(x: Array, cos: Array, sin: Array, half: bool) -> Array:
    xp = get_xp(x)
    patches = x[:, :, x.shape[2] - len(cos) :]
    turned = xp.empty_like(patches)
    D = x.shape[-1]
    first, second = (slice(0, D // 2), slice(D // 2, D)) if half else (
        slice(0, D, 2), slice(1, D, 2))  # fmt: skip
    turned[..., first] = -patches[..., second]
    turned[..., second] = patches[..., first]
    y = x.copy()
    y[:, :, x.shape[2] - len(cos) :] = patches * cos + turned * sin
    return y


def rotary_axial(
    height: int,
    width: int,
    head_dim: int,
    theta: float,
    reference: int | None = None,
    columns_first: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Angles as in EVA and timm: half of the pairs rotate by the row, half by the column, at
    frequencies theta^(-4i/D); neighbors form a pair.

    Args:
        reference: side of the grid that the frequencies are meant for; the positions of another
        grid are scaled to it. columns_first: whether the column's angles come before the row's.

    Returns:
        cos, sin: float64 (height·width, head_dim).
    """
    count = head_dim // 4
    frequencies = theta ** -(np.arange(count) / count)
    rows, columns = np.divmod(np.arange(height * width), width)
    positions = [rows * (reference or height) / height, columns * (reference or width) / width]
    order = positions[::-1] if columns_first else positions
    angles = np.concatenate([position[:, None] * frequencies for position in order], 1)
    angles = np.repeat(angles, 2, 1)
    return np.cos(angles), np.sin(angles)


def rotary_dinov3(
    height: int, width: int, head_dim: int, theta: float
) -> tuple[np.ndarray, np.ndarray]:
    """Angles as in DINOv3 (Siméoni et al., 2025): positions from -1 to 1 over the image, whatever
    its size, times 2π over theta^(4i/D); numbers that are D/2 apart form a pair.

    Positions and periods are rounded to float32, as in DINOv3.

    Returns:
        cos, sin: float64 (height·width, head_dim).
    """
    count, single = head_dim // 4, np.float32
    exponents = (2 * np.arange(count, dtype=single) / single(head_dim // 2)).astype(np.float64)
    periods = (theta**exponents).astype(single).astype(np.float64)
    rows, columns = np.divmod(np.arange(height * width), width)
    positions = (
        (rows.astype(single) + single(0.5)) / single(height) * single(2) - single(1),
        (columns.astype(single) + single(0.5)) / single(width) * single(2) - single(1),
    )
    angles = [
        2 * math.pi * position.astype(np.float64)[:, None] / periods for position in positions
    ]
    both = np.tile(np.concatenate(angles, 1), 2)
    return np.cos(both), np.sin(both)
