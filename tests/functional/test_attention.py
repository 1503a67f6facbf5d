"""Scaled dot-product attention and its heads."""

import math

import numpy as np
import pytest
from helpers import assert_right_gradients, draw, seeds
from hypothesis import given
from hypothesis import strategies as st

from minivit.functional import (
    Extras,
    attention_backward,
    attention_forward,
    dropout_mask,
    merge_heads,
    multi_head_attention_backward,
    multi_head_attention_forward,
    relative_offsets,
    split_heads,
)

small_sizes = st.integers(1, 4)


def attention_slowly(q, k, v):
    """Attention of one head of one image in loops; q, k, v are (T, D)."""
    T, D = q.shape
    out, probs = np.zeros((T, D)), np.zeros((T, T))
    for i in range(T):
        exps = [math.exp(sum(q[i] * k[j]) / math.sqrt(D)) for j in range(T)]
        for j in range(T):
            probs[i, j] = exps[j] / sum(exps)
            out[i] += probs[i, j] * v[j]
    return out, probs


def heads(seed, B, H, T, D):
    return {name: draw(seed + i, B, H, T, D) for i, name in enumerate("qkv")}


def projections(seed, C):
    return {
        "qkv_weight": draw(seed, C, 3 * C),
        "qkv_bias": draw(seed, 3 * C),
        "proj_weight": draw(seed, C, C),
        "proj_bias": draw(seed, C),
    }


def mask_for(seed, *shape):
    return dropout_mask(np.random.default_rng(seed).random(shape), 0.3)


@given(small_sizes, small_sizes, small_sizes, small_sizes, st.booleans(), seeds)
def test_gradients_of_attention(B, H, T, D, dropped, seed):
    mask = mask_for(seed, B, H, T, T) if dropped else None
    assert_right_gradients(attention_forward, attention_backward, heads(seed, B, H, T, D), mask)


@given(st.integers(1, 3), small_sizes, st.integers(1, 3), st.integers(1, 3), st.booleans(), seeds)
def test_gradients_of_many_heads(B, T, H, D, dropped, seed):
    inputs = {"x": draw(seed, B, T, H * D), **projections(seed, H * D)}
    inputs["qkv_weight"] *= (
        0.5  # sharper attention maps need a smaller step than the check's default
    )
    mask = mask_for(seed, B, H, T, T) if dropped else None
    assert_right_gradients(
        multi_head_attention_forward, multi_head_attention_backward, inputs, H, mask
    )


@given(small_sizes, small_sizes, small_sizes, small_sizes, seeds)
def test_attention_agrees_with_a_slow_loop(B, H, T, D, seed):
    inputs = heads(seed, B, H, T, D)
    out, cache = attention_forward(**inputs)
    for b, h in np.ndindex(B, H):
        expected, probs = attention_slowly(*(array[b, h] for array in inputs.values()))
        np.testing.assert_allclose(out[b, h], expected, atol=1e-10)
        np.testing.assert_allclose(cache.probs[b, h], probs, atol=1e-10)


@given(small_sizes, small_sizes, small_sizes, small_sizes, seeds)
def test_many_heads_agree_with_one_head_at_a_time(B, T, H, D, seed):
    C = H * D
    x, p = draw(seed, B, T, C), projections(seed, C)
    y, cache = multi_head_attention_forward(x, *p.values(), H)
    assert cache.probs.shape == (B, H, T, T)
    for b in range(B):
        merged = np.zeros((T, C))
        for h in range(H):
            columns = [np.arange(D) + part * C + h * D for part in range(3)]
            q, k, v = (x[b] @ p["qkv_weight"][:, c] + p["qkv_bias"][c] for c in columns)
            merged[:, h * D : (h + 1) * D], _ = attention_slowly(q, k, v)
        np.testing.assert_allclose(y[b], merged @ p["proj_weight"] + p["proj_bias"], atol=1e-10)


def test_each_image_has_its_own_attention():
    """Image 0's map is not used for the whole batch: permuted images give permuted results."""
    x, p = draw(0, 3, 5, 8), projections(1, 8)
    y, cache = multi_head_attention_forward(x, *p.values(), 2)
    assert np.abs(cache.probs[0] - cache.probs[1]).max() > 0.1
    assert np.abs(cache.probs[0] - cache.probs[2]).max() > 0.1
    order = [2, 0, 1]
    permuted, _ = multi_head_attention_forward(x[order], *p.values(), 2)
    np.testing.assert_allclose(permuted, y[order], atol=1e-12)
    alone, _ = multi_head_attention_forward(x[1:2], *p.values(), 2)
    np.testing.assert_allclose(alone[0], y[1], atol=1e-12)


def test_a_row_of_a_map_belongs_to_the_query_token():
    """Token 0 attends only to token 2; the others attend uniformly."""
    q, k, v = np.zeros((3, 1, 1, 3, 2))
    q[..., 0, :], k[..., 2, :] = 30.0, 30.0
    v[..., :, 0] = [1.0, 2.0, 3.0]
    out, cache = attention_forward(q, k, v)
    np.testing.assert_allclose(cache.probs[0, 0, 0], [0.0, 0.0, 1.0], atol=1e-12)
    np.testing.assert_allclose(cache.probs[0, 0, 1], 1 / 3)
    np.testing.assert_allclose(out[0, 0, :, 0], [3.0, 2.0, 2.0])


def test_dropped_weights_give_nothing_and_kept_ones_are_scaled():
    inputs = heads(0, 1, 1, 4, 3)
    _, cache = attention_forward(**inputs)
    mask = np.zeros((1, 1, 4, 4))
    mask[..., 1] = 2.0
    out, dropped = attention_forward(**inputs, mask=mask)
    expected = 2.0 * cache.probs[0, 0, :, 1:2] * inputs["v"][0, 0, 1]
    np.testing.assert_allclose(out[0, 0], expected, rtol=1e-12)
    np.testing.assert_array_equal(dropped.probs, cache.probs)  # the map itself, before dropout


@given(st.integers(1, 3), st.integers(2, 5), st.integers(1, 3), st.integers(1, 3), seeds)
def test_the_bias_of_the_keys_has_no_gradient(B, T, H, D, seed):
    """It adds the same number to all scores of a row, which softmax ignores."""
    C = H * D
    x, p = draw(seed, B, T, C), projections(seed, C)
    y, cache = multi_head_attention_forward(x, *p.values(), H)
    _, dweight, dbias, *_ = multi_head_attention_backward(draw(seed + 9, *y.shape), cache)
    scale = max(np.abs(dweight).max(), np.abs(dbias).max())
    assert np.abs(dbias[C : 2 * C]).max() <= 1e-12 * scale
    assert np.abs(dbias[2 * C :]).max() > 1e-3 * scale


@given(small_sizes, small_sizes, small_sizes, small_sizes, seeds)
def test_heads_split_and_merge_in_order(B, T, H, D, seed):
    C = H * D
    qkv = draw(seed, B, T, 3 * C)
    for part, split in enumerate(split_heads(qkv, H)):
        assert split.shape == (B, H, T, D)
        np.testing.assert_array_equal(merge_heads(split), qkv[..., part * C : (part + 1) * C])
    np.testing.assert_array_equal(split_heads(qkv, H)[1][0, -1, -1], qkv[0, -1, 2 * C - D : 2 * C])


def test_gradients_can_be_written_into_one_packed_array():
    inputs = heads(0, 2, 3, 4, 5)
    out, cache = attention_forward(**inputs)
    dout = draw(1, *out.shape)
    packed = np.full((2, 4, 3 * 15), np.nan)
    attention_backward(dout, cache, split_heads(packed, 3))
    expected = np.concatenate([merge_heads(d) for d in attention_backward(dout, cache)], -1)
    np.testing.assert_allclose(packed, expected, atol=1e-14)


@pytest.mark.parametrize("dropped", [False, True])
def test_gradients_of_map_and_bias_are_written_into_given_arrays(dropped):
    inputs, bias = heads(0, 2, 3, 4, 5), draw(7, 2, 3, 4, 4)
    mask = mask_for(1, 2, 3, 4, 4) if dropped else None
    out, cache = attention_forward(**inputs, mask=mask, bias=bias)
    dout = draw(1, *out.shape)
    dprobs, dbias = np.full((2, *bias.shape), np.nan)
    attention_backward(dout, cache, None, dprobs, dbias)
    expected = np.einsum("bhqd,bhkd->bhqk", dout, inputs["v"]) * (1.0 if mask is None else mask)
    np.testing.assert_allclose(dprobs, expected, atol=1e-13)
    probs = cache.probs
    correction = (expected * probs).sum(-1, keepdims=True)
    np.testing.assert_allclose(dbias, probs * (expected - correction), atol=1e-13)


@given(small_sizes, small_sizes, small_sizes, small_sizes, st.booleans(), seeds)
def test_gradient_of_the_bias(B, H, T, D, dropped, seed):
    mask = mask_for(seed, B, H, T, T) if dropped else None

    def forward(bias, q, k, v):
        return attention_forward(q, k, v, mask, bias)

    def backward(dout, cache):
        dbias = np.empty_like(cache.probs)
        attention_backward(dout, cache, dbias=dbias)
        return dbias

    bias = {"bias": draw(seed, B, H, T, T)}
    assert_right_gradients(forward, backward, bias, *heads(seed, B, H, T, D).values())


@pytest.mark.parametrize("dropped", [False, True])
@pytest.mark.parametrize("class_token", [0, 1])
def test_many_heads_with_dropout_and_relative_scores(dropped, class_token):
    """Both options, separately and together, against a second implementation."""
    B, H, D, grid = 2, 2, 3, (2, 3)
    T, C = 6 + class_token, H * D
    x, p = draw(0, B, T, C), projections(1, C)
    mask = mask_for(2, B, H, T, T) if dropped else None
    offsets = relative_offsets(*grid)
    table = draw(3, offsets.max() + 1, D)
    y, _ = multi_head_attention_forward(x, *p.values(), H, mask, (table, offsets))
    packed = (x @ p["qkv_weight"] + p["qkv_bias"]).reshape(B, T, 3, H, D)
    q, k, v = packed.transpose(2, 0, 3, 1, 4)
    scores = np.einsum("bhqd,bhkd->bhqk", q, k)
    patches = slice(class_token, None)
    scores[..., patches, patches] += np.einsum("bhqd,qkd->bhqk", q[:, :, patches], table[offsets])
    probs = np.exp(scores / math.sqrt(D))
    probs /= probs.sum(-1, keepdims=True)
    if dropped:
        probs *= mask
    merged = np.einsum("bhqk,bhkd->bqhd", probs, v).reshape(B, T, C)
    np.testing.assert_allclose(y, merged @ p["proj_weight"] + p["proj_bias"], atol=1e-12)


@pytest.mark.parametrize("dropped", [False, True])
def test_gradients_of_many_heads_with_relative_scores(dropped):
    B, H, D, T = 2, 2, 3, 7
    offsets = relative_offsets(2, 3)
    mask = mask_for(2, B, H, T, T) if dropped else None
    inputs = {"x": 0.5 * draw(0, B, T, H * D), **projections(1, H * D)}
    inputs["table"] = draw(3, offsets.max() + 1, D)

    def forward(*arrays):
        *arrays, table = arrays
        return multi_head_attention_forward(*arrays, H, mask, (table, offsets))

    assert_right_gradients(forward, multi_head_attention_backward, inputs)


def test_many_heads_return_the_gradient_of_the_map():
    B, H, D, T = 2, 2, 3, 4
    x, p = draw(0, B, T, H * D), projections(1, H * D)
    y, cache = multi_head_attention_forward(x, *p.values(), H)
    dy, dprobs = draw(2, *y.shape), np.full((B, H, T, T), np.nan)
    multi_head_attention_backward(dy, cache, dprobs)
    dheads = (dy @ p["proj_weight"].T).reshape(B, T, H, D)
    expected = np.einsum("bqhd,bhkd->bhqk", dheads, cache.attention.v)
    np.testing.assert_allclose(dprobs, expected, atol=1e-12)


@pytest.mark.parametrize("shifted", [True, False])
def test_many_heads_normalize_their_queries_and_keys(shifted):
    """By LayerNorm, or by RMSNorm if there is no β, with the given ε."""
    B, T, H, D, eps = 2, 5, 2, 3, 0.1
    x, p = draw(0, B, T, H * D), projections(1, H * D)
    gammas, betas = draw(2, 2, D), draw(3, 2, D) if shifted else (None, None)
    norms = (gammas[0], betas[0], gammas[1], betas[1], eps)
    y, _ = multi_head_attention_forward(x, *p.values(), H, extras=Extras(norms=norms))
    packed = (x @ p["qkv_weight"] + p["qkv_bias"]).reshape(B, T, 3, H, D)
    *normalized, v = packed.transpose(2, 0, 3, 1, 4)
    for i in range(2):
        if shifted:
            normalized[i] = normalized[i] - normalized[i].mean(-1, keepdims=True)
        rms = np.sqrt((normalized[i] ** 2).mean(-1, keepdims=True) + eps)
        normalized[i] = gammas[i] * normalized[i] / rms + (betas[i] if shifted else 0.0)
    probs = np.exp(np.einsum("bhqd,bhkd->bhqk", *normalized) / math.sqrt(D))
    probs /= probs.sum(-1, keepdims=True)
    merged = np.einsum("bhqk,bhkd->bqhd", probs, v).reshape(B, T, H * D)
    np.testing.assert_allclose(y, merged @ p["proj_weight"] + p["proj_bias"], atol=1e-12)
