"""Multi-head self-attention with its two projections."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from minivit.backend import Array, RandomStream, get_xp
from minivit.functional import (
    Extras,
    MultiHeadAttentionCache,
    multi_head_attention_backward,
    multi_head_attention_forward,
    relative_offsets,
)
from minivit.layers.dropout import Dropout
from minivit.layers.initialize import ZeroGenerator, mimetic_attention, normal
from minivit.layers.layer import Layer, Parameter, data_of
from minivit.layers.linear import Linear


class Rotary(NamedTuple):
    """cos, sin: float64 (N, D), see `functional.rotary`. half: which numbers form a pair."""

    cos: np.ndarray
    sin: np.ndarray
    half: bool


class MultiHeadAttention(Layer):
    """See `functional.attention`. qkv.weight: (C, 3C), columns q, k, v, each divided into heads.

    Args:
        qkv_bias: whether queries, keys and values have a bias.
        relative_grid: rows and columns of patches, for relative positions; None for none.
            relative_table: (offsets, D), or (offsets, H) with `relative_bias`.
        relative_bias: whether offsets have one number per head instead of an embedding.
        qk_norm: makes q_norm and k_norm, given the width of a head; None for none.
        rotary: angles by which queries and keys are rotated; None for none.
        mimetic: whether the weights start as in `mimetic_attention`.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        dim: int,
        num_heads: int,
        attn_dropout: float = 0,
        relative_grid: tuple[int, int] | None = None,
        *,
        qkv_bias: bool = True,
        relative_bias: bool = False,
        qk_norm: Callable[[int], Layer] | None = None,
        rotary: Rotary | None = None,
        mimetic: bool = False,
    ):
        D = dim // num_heads
        self.qkv = Linear(rng, dim, dim, copies=3, bias=qkv_bias)
        if qk_norm is not None:
            self.q_norm, self.k_norm = qk_norm(D), qk_norm(D)
        self.proj = Linear(rng, dim, dim)
        if mimetic and not isinstance(rng, ZeroGenerator):
            weights = mimetic_attention(rng, dim, num_heads)
            self.qkv.weight, self.proj.weight = map(Parameter, weights)
        self.attn_drop = Dropout(attn_dropout)
        self.num_heads, self.relative_bias, self.rotary = num_heads, relative_bias, rotary
        self.offsets = None
        if relative_grid is not None:
            self.offsets = relative_offsets(*relative_grid)
            shape = (int(self.offsets.max()) + 1, num_heads if relative_bias else D)
            self.relative_table = Parameter(normal(rng, shape, 0.02))

    def forward(
        self, x: Array, stream: RandomStream | None = None
    ) -> tuple[Array, MultiHeadAttentionCache]:
        """x (B, T, C) -> (B, T, C), cache; `cache.probs` (B, H, T, T) is the attention map."""
        B, T, _ = x.shape
        table = None
        if self.offsets is not None:
            table = self.relative_table.data, get_xp(x).asarray(self.offsets)
        return multi_head_attention_forward(
            x,
            self.qkv.weight.data,
            data_of(self.qkv.bias),
            self.proj.weight.data,
            self.proj.bias.data,  # type: ignore[union-attr]
            self.num_heads,
            self.attn_drop.mask((B, self.num_heads, T, T), x, stream),
            None if self.relative_bias else table,
            self._extras(x, table),
        )

    def _extras(self, x: Array, table: tuple[Array, Array] | None) -> Extras:
        """The optional operations of this layer, as `functional.Extras`."""
        norms = rotary = None
        if hasattr(self, "q_norm"):
            numbers = [dict(n.named_parameters()) for n in self._norms()]
            pairs = [(n["weight"].data, data_of(n.get("bias"))) for n in numbers]
            norms = (*pairs[0], *pairs[1], self.q_norm.eps)  # type: ignore[attr-defined]
        if self.rotary is not None:
            cos, sin = (get_xp(x).asarray(one, x.dtype) for one in self.rotary[:2])
            rotary = cos, sin, self.rotary.half
        return Extras(norms, rotary, table if self.relative_bias else None)

    def _norms(self) -> Iterator[Layer]:
        if hasattr(self, "q_norm"):
            yield from (self.q_norm, self.k_norm)

    def backward(
        self, dy: Array, cache: MultiHeadAttentionCache, dprobs: Array | None = None
    ) -> Array:
        """dy (B, T, C) -> dx (B, T, C). dprobs (B, H, T, T): filled with the map's gradient."""
        dx, dqkv_weight, dqkv_bias, dproj_weight, dproj_bias, *more = multi_head_attention_backward(
            dy, cache, dprobs
        )
        parameters = [self.qkv.weight, self.qkv.bias, self.proj.weight, self.proj.bias]
        if self.offsets is not None:
            parameters.append(self.relative_table)
        for norm in self._norms():
            parameters += [parameter for _, parameter in norm.named_parameters()]
        gradients = [dqkv_weight, dqkv_bias, dproj_weight, dproj_bias, *more]
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if parameter is not None:
                parameter.grad += gradient
        return dx
