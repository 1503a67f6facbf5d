"""Attention from packed qkv, without storing the map, against the NumPy functions."""

import numpy as np
import pytest

from minivit.backend.cuda import from_bf16, to_bf16
from minivit.functional import attention_backward, attention_forward, merge_heads, split_heads

TILE, STRIDE_MORE = 64, 8
SHAPES = [(2, 64, 2, 32), (1, 65, 2, 16), (1, 5, 1, 48), (1, 130, 1, 16), (1, 64, 1, 64)]


def shared_bytes(T: int, D: int) -> tuple[int, int]:
    """Shared memory of forward and backward."""
    tile, padded = TILE * (D + STRIDE_MORE) * 2, -(-T // TILE) * TILE
    return 3 * tile, 4 * tile + TILE * (TILE + STRIDE_MORE) * 2 + padded * (D + 2) * 4


def close(found, expected, tolerance=2e-2):
    np.testing.assert_allclose(found, expected, atol=tolerance * np.abs(expected).max(), rtol=0)


@pytest.mark.parametrize(("B", "T", "H", "D"), SHAPES)
def test_forward_and_backward_agree_with_numpy(call, B, T, H, D):
    rng = np.random.default_rng(T)
    C = H * D
    qkv, dout = (
        to_bf16(2 * rng.standard_normal((B, T, 3 * C))),
        to_bf16(rng.standard_normal((B, T, C))),
    )
    out, lse = np.zeros((B, T, C), np.uint16), np.zeros((B, H, T), np.float32)
    forward, backward = shared_bytes(T, D)
    call("attention.cu", "attention_forward", (-(-T // TILE), H, B), 128, qkv, out, lse, T, H,
         None, 0, 0.0, shared=forward, HEAD=D)  # fmt: skip
    q, k, v = split_heads(from_bf16(qkv).astype(float), H)
    expected, cache = attention_forward(q, k, v)
    close(from_bf16(out), merge_heads(expected))
    scores = q @ k.swapaxes(-1, -2) / np.sqrt(D)
    np.testing.assert_allclose(lse, np.log(np.exp(scores).sum(-1)), rtol=1e-4, atol=1e-4)

    probs = np.zeros((B, H, T, T), np.float32)
    call("attention.cu", "attention_map", (-(-T // TILE), H, B), 128, qkv, lse, probs, T, H,
         shared=forward, HEAD=D)  # fmt: skip
    np.testing.assert_allclose(probs, cache.probs, atol=5e-5)

    dqkv = np.zeros_like(qkv)
    call("attention.cu", "attention_backward", (1, H, B), 128, qkv, out, dout, lse, dqkv, T,
         H, None, 0, 0.0, shared=backward, HEAD=D)  # fmt: skip
    dheads = from_bf16(dout).astype(float).reshape(B, T, H, D).swapaxes(1, 2)
    found = split_heads(from_bf16(dqkv), H)
    for one, expected in zip(found, attention_backward(dheads, cache), strict=True):
        close(one, expected)


def test_large_scores_do_not_overflow(call):
    qkv = np.zeros((1, 70, 48), np.float32)
    qkv[..., :32] = 30.0
    qkv[0, 3, 16:32] = 60.0
    qkv[..., 32:] = np.arange(70)[:, None]
    out, lse = np.zeros((1, 70, 16), np.uint16), np.zeros((1, 1, 70), np.float32)
    call("attention.cu", "attention_forward", (2, 1, 1), 128, to_bf16(qkv), out, lse, 70, 1,
         None, 0, 0.0, shared=shared_bytes(70, 16)[0], HEAD=16)  # fmt: skip
    np.testing.assert_array_equal(from_bf16(out), 3.0)  # all queries attend to token 3
