"""Rotary positions, against hand calculations, complex numbers, timm and finite differences."""

import cmath
import math

import numpy as np
import pytest
from helpers import assert_right_gradients, draw, relative_error, seeds, sizes
from hypothesis import given
from hypothesis import strategies as st

from minivit.functional import rotary_axial, rotary_backward, rotary_dinov3, rotary_forward


def pairs_of(D: int, half: bool) -> list[tuple[int, int]]:
    return [(i, i + D // 2) if half else (2 * i, 2 * i + 1) for i in range(D // 2)]


def axial_by_loops(rows, columns, D, theta, scale=(1.0, 1.0), columns_first=False):
    """The angles of each patch, one number at a time."""
    angles = np.empty((rows * columns, D))
    for row, column in np.ndindex(rows, columns):
        positions = [row * scale[0], column * scale[1]]
        if columns_first:
            positions.reverse()
        for d in range(D):
            position = positions[d // (D // 2)]
            i = d % (D // 2) // 2
            angles[row * columns + column, d] = position * theta ** (-4 * i / D)
    return angles


@given(
    B=sizes, H=sizes, N=sizes, prefix=st.integers(0, 2), pairs=sizes, half=st.booleans(), seed=seeds
)
def test_gradients(B, H, N, prefix, pairs, half, seed):
    angles = draw(seed + 1, N, pairs)
    angles = np.tile(angles, 2) if half else np.repeat(angles, 2, 1)
    inputs = {"x": draw(seed, B, H, prefix + N, 2 * pairs)}
    assert_right_gradients(
        rotary_forward, rotary_backward, inputs, np.cos(angles), np.sin(angles), half
    )


@pytest.mark.parametrize("prefix", [0, 1, 3])
@pytest.mark.parametrize("half", [False, True])
def test_each_pair_is_rotated_like_a_complex_number(half, prefix):
    N, D = 4, 6
    x, angles = draw(0, 2, 3, prefix + N, D), np.empty((N, D))
    for number, (first, second) in enumerate(pairs_of(D, half)):
        angles[:, first] = angles[:, second] = draw(number, N)
    y, cache = rotary_forward(x, np.cos(angles), np.sin(angles), half)
    np.testing.assert_array_equal(y[:, :, :prefix], x[:, :, :prefix])
    for b, h, n in np.ndindex(2, 3, N):
        for first, second in pairs_of(D, half):
            token = x[b, h, prefix + n]
            rotated = complex(token[first], token[second]) * cmath.rect(1.0, angles[n, first])
            found = complex(*y[b, h, prefix + n, [first, second]])
            assert found == pytest.approx(rotated, abs=1e-12)
    np.testing.assert_allclose(rotary_backward(y, cache), x, atol=1e-12, err_msg="rotated back")


@pytest.mark.parametrize(
    ("angles", "half"), [(rotary_axial(4, 5, 8, 50.0), False), (rotary_dinov3(4, 5, 8, 50.0), True)]
)
def test_a_score_depends_on_the_offset_between_two_patches(angles, half):
    rows, columns = 4, 5
    q, k = (np.broadcast_to(draw(i, 8), (1, 1, rows * columns, 8)) for i in range(2))
    (q, _), (k, _) = (rotary_forward(x, *angles, half) for x in (q, k))
    scores = (q[0, 0] @ k[0, 0].T).reshape(rows, columns, rows, columns)
    by_offset = {}
    for a, b, c, d in np.ndindex(scores.shape):
        by_offset.setdefault((a - c, b - d), []).append(scores[a, b, c, d])
    assert all(np.ptp(same) < 1e-5 for same in by_offset.values())
    assert np.ptp([same[0] for same in by_offset.values()]) > 0.1


def test_axial_angles_by_hand():
    cos, sin = rotary_axial(2, 3, 8, 100.0)  # frequencies 1 and 100^(-1/2)
    row_1_column_2 = [1.0, 1.0, 0.1, 0.1, 2.0, 2.0, 0.2, 0.2]
    np.testing.assert_allclose(cos[5], np.cos(row_1_column_2))
    np.testing.assert_allclose(sin[5], np.sin(row_1_column_2))


@given(rows=sizes, columns=sizes, quarter=sizes, theta=st.floats(2.0, 1e4), first=st.booleans())
def test_axial_angles_agree_with_the_formula(rows, columns, quarter, theta, first):
    D = 4 * quarter
    for reference, scale in ((None, (1.0, 1.0)), (7, (7 / rows, 7 / columns))):
        found = rotary_axial(rows, columns, D, theta, reference, first)
        angles = axial_by_loops(rows, columns, D, theta, scale, first)
        np.testing.assert_allclose(found, (np.cos(angles), np.sin(angles)), atol=1e-12)


def test_rows_come_first_by_default():
    np.testing.assert_array_equal(
        rotary_axial(2, 3, 8, 10.0), rotary_axial(2, 3, 8, 10.0, None, columns_first=False)
    )


@pytest.mark.parametrize(("rows", "columns", "D"), [(1, 1, 4), (3, 5, 24), (14, 7, 64)])
def test_dinov3_angles_agree_with_the_formula_in_float32(rows, columns, D):
    f = np.float32
    cos, sin = rotary_dinov3(rows, columns, D, 100.0)
    assert cos.dtype == sin.dtype == np.float64
    for row, column in np.ndindex(rows, columns):
        positions = [
            f(f(row + 0.5) / f(rows)) * f(2) - f(1),
            f(f(column + 0.5) / f(columns)) * f(2) - f(1),
        ]
        for d in range(D):
            axis, i = divmod(d % (D // 2), D // 4)
            period = f(100.0 ** float(f(2 * i) / f(D // 2)))
            angle = 2 * math.pi * float(positions[axis]) / float(period)
            n = row * columns + column
            assert (cos[n, d], sin[n, d]) == pytest.approx(
                (math.cos(angle), math.sin(angle)), abs=1e-14
            )


def test_float32_is_kept_and_arguments_are_not_modified():
    x = draw(0, 1, 2, 5, 8).astype(np.float32)
    cos, sin = (one.astype(np.float32) for one in rotary_axial(2, 2, 8, 10.0))
    before = x.copy()
    y, cache = rotary_forward(x, cos, sin, False)
    assert y.dtype == rotary_backward(y, cache).dtype == np.float32
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("columns_first", [False, True])
@pytest.mark.parametrize("reference", [None, 16])
def test_timm_rotates_alike(reference, columns_first):
    torch = pytest.importorskip("torch")
    timm = pytest.importorskip("timm")
    sin, cos = timm.layers.build_rotary_pos_embed(
        [3, 5],
        dim=16,
        temperature=1000.0,
        in_pixels=False,
        ref_feat_shape=reference and [reference, reference],
        dtype=torch.float64,
    )
    if columns_first:
        sin, cos = (one.roll(8, -1) for one in (sin, cos))
    found = rotary_axial(3, 5, 16, 1000.0, reference, columns_first)
    assert relative_error(found[0], cos) <= 1e-6
    assert relative_error(found[1], sin) <= 1e-6
    x = draw(0, 2, 3, 15, 16)
    expected = timm.layers.apply_rot_embed(torch.from_numpy(x), sin, cos)
    assert relative_error(rotary_forward(x, *found, False)[0], expected) <= 1e-6


def test_timm_rotates_alike_for_dinov3():
    torch = pytest.importorskip("torch")
    timm = pytest.importorskip("timm")
    layer = timm.layers.RotaryEmbeddingDinoV3(16, temperature=100.0)
    sin, cos = layer.get_embed([3, 5]).chunk(2, -1)
    found = rotary_dinov3(3, 5, 16, 100.0)
    assert relative_error(found[0], cos) <= 1e-6
    assert relative_error(found[1], sin) <= 1e-6
    x = draw(0, 2, 3, 15, 16)
    expected = timm.layers.apply_rot_embed(torch.from_numpy(x), sin, cos, half=True)
    assert relative_error(rotary_forward(x, *found, True)[0], expected) <= 1e-6
