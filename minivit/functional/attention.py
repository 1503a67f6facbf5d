"""Scaled dot-product attention and its many heads (Vaswani et al., 2017, section 3.2)."""

import math
from typing import Any, NamedTuple

from minivit.backend import Array, get_xp
from minivit.functional.dropout import dropout_backward, dropout_forward
from minivit.functional.linear import linear_backward, linear_forward
from minivit.functional.relative import relative_backward, relative_forward
from minivit.functional.softmax import softmax_backward, softmax_forward


class AttentionCache(NamedTuple):
    """q, k, v (B, H, T, D): each one's gradient is a product with the others.
    probs (B, H, T, T): the attention map, row = the token that asks; softmax's backward needs it.
    mask: dropout's, or None.
    """

    q: Array
    k: Array
    v: Array
    probs: Array
    mask: Array | None


def attention_forward(
    q: Array, k: Array, v: Array, mask: Array | None = None, bias: Array | None = None
) -> tuple[Array, AttentionCache]:
    r"""Every token asks all tokens (q·k), and takes their values (v) by the shares of the answers.

    .. math:: \mathrm{Attention}(Q, K, V) =
              \mathrm{softmax}\!\Bigl(\frac{Q K^\top}{\sqrt D}\Bigr) V

    Without :math:`1/\sqrt D` the scores' spread grows with the head size, and softmax saturates.
    It is applied to k, which has fewer numbers than the scores.

    Args:
        q, k, v: (B, H, T, D). Any strides: the heads may be views into one packed array.
        mask: (B, H, T, T) from `dropout_mask`, or None: which shares are dropped.
        bias: (B, H, T, T) to add to the scores, such as `relative_forward`'s; or None.

    Returns:
        out (B, H, T, D), laid out so that `merge_heads` of it copies nothing; cache.
    """
    xp = get_xp(q)
    B, H, T, D = q.shape
    keys = transposed(k)
    keys *= 1.0 / math.sqrt(D)
    scores = xp.matmul(q, keys)
    if bias is not None:
        scores += bias
    probs, _ = softmax_forward(scores)
    shares = probs if mask is None else dropout_forward(probs, mask)[0]
    out = xp.empty((B, T, H, D), q.dtype).swapaxes(1, 2)
    xp.matmul(shares, v, out=out)
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
        dprobs: (B, H, T, T) to write the gradient of the attention map into, for whoever wants to
            look at it; None where nobody does.
        dbias: the same for the gradient of forward's `bias`.
    """
    q, k, v, probs, mask = cache
    xp = get_xp(q)
    dq, dk, dv = out or (xp.empty_like(q), xp.empty_like(q), xp.empty_like(q))
    shares = probs if mask is None else dropout_forward(probs, mask)[0]
    xp.matmul(shares.swapaxes(-1, -2), dout, out=dv)
    dshares = xp.matmul(dout, transposed(v), out=dprobs)
    if mask is not None:
        dshares = dropout_backward(dshares, mask)
        if dprobs is not None:
            dprobs[...] = dshares
    dscores = softmax_backward(dshares, probs)
    if dbias is not None:
        dbias[...] = dscores
    dscores *= 1.0 / math.sqrt(q.shape[-1])  # one pass, and dq and dk have it both
    xp.matmul(dscores, k, out=dq)
    xp.matmul(dscores.swapaxes(-1, -2), q, out=dk)
    return dq, dk, dv


class MultiHeadAttentionCache(NamedTuple):
    """What each step cached; `probs` (B, H, T, T) is the attention map. relative: or None."""

    qkv: tuple
    relative: tuple | None
    attention: AttentionCache
    proj: tuple

    @property
    def probs(self) -> Array:
        return self.attention.probs


def multi_head_attention_forward(
    x: Array,
    qkv_weight: Array,
    qkv_bias: Array,
    proj_weight: Array,
    proj_bias: Array,
    num_heads: int,
    mask: Array | None = None,
    relative: tuple[Array, Array] | None = None,
) -> tuple[Array, MultiHeadAttentionCache]:
    r"""H attentions side by side, each in D = C/H of its own directions.

    .. math:: [Q, K, V] = x W_{qkv} + b_{qkv}, \qquad
              y = \mathrm{concat}(\mathrm{head}_1, \dots, \mathrm{head}_H)\,W_o + b_o

    Args:
        x: (B, T, C). qkv_weight: (C, 3C), columns q, k, v, each head by head. qkv_bias: (3C,).
        proj_weight: (C, C). proj_bias: (C,). num_heads: H, must divide C.
        mask: dropout's for the attention map, (B, H, T, T), or None.
        relative: table (R, D) and offsets (N, N) of `relative_forward`, or None.

    Returns:
        y (B, T, C), cache.
    """
    qkv, qkv_cache = linear_forward(x, qkv_weight, qkv_bias)
    q, k, v = split_heads(qkv, num_heads)
    bias = relative_cache = None
    if relative is not None:
        bias, relative_cache = relative_forward(q, *relative)
    heads, attention_cache = attention_forward(q, k, v, mask, bias)
    y, proj_cache = linear_forward(merge_heads(heads), proj_weight, proj_bias)
    return y, MultiHeadAttentionCache(qkv_cache, relative_cache, attention_cache, proj_cache)


def multi_head_attention_backward(
    dy: Array, cache: MultiHeadAttentionCache, dprobs: Array | None = None
) -> tuple[Array, ...]:
    """dy (B, T, C) -> dx (B, T, C), dqkv_weight, dqkv_bias, dproj_weight, dproj_bias, and
    where there are relative positions dtable (R, D).

    The forward's steps in reverse; a reshape's backward is the reverse reshape, and what q, k and v
    were cut from, their gradients are written into. dprobs: see `attention_backward`.
    """
    H = cache.probs.shape[1]
    dmerged, dproj_weight, dproj_bias = linear_backward(dy, cache.proj)
    B, T, C = dmerged.shape
    dheads = dmerged.reshape(B, T, H, C // H).swapaxes(1, 2)  # the inverse of merge_heads
    dqkv = get_xp(dy).empty((B, T, 3 * C), dy.dtype)
    dq, dk, dv = split_heads(dqkv, H)
    dbias: Any = None
    dtable = None
    if cache.relative is not None:
        dbias = get_xp(dy).empty_like(cache.probs)
    attention_backward(dheads, cache.attention, (dq, dk, dv), dprobs, dbias)
    if cache.relative is not None:
        dq_by_place, dtable = relative_backward(dbias, cache.relative)
        dq += dq_by_place
    dx, dqkv_weight, dqkv_bias = linear_backward(dqkv, cache.qkv)
    gradients = dx, dqkv_weight, dqkv_bias, dproj_weight, dproj_bias
    return gradients if dtable is None else (*gradients, dtable)


def split_heads(qkv: Array, num_heads: int) -> tuple[Array, Array, Array]:
    """qkv (B, T, 3C) -> q, k, v, each (B, H, T, D): views, nothing is copied."""
    B, T, columns = qkv.shape
    D = columns // 3 // num_heads
    q, k, v = qkv.reshape(B, T, 3, num_heads, D).transpose(2, 0, 3, 1, 4)
    return q, k, v


def merge_heads(heads: Array) -> Array:
    """heads (B, H, T, D) -> (B, T, C): the heads of a token side by side."""
    B, H, T, D = heads.shape
    return heads.swapaxes(1, 2).reshape(B, T, H * D)


def transposed(x: Array) -> Array:
    """(..., T, D) -> (..., D, T), copied: OpenBLAS multiplies small matrices by a mere transposed
    view at half its speed, which costs more than the copy."""
    return x.swapaxes(-1, -2).copy()
