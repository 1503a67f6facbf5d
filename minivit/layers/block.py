"""One encoder block: attention and MLP, each with LayerNorm before and a residual around it."""

from typing import NamedTuple

import numpy as np

from minivit.backend import Array, RandomStream
from minivit.functional import MultiHeadAttentionCache
from minivit.functional.layernorm import LayerNormCache
from minivit.layers.attention import MultiHeadAttention
from minivit.layers.dropout import Dropout, DropPath
from minivit.layers.layer import Layer
from minivit.layers.mlp import Mlp, MlpCache
from minivit.layers.norm import LayerNorm


class BranchCache(NamedTuple):
    """The masks of one residual branch: dropout's and drop path's (None at rest)."""

    drop: Array | None
    drop_path: Array | None


class BlockCache(NamedTuple):
    """What each step cached; `attn.probs` (B, H, T, T) is the attention map."""

    norm1: LayerNormCache
    attn: MultiHeadAttentionCache
    branch1: BranchCache
    norm2: LayerNormCache
    mlp: MlpCache
    branch2: BranchCache


class Block(Layer):
    r"""Pre-LayerNorm Transformer encoder block (paper, eq. 2 and 3).

    .. math:: x' = x + \mathrm{MSA}(\mathrm{LN}(x)), \qquad y = x' + \mathrm{MLP}(\mathrm{LN}(x'))
    """

    def __init__(
        self,
        rng: np.random.Generator,
        dim: int,
        num_heads: int,
        hidden: int,
        *,
        activation: str = "gelu",
        dropout: float = 0.0,
        attn_dropout: float = 0.0,
        drop_path: float = 0.0,
        eps: float = 1e-6,
        relative_grid: tuple[int, int] | None = None,
    ):
        self.norm1 = LayerNorm(dim, eps)
        self.attn = MultiHeadAttention(rng, dim, num_heads, attn_dropout, relative_grid)
        self.norm2 = LayerNorm(dim, eps)
        self.mlp = Mlp(rng, dim, hidden, activation, dropout)
        self.drop = Dropout(dropout)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Array, stream: RandomStream | None = None) -> tuple[Array, BlockCache]:
        """x (B, T, C) -> (B, T, C), cache."""
        h, norm1 = self.norm1.forward(x)
        h, attn = self.attn.forward(h, stream)
        h, branch1 = self._branch_forward(h, stream)
        x = x + h
        h, norm2 = self.norm2.forward(x)
        h, mlp = self.mlp.forward(h, stream)
        h, branch2 = self._branch_forward(h, stream)
        return x + h, BlockCache(norm1, attn, branch1, norm2, mlp, branch2)

    def backward(self, dy: Array, cache: BlockCache, dprobs: Array | None = None) -> Array:
        """dy (B, T, C) -> dx (B, T, C): at a residual the gradient goes both ways and adds up.

        dprobs (B, H, T, T): is filled with the attention map's gradient, if given.
        """
        dh = self._branch_backward(dy, cache.branch2)
        dh = self.mlp.backward(dh, cache.mlp)
        dx = self.norm2.backward(dh, cache.norm2)
        dx += dy
        dh = self._branch_backward(dx, cache.branch1)
        dh = self.attn.backward(dh, cache.attn, dprobs)
        dh = self.norm1.backward(dh, cache.norm1)
        dh += dx
        return dh

    def _branch_forward(self, h: Array, stream: RandomStream | None) -> tuple[Array, BranchCache]:
        h, drop = self.drop.forward(h, stream)
        h, drop_path = self.drop_path.forward(h, stream)
        return h, BranchCache(drop, drop_path)

    def _branch_backward(self, dout: Array, cache: BranchCache) -> Array:
        dout = self.drop_path.backward(dout, cache.drop_path)
        return self.drop.backward(dout, cache.drop)
