"""One encoder block: attention and MLP, each with a norm before and a residual around it."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from minivit.backend import Array, RandomStream, get_xp, pieces
from minivit.functional import MultiHeadAttentionCache
from minivit.layers.attention import MultiHeadAttention
from minivit.layers.dropout import Dropout, DropPath
from minivit.layers.layer import Identity, Layer, run, run_backward, run_inference
from minivit.layers.mlp import Mlp, MlpCache
from minivit.layers.norm import LayerNorm

TOKENS_AT_A_TIME = 1024
"""About optimal on every CPU tried, AVX2 or AVX-512, with L2 caches of 0.5 to 2 MB
(`benchmarks/README.md`): with fewer tokens, BLAS packs the weights too often and Python's overhead
shows; with more, the numbers of a block no longer fit in the cache.
"""

BRANCH1 = ("norm1", "attn", "drop", "ls1", "drop_path")
BRANCH2 = ("norm2", "mlp", "drop", "ls2", "drop_path")
"""A block is x = x + drop_path(ls1(drop(attn(norm1(x))))), then the same with the MLP: the layers
of each branch in order, by name. (timm's names; timm has dropout inside attention and MLP.)
"""


class BranchCache(NamedTuple):
    """The cache of the end of a residual branch: the masks of dropout and drop path (None if
    inactive), and what the scale between them needs.
    """

    drop: Array | None
    scale: Any
    drop_path: Array | None


class BlockCache(NamedTuple):
    """What each step cached; `attn.probs` (B, H, T, T) is the attention map."""

    norm1: Any
    attn: MultiHeadAttentionCache
    branch1: BranchCache
    norm2: Any
    mlp: MlpCache
    branch2: BranchCache


class Block(Layer):
    r"""Pre-norm Transformer encoder block (paper, eq. 2 and 3).

    .. math:: x' = x + \mathrm{MSA}(\mathrm{LN}(x)), \qquad y = x' + \mathrm{MLP}(\mathrm{LN}(x'))

    Each branch ends with dropout, LayerScale and drop path, if the model has them.

    Args:
        norm, scale: make a layer for a given width. scale: LayerScale, or the identity.
        act: the MLP's activation. drop_path: rate of the branches.
        attention: further arguments of `MultiHeadAttention`.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        dim: int,
        num_heads: int,
        hidden: int,
        *,
        norm: Callable[[int], Layer] = LayerNorm,
        scale: Callable[[int], Layer] | None = None,
        act: Layer | None = None,
        dropout: float = 0.0,
        attn_dropout: float = 0.0,
        drop_path: float = 0.0,
        attention: Mapping[str, Any] | None = None,
    ):
        self.norm1 = norm(dim)
        self.attn = MultiHeadAttention(rng, dim, num_heads, attn_dropout, **(attention or {}))
        self.norm2 = norm(dim)
        self.mlp = Mlp(rng, dim, hidden, act, dropout)
        self.drop = Dropout(dropout)
        self.ls1, self.ls2 = (scale(dim) if scale else Identity() for _ in range(2))
        self.drop_path = DropPath(drop_path)

    def layers(self, names: tuple[str, ...]) -> list[Layer]:
        """The layers of a branch, by name."""
        return [getattr(self, name) for name in names]

    def equation(self, names: tuple[str, ...], x: str) -> str:
        """ "x + attn(norm1(x))": a branch without dropout, as a formula in `x`."""
        inner = x
        for name, layer in zip(names, self.layers(names), strict=True):
            if not isinstance(layer, Dropout | Identity):
                inner = f"{name}({inner})"
        return f"{x} + {inner}"

    def forward(self, x: Array, stream: RandomStream | None = None) -> tuple[Array, BlockCache]:
        """x (B, T, C) -> (B, T, C), cache."""
        h, (norm1, attn, *end1) = run(self.layers(BRANCH1), x, stream)
        x = x + h
        h, (norm2, mlp, *end2) = run(self.layers(BRANCH2), x, stream)
        return x + h, BlockCache(norm1, attn, BranchCache(*end1), norm2, mlp, BranchCache(*end2))

    def __call__(self, x: Array) -> Array:
        """x (B, T, C) -> (B, T, C), no cache."""
        x = x + run_inference(self.layers(BRANCH1), x)
        tokens = x.reshape(-1, x.shape[-1])  # the MLP is applied to each token separately
        out = get_xp(x).empty_like(tokens)
        for rows in pieces(len(tokens), TOKENS_AT_A_TIME):
            out[rows] = tokens[rows] + run_inference(self.layers(BRANCH2), tokens[rows])
        return out.reshape(x.shape)

    def backward(self, dout: Array, cache: BlockCache, dprobs: Array | None = None) -> Array:
        """dout (B, T, C) -> dx (B, T, C): at a residual connection the gradients of both
        paths are added.

        dprobs (B, H, T, T): filled with the attention map's gradient, if given.
        """
        _, _, *end2 = self.layers(BRANCH2)
        dh = run_backward(end2, dout, cache.branch2)
        dx = run_backward((self.norm2, self.mlp), dh, (cache.norm2, cache.mlp))
        dx += dout
        _, _, *end1 = self.layers(BRANCH1)
        dh = run_backward(end1, dx, cache.branch1)
        dh = self.attn.backward(dh, cache.attn, dprobs)
        dh = self.norm1.backward(dh, cache.norm1)
        dh += dx
        return dh
