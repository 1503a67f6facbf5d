"""Relative positions, against hand calculations, PyTorch and finite differences."""

import math

import numpy as np
import pytest
from helpers import assert_right_gradients, draw, relative_error, seeds, sizes
from hypothesis import given

from minivit.functional import relative_backward, relative_forward, relative_offsets


@given(B=sizes, H=sizes, rows=sizes, columns=sizes, D=sizes, seed=seeds)
@pytest.mark.parametrize("class_token", [0, 1])
def test_gradients(class_token, B, H, rows, columns, D, seed):
    offsets = relative_offsets(rows, columns)
    T = rows * columns + class_token
    inputs = {"q": draw(seed, B, H, T, D), "table": draw(seed, offsets.max() + 1, D)}
    assert_right_gradients(relative_forward, relative_backward, inputs, offsets)


@pytest.mark.parametrize("class_token", [0, 1])
def test_each_score_is_the_query_times_its_offsets_embedding(class_token):
    h, w, D = 2, 3, 4
    offsets, T = relative_offsets(h, w), h * w + class_token
    q, table = draw(0, 2, 3, T, D), draw(1, (2 * h - 1) * (2 * w - 1), D)
    by_offset = table.reshape(2 * h - 1, 2 * w - 1, D)
    bias, _ = relative_forward(q, table, offsets)
    for i, j in np.ndindex(h * w, h * w):
        down, right = i // w - j // w, i % w - j % w
        expected = q[:, :, i + class_token] @ by_offset[down + h - 1, right + w - 1]
        found = bias[:, :, i + class_token, j + class_token]
        np.testing.assert_allclose(found, expected / math.sqrt(D))
    if class_token:
        assert not bias[:, :, 0].any()
        assert not bias[:, :, :, 0].any()


def test_offsets_encode_distance_and_direction():
    offsets = relative_offsets(3, 4)
    assert offsets.shape == (12, 12)
    assert sorted(set(offsets.ravel())) == list(range(5 * 7)), "every offset occurs"
    assert len(set(np.diag(offsets))) == 1
    assert all(len(set(row)) == 12 for row in offsets)
    assert offsets[0, 1] != offsets[1, 0], "left is not right"
    assert offsets[0, 1] == offsets[5, 6] == offsets[10, 11]


def test_pytorch_agrees():
    torch = pytest.importorskip("torch")
    offsets = relative_offsets(3, 4)
    q, table, dbias = draw(0, 2, 3, 13, 4), draw(1, 35, 4), draw(2, 2, 3, 13, 13)
    bias, cache = relative_forward(q, table, offsets)
    dq, dtable = relative_backward(dbias, cache)
    tq, tt = (torch.from_numpy(a).requires_grad_() for a in (q, table))
    keys = tt[torch.from_numpy(offsets)]  # (N, N, D)
    scores = torch.einsum("bhid,ijd->bhij", tq[:, :, 1:], keys) / 2.0
    expected = torch.nn.functional.pad(scores, (1, 0, 1, 0))
    expected.backward(torch.from_numpy(dbias))
    assert relative_error(bias, expected.detach()) <= 1e-9
    assert relative_error(dq, tq.grad) <= 1e-9
    assert relative_error(dtable, tt.grad) <= 1e-9
