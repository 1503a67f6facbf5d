"""Attention in blocks, for many tokens: what `attention` computes, without the T × T map.

With thousands of tokens the map no longer fits in a cache, and every step of softmax reads and
writes memory. Here a block of queries is combined with one block of keys after another; their
scores stay in the cache and are discarded (Rabe & Staats, 2021; FlashAttention, Dao et al., 2022).
"""

import math
from typing import NamedTuple

import numpy as np

from minivit.backend import Array, get_xp, has_twin, pieces
from minivit.functional.layernorm import row_dots
from minivit.functional.softmax import row_sums, softmax_forward

QUERIES, KEYS = 512, 512
"""Tokens per block: their scores take 1 MB in float32. With fewer, BLAS packs the matrices too
often.
"""


class FlashAttentionCache(NamedTuple):
    """q, k, v (B, H, T, D): the scores are recomputed from them.
    out (B, H, T, D): its product with dout is softmax's correction, so the map is not needed.
    lse (B, H, T): log of the sum of exp(scores) of each query; exp(score - lse) is the attention
    weight.
    """

    q: Array
    k: Array
    v: Array
    out: Array
    lse: Array

    @property
    def probs(self) -> Array:
        """The attention map (B, H, T, T), computed on demand."""
        xp = get_xp(self.q)
        scores = xp.matmul(self.q * _scale(self.q), self.k.swapaxes(-1, -2))
        return softmax_forward(scores)[0]


def flash_attention_forward(q: Array, k: Array, v: Array) -> tuple[Array, FlashAttentionCache]:
    r"""`attention_forward` with memory O(T): softmax with a running maximum and a running sum.

    After each block j of keys, with scores :math:`S_j` and m the largest score so far,

    .. math:: \ell \leftarrow e^{m' - m}\,\ell + \textstyle\sum e^{S_j - m}, \qquad
              O \leftarrow e^{m' - m}\,O + e^{S_j - m} V_j

    where m' is the previous maximum (Milakov & Gimelshein, 2018); in the end out is :math:`O /
    \ell`.

    Args:
        q, k, v: (B, H, T, D), any strides. There may be fewer queries than keys.

    Returns:
        out (B, H, T, D), laid out as `attention_forward`'s; cache.
    """
    xp = get_xp(q)
    B, H, T, D = q.shape
    out = xp.empty((B, T, H, D), q.dtype).swapaxes(1, 2)
    lse = xp.empty((B, H, T), q.dtype)
    for head in np.ndindex(B, H):
        for rows in pieces(T, QUERIES):
            out[head][rows], lse[head][rows] = _attend(q[head][rows], k[head], v[head])
    return out, FlashAttentionCache(q, k, v, out, lse)


def _attend(q: Array, k: Array, v: Array) -> tuple[Array, Array]:
    """A block of queries (R, D), keys and values (T, D) of one head -> out (R, D), lse (R,)."""
    xp = get_xp(q)
    query = q * _scale(q)
    row_max = xp.full((len(q), 1), -math.inf, q.dtype)
    row_sum, out = xp.zeros_like(row_max), xp.zeros(q.shape, q.dtype)
    for keys in pieces(len(k), KEYS):
        weights, *_ = online_softmax(query @ k[keys].T, row_max, row_sum, out)
        out += weights @ v[keys]
    out /= row_sum
    return out, (row_max + xp.log(row_sum))[:, 0]


def flash_attention_backward(
    dout: Array,
    cache: FlashAttentionCache,
    out: tuple[Array, Array, Array] | None = None,
    dprobs: Array | None = None,
) -> tuple[Array, Array, Array]:
    r"""dout (B, H, T, D) -> dq, dk, dv, each (B, H, T, D); the map is recomputed in blocks.

    As in `attention_backward`, but the correction comes from the output:
    :math:`\mathrm{rowsum}(dP \odot P) = \mathrm{rowsum}(dO \odot O)`, as :math:`O = P V`.

    Args:
        out, dprobs: as in `attention_backward`.
    """
    q, k, v, heads, lse = cache
    xp = get_xp(q)
    dq, dk, dv = out or (xp.empty_like(q), xp.empty_like(k), xp.empty_like(v))
    if dprobs is not None:
        xp.matmul(dout, v.swapaxes(-1, -2), out=dprobs)
    dk[...] = 0
    dv[...] = 0
    for head in np.ndindex(q.shape[:2]):
        for rows in pieces(q.shape[2], QUERIES):
            dq[head][rows] = _attend_backward(
                dout[head][rows], q[head][rows], k[head], v[head], heads[head][rows],
                lse[head][rows], dk[head], dv[head],
            )  # fmt: skip
    return dq, dk, dv


def _attend_backward(
    dout: Array, q: Array, k: Array, v: Array, out: Array, lse: Array, dk: Array, dv: Array
) -> Array:
    """A block of queries: -> dq (R, D); adds its part to dk and dv (T, D)."""
    xp = get_xp(q)
    scale = _scale(q)
    query, dout = q * scale, xp.ascontiguousarray(dout)
    dq, correction = xp.zeros(q.shape, q.dtype), row_dots(dout, out)[:, None]
    for keys in pieces(len(k), KEYS):
        probs = shifted_exp(query @ k[keys].T, lse[:, None])
        dv[keys] += probs.T @ dout
        dscores = scores_gradient(dout @ v[keys].T, probs, correction)
        dq += dscores @ k[keys]
        dk[keys] += dscores.T @ query
    dq *= scale
    return dq


@has_twin
def online_softmax(
    scores: Array, row_max: Array, row_sum: Array, out: Array
) -> tuple[Array, Array, Array, Array]:
    """Update the running maximum and sum of each row, both (R, 1), with a block of scores (R, T).

    All four change in place: out (R, D) shrinks as the maximum grows, and the scores become
    exp(scores - row_max).
    """
    xp = get_xp(scores)
    new_max = xp.maximum(row_max, scores.max(-1, keepdims=True))
    shifted_exp(scores, new_max)
    rescale = xp.exp(row_max - new_max)
    row_sum *= rescale
    row_sum += row_sums(scores)
    out *= rescale
    row_max[...] = new_max
    return scores, row_max, row_sum, out


@has_twin
def shifted_exp(scores: Array, shift: Array) -> Array:
    """Replace scores by exp(scores - shift): (R, T); shift: (R, 1)."""
    scores -= shift
    return get_xp(scores).exp(scores, scores)


@has_twin
def scores_gradient(dprobs: Array, probs: Array, correction: Array) -> Array:
    """Replace dP by dS = P (dP - correction), element-wise.

    dprobs, probs: dP and P, (R, T). correction: (R, 1).
    """
    dprobs -= correction
    dprobs *= probs
    return dprobs


def _scale(q: Array) -> float:
    return 1.0 / math.sqrt(q.shape[-1])
