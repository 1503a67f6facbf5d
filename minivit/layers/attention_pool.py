"""Attention pooling: one learned query attends to all tokens (Lee et al., 2019; SigLIP)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from minivit.backend import Array, RandomStream, get_xp
from minivit.functional import (
    AttentionCache,
    attention_backward,
    attention_forward,
    merge_heads,
)
from minivit.layers.initialize import normal
from minivit.layers.layer import Layer, Parameter
from minivit.layers.linear import Linear
from minivit.layers.mlp import Mlp, MlpCache


class AttentionPoolCache(NamedTuple):
    """What each step cached; `attention.probs` (B, H, 1, T) are the weights of the tokens."""

    q: tuple
    kv: tuple
    attention: AttentionCache
    proj: tuple
    norm: Any
    mlp: MlpCache


class AttentionPool(Layer):
    r"""Attention of a learned query over all tokens, then an MLP with a residual.

    .. math:: z = \mathrm{Attention}(l W_q,\; x W_k,\; x W_v)\,W_o, \qquad
              y = z + \mathrm{MLP}(\mathrm{norm}(z))

    latent: l (1, 1, C). q, kv, proj, norm, mlp: timm's names (AttentionPoolLatent).

    Args:
        norm: makes a layer for a given width. act: the MLP's activation.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        dim: int,
        num_heads: int,
        hidden: int,
        norm: Callable[[int], Layer],
        act: Layer,
    ):
        self.latent = Parameter(normal(rng, (1, 1, dim), dim**-0.5))
        self.q = Linear(rng, dim, dim)
        self.kv = Linear(rng, dim, dim, copies=2)
        self.proj = Linear(rng, dim, dim)
        self.norm = norm(dim)
        self.mlp = Mlp(rng, dim, hidden, act)
        self.num_heads = num_heads

    def forward(
        self, x: Array, stream: RandomStream | None = None
    ) -> tuple[Array, AttentionPoolCache]:
        """x (B, T, C) -> (B, C), cache."""
        B, T, C = x.shape
        D = C // self.num_heads
        latent, q_cache = self.q.forward(self.latent.data)
        q = get_xp(x).broadcast_to(
            latent.reshape(1, 1, self.num_heads, D).swapaxes(1, 2), (B, self.num_heads, 1, D)
        )
        kv, kv_cache = self.kv.forward(x)
        k, v = kv.reshape(B, T, 2, self.num_heads, D).transpose(2, 0, 3, 1, 4)
        heads, attention = attention_forward(q, k, v)
        z, proj = self.proj.forward(merge_heads(heads))
        h, norm = self.norm.forward(z)
        h, mlp = self.mlp.forward(h)
        return (z + h)[:, 0], AttentionPoolCache(q_cache, kv_cache, attention, proj, norm, mlp)

    def backward(self, dy: Array, cache: AttentionPoolCache) -> Array:
        """dy (B, C) -> dx (B, T, C)."""
        dz = dy[:, None] + self.norm.backward(self.mlp.backward(dy[:, None], cache.mlp), cache.norm)
        dmerged = self.proj.backward(dz, cache.proj)
        B, H, T, D = cache.attention.k.shape
        dheads = dmerged.reshape(B, 1, H, D).swapaxes(1, 2)
        dkv = get_xp(dy).empty((B, T, 2, H, D), dy.dtype)
        dk, dv = dkv.transpose(2, 0, 3, 1, 4)
        dq = get_xp(dy).empty((B, H, 1, D), dy.dtype)
        attention_backward(dheads, cache.attention, (dq, dk, dv))
        dlatent = dq.sum(0).reshape(1, 1, H * D)  # one query is used by the whole batch
        self.latent.grad += self.q.backward(dlatent, cache.q)
        return self.kv.backward(dkv.reshape(B, T, 2 * H * D), cache.kv)
