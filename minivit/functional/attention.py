"""Scaled dot-product attention and its many heads (Vaswani et al., 2017, section 3.2)."""

import math
from typing import Any, NamedTuple

import numpy as np

from minivit.backend import Array, get_xp
from minivit.functional.dropout import dropout_backward, dropout_forward
from minivit.functional.flash_attention import (
    KEYS,
    FlashAttentionCache,
    flash_attention_backward,
    flash_attention_forward,
)
from minivit.functional.layernorm import layernorm_backward, layernorm_forward
from minivit.functional.linear import linear_backward, linear_forward
from minivit.functional.relative import (
    relative_backward,
    relative_bias_backward,
    relative_bias_forward,
    relative_forward,
)
from minivit.functional.rmsnorm import rmsnorm_backward, rmsnorm_forward
from minivit.functional.rotary import rotary_backward, rotary_forward
from minivit.functional.softmax import softmax_backward, softmax_forward


class AttentionCache(NamedTuple):
    """q, k, v (B, H, T, D): the gradient of each is a product with the others.
    probs (B, H, T, T): the attention map, one row per query; softmax's backward needs it.
    mask: the dropout mask, or None.
    """

    q: Array
    k: Array
    v: Array
    probs: Array
    mask: Array | None


def attention_forward(
    q: Array, k: Array, v: Array, mask: Array | None = None, bias: Array | None = None
) -> tuple[Array, AttentionCache]:
    r"""Every token's query is compared with all keys (q·k); the output is the mean of the values
    (v), weighted by the softmax of these scores.

    .. math:: \mathrm{Attention}(Q, K, V) =
              \mathrm{softmax}\!\Bigl(\frac{Q K^\top}{\sqrt D}\Bigr) V

    Without :math:`1/\sqrt D` the scores' spread grows with the head size, and softmax saturates.
    The factor is applied to k, which has fewer numbers than the scores.

    Args:
        q, k, v: (B, H, T, D). Any strides: the heads may be views into one packed array. There may
            be fewer queries than keys.
        mask: (B, H, T, T) from `dropout_mask`, or None: which attention weights are dropped.
        bias: (B, H, T, T) or (1, H, T, T), added to the scores, such as that of
            `relative_forward`; or None.

    Returns:
        out (B, H, T, D), laid out so that `merge_heads` does not copy it; cache.
    """
    xp = get_xp(q)
    B, H, T, D = q.shape
    keys = transposed(k)
    keys *= 1.0 / math.sqrt(D)
    scores = xp.matmul(q, keys)
    if bias is not None:
        scores += bias
    probs, _ = softmax_forward(scores)
    weights = probs if mask is None else dropout_forward(probs, mask)[0]
    out = xp.empty((B, T, H, D), q.dtype).swapaxes(1, 2)
    xp.matmul(weights, v, out=out)
    return out, AttentionCache(q, k, v, probs, mask)


def attention_backward(
    dout: Array,
    cache: AttentionCache,
    out: tuple[Array, Array, Array] | None = None,
    dprobs: Array | None = None,
    dbias: Array | None = None,
) -> tuple[Array, Array, Array]:
    r"""dout (B, H, T, D) -> dq, dk, dv, each (B, H, T, D).

    .. math:: dV = P^\top dO, \qquad dP = dO\,V^\top, \qquad
              dS = P \odot (dP - \mathrm{rowsum}(dP \odot P))
    .. math:: dQ = \frac{dS\,K}{\sqrt D}, \qquad dK = \frac{dS^\top Q}{\sqrt D}

    Args:
        out: arrays to write dq, dk, dv into, such as views into one packed gradient; None for new.
        dprobs: (B, H, T, T) to write the gradient of the attention map into, for inspection; None
        if it is not needed. dbias: the same for the gradient of forward's `bias`.
    """
    q, k, v, probs, mask = cache
    xp = get_xp(q)
    dq, dk, dv = out or (xp.empty_like(q), xp.empty_like(k), xp.empty_like(v))
    weights = probs if mask is None else dropout_forward(probs, mask)[0]
    xp.matmul(weights.swapaxes(-1, -2), dout, out=dv)
    dweights = xp.matmul(dout, transposed(v), out=dprobs)
    if mask is not None:
        dweights = dropout_backward(dweights, mask)
        if dprobs is not None:
            dprobs[...] = dweights
    dscores = softmax_backward(dweights, probs)
    if dbias is not None:
        dbias[...] = dscores
    dscores *= 1.0 / math.sqrt(q.shape[-1])  # one pass, for both dq and dk
    xp.matmul(dscores, k, out=dq)
    xp.matmul(dscores.swapaxes(-1, -2), q, out=dk)
    return dq, dk, dv


class MultiHeadAttentionCache(NamedTuple):
    """What each step cached; `probs` (B, H, T, T) is the attention map. For the optional parts
    (`Extras`): relative, bias, rotary, norms; None if the model does not have them.
    """

    qkv: tuple
    relative: tuple | None
    attention: AttentionCache | FlashAttentionCache
    proj: tuple
    bias: tuple | None = None
    rotary: tuple | None = None
    norms: tuple | None = None

    @property
    def probs(self) -> Array:
        return self.attention.probs


class Extras(NamedTuple):
    """Optional operations on queries, keys and scores; None for none.

    norms: γ of the queries and of the keys, each (D,), with β or None for RMSNorm, and ε: (γ_q,
    β_q, γ_k, β_k, ε); each head's queries and keys are normalized (Dehghani et al., 2023).
    rotary: cos, sin and half of `rotary_forward`. bias: table (R, H) and offsets (N, N) of
    `relative_bias_forward`.
    """

    norms: tuple | None = None
    rotary: tuple | None = None
    bias: tuple | None = None


def multi_head_attention_forward(
    x: Array,
    qkv_weight: Array,
    qkv_bias: Array | None,
    proj_weight: Array,
    proj_bias: Array,
    num_heads: int,
    mask: Array | None = None,
    relative: tuple[Array, Array] | None = None,
    extras: Extras | None = None,
) -> tuple[Array, MultiHeadAttentionCache]:
    r"""H attention heads in parallel, each of width D = C/H.

    .. math:: [Q, K, V] = x W_{qkv} + b_{qkv}, \qquad
              y = \mathrm{concat}(\mathrm{head}_1, \dots, \mathrm{head}_H)\,W_o + b_o

    Args:
        x: (B, T, C). qkv_weight: (C, 3C), columns q, k, v, each divided into heads. qkv_bias:
            (3C,), or None.
        proj_weight: (C, C). proj_bias: (C,). num_heads: H, must divide C.
        mask: (B, H, T, T), the dropout mask of the attention map; or None.
        relative: table (R, D) and offsets (N, N) of `relative_forward`, or None.
        extras: see `Extras`; None for none.

    Returns:
        y (B, T, C), cache.
    """
    qkv, qkv_cache = linear_forward(x, qkv_weight, qkv_bias)
    q, k, v = split_heads(qkv, num_heads)
    extras = extras or Extras()
    norms = rotary = bias = relative_cache = bias_cache = None
    if extras.norms is not None:
        q, k, norms = _normalize(q, k, *extras.norms)
    if extras.rotary is not None:
        q, rotary = rotary_forward(q, *extras.rotary)
        k, _ = rotary_forward(k, *extras.rotary)
    if relative is not None:
        bias, relative_cache = relative_forward(q, *relative)
    if extras.bias is not None:
        table, offsets = extras.bias
        bias, bias_cache = relative_bias_forward(table, offsets, x.shape[1])
    heads, attention_cache = _attend(q, k, v, mask, bias)
    y, proj_cache = linear_forward(merge_heads(heads), proj_weight, proj_bias)
    return y, MultiHeadAttentionCache(
        qkv_cache, relative_cache, attention_cache, proj_cache, bias_cache, rotary, norms
    )


def _attend(
    q: Array, k: Array, v: Array, mask: Array | None, bias: Array | None
) -> tuple[Array, AttentionCache | FlashAttentionCache]:
    """`flash_attention_forward` on a CPU if there are more tokens than a block holds; otherwise, or
    with a mask or a bias, which has T × T numbers anyway, `attention_forward`.
    """
    if mask is None and bias is None and get_xp(q) is np and k.shape[2] > KEYS:
        return flash_attention_forward(q, k, v)
    return attention_forward(q, k, v, mask, bias)


def _normalize(
    q: Array, k: Array, q_gamma: Array, q_beta: Array | None, k_gamma: Array, k_beta: Array | None,
    eps: float,
) -> tuple[Array, Array, tuple]:  # fmt: skip
    """Normalize each head's queries and keys by LayerNorm, or by RMSNorm if there is no β."""
    if q_beta is None or k_beta is None:
        q, q_cache = rmsnorm_forward(q, q_gamma, eps)
        k, k_cache = rmsnorm_forward(k, k_gamma, eps)
        return q, k, (rmsnorm_backward, q_cache, k_cache)
    q, q_norm = layernorm_forward(q, q_gamma, q_beta, eps)
    k, k_norm = layernorm_forward(k, k_gamma, k_beta, eps)
    return q, k, (layernorm_backward, q_norm, k_norm)


def multi_head_attention_backward(
    dy: Array, cache: MultiHeadAttentionCache, dprobs: Array | None = None
) -> tuple[Array, ...]:
    """dy (B, T, C) -> dx (B, T, C), dqkv_weight, dqkv_bias, dproj_weight, dproj_bias, and, if
    present: dtable (R, D) of relative positions; dtable (R, H) of the bias; the gradients of the
    norms' γ_q, β_q, γ_k, β_k, without β for RMSNorm.

    Forward's steps in reverse; a reshape's backward is the reverse reshape, and the gradients of q,
    k and v are written into one array, laid out like qkv. dprobs: see `attention_backward`.
    """
    H = cache.attention.q.shape[1]
    dmerged, dproj_weight, dproj_bias = linear_backward(dy, cache.proj)
    B, T, C = dmerged.shape
    dheads = dmerged.reshape(B, T, H, C // H).swapaxes(1, 2)  # the inverse of merge_heads
    dqkv = get_xp(dy).empty((B, T, 3 * C), dy.dtype)
    dq, dk, dv = split_heads(dqkv, H)
    dbias: Any = None
    more: list[Array] = []
    if cache.relative is not None or cache.bias is not None:
        dbias = get_xp(dy).empty_like(cache.probs)
    if isinstance(cache.attention, FlashAttentionCache):
        flash_attention_backward(dheads, cache.attention, (dq, dk, dv), dprobs)
    else:
        attention_backward(dheads, cache.attention, (dq, dk, dv), dprobs, dbias)
    if cache.relative is not None:
        dq_relative, dtable = relative_backward(dbias, cache.relative)
        dq += dq_relative
        more.append(dtable)
    if cache.bias is not None:
        more.append(relative_bias_backward(dbias, cache.bias))
    if cache.rotary is not None:
        dq[...] = rotary_backward(dq, cache.rotary)
        dk[...] = rotary_backward(dk, cache.rotary)
    if cache.norms is not None:
        norm_backward, q_norm, k_norm = cache.norms
        dq[...], *dq_norm = norm_backward(dq, q_norm)
        dk[...], *dk_norm = norm_backward(dk, k_norm)
        more += dq_norm + dk_norm
    dx, dqkv_weight, dqkv_bias = linear_backward(dqkv, cache.qkv)
    return dx, dqkv_weight, dqkv_bias, dproj_weight, dproj_bias, *more


def split_heads(qkv: Array, num_heads: int) -> tuple[Array, Array, Array]:
    """qkv (B, T, 3C) -> q, k, v, each (B, H, T, D): views, without copying."""
    B, T, columns = qkv.shape
    D = columns // 3 // num_heads
    q, k, v = qkv.reshape(B, T, 3, num_heads, D).transpose(2, 0, 3, 1, 4)
    return q, k, v


def merge_heads(heads: Array) -> Array:
    """heads (B, H, T, D) -> (B, T, C): the heads of each token concatenated."""
    B, H, T, D = heads.shape
    return heads.swapaxes(1, 2).reshape(B, T, H * D)


def transposed(x: Array) -> Array:
    """(..., T, D) -> (..., D, T), copied: OpenBLAS multiplies small matrices by a transposed view
    at half its speed, which costs more than the copy.
    """
    return x.swapaxes(-1, -2).copy()
