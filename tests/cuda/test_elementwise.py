"""GELU, embedding, pooling and column sums, against the NumPy functions."""

import numpy as np
import pytest

from minivit import functional as F
from minivit.backend.cuda import from_bf16, to_bf16

STORES = {"float": (lambda x: np.ascontiguousarray(x, np.float32), lambda x: x, 1e-5),
          "bf16": (to_bf16, from_bf16, 1e-2)}  # fmt: skip


def close(found, expected, tolerance):
    np.testing.assert_allclose(found, expected, atol=tolerance * np.abs(expected).max(), rtol=0)


@pytest.mark.parametrize("kind", STORES)
@pytest.mark.parametrize("form", ["gelu", "gelu_tanh"])
@pytest.mark.parametrize("count", [1, 7, 256, 1003])
def test_gelu(call, kind, form, count):
    store, read, tolerance = STORES[kind]
    rng = np.random.default_rng(count)
    x, dy = store(3 * rng.standard_normal(count)), store(rng.standard_normal(count))
    y, sizes = np.zeros_like(x), {"TANH": int(form == "gelu_tanh"), "SCALAR": kind}
    expected, cache = getattr(F, f"{form}_forward")(read(x).astype(float))
    expected_dx = getattr(F, f"{form}_backward")(read(dy).astype(float), cache)
    call("gelu.cu", "gelu_forward", 6, 64, x, y, count, None, 0, count, 0.0, **sizes)
    call("gelu.cu", "gelu_backward", 6, 64, x, dy, count, None, 0, count, 0.0, **sizes)
    close(read(y), expected, tolerance)
    close(read(dy), expected_dx, tolerance)


@pytest.mark.parametrize("kind", STORES)
@pytest.mark.parametrize("cls", [0, 1])
def test_embedding(call, kind, cls):
    store, read, tolerance = STORES[kind]
    B, N, C = 3, 5, 12
    T = N + cls
    rng = np.random.default_rng(cls)
    patches, dx = store(rng.standard_normal((B, N, C))), rng.standard_normal((B, T, C))
    token, positions = rng.standard_normal((1, 1, C)), rng.standard_normal((1, T, C))
    expected = read(patches).astype(float)
    if cls:
        expected, _ = F.class_token_forward(expected, token)
    expected, _ = F.position_forward(expected, positions)
    x = store(np.zeros((B, T, C)))
    grid, sizes = -(-B * T * C // 64), {"CLS": cls, "SCALAR": kind}
    token, positions, dx = (a.astype(np.float32) for a in (token, positions, dx))
    call("tokens.cu", "embed_forward", grid, 64, patches, token, positions, x, B, T, C,
         None, 0, 0.0, **sizes)  # fmt: skip
    close(read(x), expected, tolerance)
    dpatches = np.zeros_like(patches)
    call("tokens.cu", "embed_backward", grid, 64, dx, dpatches, B, T, C, None, 0, 0.0,
         **sizes)  # fmt: skip
    close(read(dpatches), dx[:, cls:], tolerance)


@pytest.mark.parametrize("kind", STORES)
@pytest.mark.parametrize("cls", [0, 1])
def test_pooling(call, kind, cls):
    store, read, tolerance = STORES[kind]
    B, T, C = 3, 6, 10
    rng = np.random.default_rng(cls)
    tokens, dfeatures = store(rng.standard_normal((B, T, C))), store(rng.standard_normal((B, C)))
    features, dtokens = np.zeros_like(dfeatures), np.zeros_like(tokens)
    sizes = {"CLS": cls, "SCALAR": kind}
    call("tokens.cu", "pool_forward", 2, 32, tokens, features, B, T, C, **sizes)
    call("tokens.cu", "pool_backward", 6, 32, dfeatures, dtokens, B, T, C, **sizes)
    wide = read(tokens).astype(float)
    close(read(features), wide[:, 0] if cls else wide.mean(1), tolerance)
    expected = np.zeros((B, T, C))
    expected[...] = read(dfeatures)[:, None] / (1 if cls else T)
    expected[:, cls:] *= 1 - cls
    close(read(dtokens), expected, tolerance)


@pytest.mark.parametrize("kind", STORES)
def test_column_sums(call, kind):
    store, read, _ = STORES[kind]
    x = store(np.random.default_rng(0).standard_normal((23, 37)))
    partial, out = np.zeros((4, 37), np.float32), np.ones(37, np.float32)
    call("column_sums.cu", "column_sums", (2, 4), 32, x, partial, 23, 37, SCALAR=kind)
    call("column_sums.cu", "add_column_sums", 2, 96, partial, out, None, 4, 37, 37,
         SCALAR=kind)  # fmt: skip
    close(out, 1 + read(x).astype(float).sum(0), 1e-5)
