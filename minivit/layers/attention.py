"""Multi-head self-attention with its two projections."""

import numpy as np

from minivit.backend import Array, RandomStream
from minivit.functional import (
    MultiHeadAttentionCache,
    multi_head_attention_backward,
    multi_head_attention_forward,
)
from minivit.layers.dropout import Dropout
from minivit.layers.layer import Layer
from minivit.layers.linear import Linear


class MultiHeadAttention(Layer):
    """See `functional.attention`. qkv.weight: (C, 3C), q, k, v, each head by head."""

    def __init__(self, rng: np.random.Generator, dim: int, num_heads: int, attn_dropout: float = 0):
        self.qkv = Linear(rng, dim, dim, copies=3)
        self.proj = Linear(rng, dim, dim)
        self.attn_drop = Dropout(attn_dropout)
        self.num_heads = num_heads

    def forward(
        self, x: Array, stream: RandomStream | None = None
    ) -> tuple[Array, MultiHeadAttentionCache]:
        """x (B, T, C) -> (B, T, C), cache; `cache.probs` (B, H, T, T) is the attention map."""
        B, T, _ = x.shape
        mask = self.attn_drop.mask((B, self.num_heads, T, T), x, stream)
        return multi_head_attention_forward(
            x,
            self.qkv.weight.data,
            self.qkv.bias.data,
            self.proj.weight.data,
            self.proj.bias.data,
            self.num_heads,
            mask,
        )

    def backward(
        self, dy: Array, cache: MultiHeadAttentionCache, dprobs: Array | None = None
    ) -> Array:
        """dy (B, T, C) -> dx (B, T, C). dprobs (B, H, T, T): the map's gradient, if asked for."""
        dx, dqkv_weight, dqkv_bias, dproj_weight, dproj_bias = multi_head_attention_backward(
            dy, cache, dprobs
        )
        self.qkv.weight.grad += dqkv_weight
        self.qkv.bias.grad += dqkv_bias
        self.proj.weight.grad += dproj_weight
        self.proj.bias.grad += dproj_bias
        return dx
