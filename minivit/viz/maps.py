"""Combine attention maps over heads, over layers and over the image.

All arrays are NumPy's. `maps` is (L, N, H, T, T): layers, images, heads, queries, keys. The number
of tokens before the patches (class tokens, registers) is given, never guessed.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np

from minivit.errors import UserError
from minivit.models import ViTConfig

FUSIONS: dict[str, Callable[..., np.ndarray]] = {"mean": np.mean, "max": np.max, "min": np.min}
Fusion = Literal["mean", "max", "min"]


def fuse_heads(maps: np.ndarray, how: Fusion = "mean") -> np.ndarray:
    """(…, H, T, T) -> (…, T, T): the mean, maximum or minimum over heads.

    Raises:
        UserError: `how` is unknown.
    """
    if how not in FUSIONS:
        raise UserError(f'heads can be fused by {", ".join(FUSIONS)}; found "{how}"')
    return FUSIONS[how](maps, axis=-3)


def rollout(maps: np.ndarray, heads: Fusion = "mean", discard: float = 0.0) -> np.ndarray:
    r"""Attention through several layers (Abnar & Zuidema, 2020).

    A token passes on what it attends to and, through the residual connection, itself:

    .. math:: \hat A_l = \mathrm{rows\ to\ sum\ 1}(A_l + I), \qquad
              R_l = \hat A_l\,R_{l-1}, \quad R_0 = I

    Args:
        maps: (L, N, H, T, T). heads: how to fuse them.
        discard: the weakest fraction of each image's map, set to zero before the identity is added
        (Gildenblat, 2020); at least 0 and below 1.

    Returns:
        (L, N, T, T), after each layer; `[-1]` is through all layers. Each row sums to 1.
    """
    return _propagate(_without_weakest(fuse_heads(maps, heads), discard))


def gradient_rollout(
    maps: np.ndarray, dmaps: np.ndarray | None, discard: float = 0.0
) -> np.ndarray:
    r"""Rollout of attention that supports one class (Gildenblat, 2020).

    .. math:: A_l = \max\bigl(0, \mathrm{mean}_h(P_l \odot \nabla P_l)\bigr)

    instead of the fused map.

    Args:
        maps, dmaps: (L, N, H, T, T), both with the first layer first. discard: as in `rollout`.

    Returns:
        (L, N, T, T).
    """
    dmaps = _check_same_shape(maps, dmaps)
    weighted = np.maximum(fuse_heads(maps * dmaps), 0.0)
    return _propagate(_without_weakest(weighted, discard))


def relevance(maps: np.ndarray, dmaps: np.ndarray | None) -> np.ndarray:
    r"""Relevance for one class (Chefer, Gur & Wolf, 2021b, eq. 5 and 6, self-attention).

    .. math:: \bar A_l = \mathrm{mean}_h\bigl(\max(0, P_l \odot \nabla P_l)\bigr), \qquad
              R_l = R_{l-1} + \bar A_l\,R_{l-1}, \quad R_0 = I

    Unlike in rollout, the rows are not normalized: a layer that the class does not depend on adds
    nothing.

    Args:
        maps, dmaps: (L, N, H, T, T), both with the first layer first.

    Returns:
        (L, N, T, T), after each layer, minus the identity.
    """
    dmaps = _check_same_shape(maps, dmaps)
    weighted = fuse_heads(np.maximum(maps * dmaps, 0.0))
    T = maps.shape[-1]
    identity = np.eye(T, dtype=maps.dtype)
    steps, total = [], np.broadcast_to(identity, weighted.shape[1:])
    for layer in weighted:
        total = total + layer @ total
        steps.append(total - identity)
    return np.stack(steps)


def _propagate(fused: np.ndarray) -> np.ndarray:
    """(L, N, T, T) -> (L, N, T, T): add the identity, renormalize rows, multiply the layers."""
    with_residual = fused + np.eye(fused.shape[-1], dtype=fused.dtype)
    with_residual /= with_residual.sum(-1, keepdims=True)
    steps = [with_residual[0]]
    for layer in with_residual[1:]:
        steps.append(layer @ steps[-1])
    return np.stack(steps)


def _without_weakest(fused: np.ndarray, discard: float) -> np.ndarray:
    """(L, N, T, T) with the weakest fraction of each map set to zero."""
    if not 0.0 <= discard < 1.0:
        raise UserError(f"discard is {discard}; expected a fraction of at least 0 and below 1")
    T = fused.shape[-1]
    count = int(discard * T * T)
    flat = fused.reshape(*fused.shape[:-2], T * T).copy()
    weakest = np.argpartition(flat, count, axis=-1)[..., :count]
    np.put_along_axis(flat, weakest, 0.0, axis=-1)
    return flat.reshape(fused.shape)


def _check_same_shape(maps: np.ndarray, dmaps: np.ndarray | None) -> np.ndarray:
    """`dmaps`; raises UserError if it is None or its shape differs from `maps`."""
    if dmaps is None:
        raise UserError("this view needs gradients; call look with gradients=True")
    if maps.shape != dmaps.shape:
        raise UserError(
            f"maps are {maps.shape} and their gradients {dmaps.shape}; expected equal shapes"
        )
    return dmaps


def patch_map(joint: np.ndarray, config: ViTConfig) -> np.ndarray:
    """What the head's features attend to, on the patch grid.

    With a class token, this is its row; with two, the mean of both rows, like the logits. Without a
    class token, it is the mean of the patches' rows, as the head uses the mean of the patches.
    Attention to tokens before the patches is left out.

    Args:
        joint: (N, T, T), row = query. config: of the model.

    Returns:
        (N, rows, columns).

    Raises:
        UserError: T does not match the model.
    """
    first = config.num_prefix
    check_tokens(joint.shape[-1], config.grid, first)
    queries = slice(config.num_class_tokens) if config.num_class_tokens else slice(first, None)
    return joint[:, queries, first:].mean(1).reshape(-1, *config.grid)


def check_tokens(num_tokens: int, grid: tuple[int, int], num_prefix: int) -> None:
    """Raise UserError unless `num_tokens` is rows·columns plus the tokens before them."""
    rows, columns = grid
    expected = rows * columns + num_prefix
    if num_tokens != expected:
        raise UserError(
            f"maps of {num_tokens} tokens; expected {expected}, for a grid of {rows}×{columns} "
            f"patches with {num_prefix} tokens before them"
        )


def attention_distance(
    maps: np.ndarray, grid: tuple[int, int], patch_size: int, num_prefix: int
) -> np.ndarray:
    r"""Mean distance between a patch and what it attends to, per head (paper, fig. 11).

    .. math:: d = \mathrm{mean}_i \frac{\sum_j P_{ij}\,\lVert x_i - x_j \rVert}{\sum_j P_{ij}}

    over patches i, j; the tokens before them have no position and are left out.

    Args:
        maps: (L, N, H, T, T). patch_size: in pixels. num_prefix: tokens before the patches.

    Returns:
        (L, H), in pixels, mean over images and patches.

    Raises:
        UserError: T does not match grid and num_prefix.
    """
    check_tokens(maps.shape[-1], grid, num_prefix)
    patches = maps[..., num_prefix:, num_prefix:]
    distances = patch_distances(grid) * patch_size
    weighted = np.einsum("lnhij,ij->lnhi", patches, distances.astype(maps.dtype))
    to_patches = np.maximum(patches.sum(-1), np.finfo(maps.dtype).tiny)
    return (weighted / to_patches).mean((1, 3))


def patch_distances(grid: tuple[int, int]) -> np.ndarray:
    """(rows·columns, rows·columns): distance between all pairs of patches, in patches."""
    rows, columns = np.divmod(np.arange(grid[0] * grid[1]), grid[1])
    return np.hypot(rows[:, None] - rows, columns[:, None] - columns)


def entropy(maps: np.ndarray) -> np.ndarray:
    r"""Entropy of attention, per query: (…, T, T) -> (…, T), in bits, from 0 to log2 T.

    .. math:: H_i = -\sum_j P_{ij} \log_2 P_{ij}
    """
    logs = np.log2(np.maximum(maps, np.finfo(maps.dtype).tiny))  # 0·log 0 is 0
    return -(maps * logs).sum(-1)


def token_similarity(tokens: np.ndarray) -> np.ndarray:
    """Cosine of the angle between tokens: (…, T, C) -> (…, T, T), from -1 to 1."""
    norms = np.linalg.norm(tokens, axis=-1, keepdims=True)
    unit = tokens / np.maximum(norms, np.finfo(tokens.dtype).tiny)
    return unit @ unit.swapaxes(-1, -2)
