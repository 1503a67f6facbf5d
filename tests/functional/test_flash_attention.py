"""Attention in blocks against attention computed at once."""

import tracemalloc

import numpy as np
import pytest
from helpers import assert_right_gradients, draw, relative_error, seeds
from hypothesis import given
from hypothesis import strategies as st

import minivit
from minivit.functional import (
    FlashAttentionCache,
    attention,
    attention_backward,
    attention_forward,
    flash_attention,
    flash_attention_backward,
    flash_attention_forward,
    merge_heads,
)

small_sizes = st.integers(1, 3)


@pytest.fixture(autouse=True, scope="module")
def small_blocks():
    """Blocks of 2 queries and 3 keys, so there are several, some full and some partial."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flash_attention, "QUERIES", 2)
        patch.setattr(flash_attention, "KEYS", 3)
        yield


def heads(seed, B, H, T, D, queries=None):
    return draw(seed, B, H, queries or T, D), draw(seed + 1, B, H, T, D), draw(seed + 2, B, H, T, D)


@given(small_sizes, small_sizes, st.integers(1, 8), st.integers(1, 4), seeds)
def test_it_agrees_with_attention(B, H, T, D, seed):
    q, k, v = heads(seed, B, H, T, D)
    out, cache = flash_attention_forward(q, k, v)
    expected, whole = attention_forward(q, k, v)
    np.testing.assert_allclose(out, expected, atol=1e-13)
    np.testing.assert_allclose(cache.probs, whole.probs, atol=1e-13)
    assert np.shares_memory(merge_heads(out), out)  # no copies
    dout, dprobs = draw(seed + 3, *out.shape), np.empty((2, B, H, T, T))
    found = flash_attention_backward(dout, cache, dprobs=dprobs[0])
    expected_grads = attention_backward(dout, whole, dprobs=dprobs[1])
    for one, other in zip(found, expected_grads, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12)
    np.testing.assert_allclose(*dprobs, atol=1e-13)


@given(small_sizes, small_sizes, st.integers(1, 7), small_sizes, seeds)
def test_gradients(B, H, T, D, seed):
    inputs = dict(zip("qkv", heads(seed, B, H, T, D), strict=True))
    assert_right_gradients(flash_attention_forward, flash_attention_backward, inputs)


def test_fewer_queries_than_keys():
    q, k, v = heads(0, 2, 2, 7, 3, queries=5)
    out, cache = flash_attention_forward(q, k, v)
    expected, whole = attention_forward(q, k, v)
    np.testing.assert_allclose(out, expected, atol=1e-13)
    dout = draw(9, *out.shape)
    for one, other in zip(
        flash_attention_backward(dout, cache), attention_backward(dout, whole), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-12)


@pytest.mark.parametrize("largest", [0, 4, 6], ids=["first block", "second", "last"])
def test_large_scores_do_not_overflow(largest):
    """exp(1000) overflows and exp(-1000) underflows, wherever the largest score is."""
    q, k, v = (x.astype(np.float32) for x in heads(1, 1, 1, 7, 4))
    k[0, 0, largest] = 1000 * q[0, 0, 0]
    out, cache = flash_attention_forward(q, k, v)
    expected, whole = attention_forward(q, k, v)
    np.testing.assert_allclose(out, expected, atol=1e-5)
    for one, other in zip(
        flash_attention_backward(out, cache), attention_backward(out, whole), strict=True
    ):
        assert relative_error(one, other) < 1e-4


def test_gradients_are_written_into_given_arrays():
    q, k, v = heads(2, 2, 3, 8, 4)
    out, cache = flash_attention_forward(q, k, v)
    given_arrays = tuple(np.full_like(x, np.nan) for x in (q, k, v))
    found = flash_attention_backward(out, cache, given_arrays)
    assert all(one is other for one, other in zip(found, given_arrays, strict=True))
    assert all(np.isfinite(one).all() for one in given_arrays)


def model_of(grid, **options):
    config = minivit.ViTConfig(
        image_size=grid, patch_size=1, dim=8, depth=2, num_heads=2, num_classes=3, **options
    )
    return minivit.ViT(config, dtype="float64")


def gradients_of(model, images):
    logits, cache = model.forward(images)
    dprobs = np.empty((2, *cache.blocks[0].attn.probs.shape))
    model.flat.zero_grad()
    model.head.weight.data[...] = draw(5, *model.head.weight.data.shape)
    model.backward(draw(6, *logits.shape), cache, dprobs)
    return model.flat.grad.copy(), dprobs


def test_a_model_uses_blocks_for_many_tokens_with_the_same_result(monkeypatch):
    model, images = model_of((4, 5)), draw(4, 2, 3, 4, 5)
    _, whole = model.forward(images)
    assert not isinstance(whole.blocks[0].attn.attention, FlashAttentionCache)
    expected, expected_dprobs = gradients_of(model, images)
    monkeypatch.setattr(attention, "KEYS", 20)  # there are 21 tokens
    _, cache = model.forward(images)
    assert isinstance(cache.blocks[0].attn.attention, FlashAttentionCache)
    np.testing.assert_allclose(cache.blocks[1].attn.probs, whole.blocks[1].attn.probs, atol=1e-13)
    found, dprobs = gradients_of(model, images)
    assert relative_error(found, expected) < 1e-12
    assert relative_error(dprobs, expected_dprobs) < 1e-12
    monkeypatch.setattr(attention, "KEYS", 21)
    _, cache = model.forward(images)
    assert not isinstance(cache.blocks[0].attn.attention, FlashAttentionCache)


@pytest.mark.parametrize("options", [{"attn_dropout": 0.2}, {"pos_embed": "relative"}], ids=str)
def test_options_that_add_to_the_map_need_the_whole_map(options, monkeypatch):
    """A mask or a bias itself has T × T numbers."""
    monkeypatch.setattr(attention, "KEYS", 3)
    _, cache = model_of((3, 3), **options).forward(
        draw(4, 1, 3, 3, 3), train=True, stream=minivit.backend.RandomStream(0)
    )
    assert not isinstance(cache.blocks[0].attn.attention, FlashAttentionCache)


def test_memory_grows_linearly_with_the_number_of_tokens(monkeypatch):
    monkeypatch.setattr(flash_attention, "QUERIES", 64)
    monkeypatch.setattr(flash_attention, "KEYS", 64)
    peaks = []
    for T in (1000, 2000):
        q, k, v = (x.astype(np.float32) for x in heads(0, 1, 2, T, 8))
        tracemalloc.start()
        out, cache = flash_attention_forward(q, k, v)
        flash_attention_backward(out, cache)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 2.2 * peaks[0]
    assert peaks[1] < 0.1 * 4 * 2 * 2000**2
