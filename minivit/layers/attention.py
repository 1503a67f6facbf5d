"""Multi-head self-attention with its two projections."""

import numpy as np

from minivit.backend import Array, RandomStream, get_xp
from minivit.functional import (
    MultiHeadAttentionCache,
    multi_head_attention_backward,
    multi_head_attention_forward,
    relative_offsets,
)
from minivit.layers.dropout import Dropout
from minivit.layers.initialize import normal
from minivit.layers.layer import Layer, Parameter
from minivit.layers.linear import Linear


class MultiHeadAttention(Layer):
    """See `functional.attention`. qkv.weight: (C, 3C), q, k, v, each head by head.

    Args:
        relative_grid: rows and columns of patches, for relative positions; None for none.
            relative_table: (offsets, D).
    """

    def __init__(
        self,
        rng: np.random.Generator,
        dim: int,
        num_heads: int,
        attn_dropout: float = 0,
        relative_grid: tuple[int, int] | None = None,
    ):
        self.qkv = Linear(rng, dim, dim, copies=3)
        self.proj = Linear(rng, dim, dim)
        self.attn_drop = Dropout(attn_dropout)
        self.num_heads = num_heads
        self.offsets = None
        if relative_grid is not None:
            self.offsets = relative_offsets(*relative_grid)
            shape = (int(self.offsets.max()) + 1, dim // num_heads)
            self.relative_table = Parameter(normal(rng, shape, 0.02))

    def forward(
        self, x: Array, stream: RandomStream | None = None
    ) -> tuple[Array, MultiHeadAttentionCache]:
        """x (B, T, C) -> (B, T, C), cache; `cache.probs` (B, H, T, T) is the attention map."""
        B, T, _ = x.shape
        mask = self.attn_drop.mask((B, self.num_heads, T, T), x, stream)
        relative = None
        if self.offsets is not None:
            relative = self.relative_table.data, get_xp(x).asarray(self.offsets)
        return multi_head_attention_forward(
            x,
            self.qkv.weight.data,
            self.qkv.bias.data,
            self.proj.weight.data,
            self.proj.bias.data,
            self.num_heads,
            mask,
            relative,
        )

    def backward(
        self, dy: Array, cache: MultiHeadAttentionCache, dprobs: Array | None = None
    ) -> Array:
        """dy (B, T, C) -> dx (B, T, C). dprobs (B, H, T, T): the map's gradient, if asked for."""
        dx, dqkv_weight, dqkv_bias, dproj_weight, dproj_bias, *dtable = (
            multi_head_attention_backward(dy, cache, dprobs)
        )
        self.qkv.weight.grad += dqkv_weight
        self.qkv.bias.grad += dqkv_bias
        self.proj.weight.grad += dproj_weight
        self.proj.bias.grad += dproj_bias
        if dtable:
            self.relative_table.grad += dtable[0]
        return dx
