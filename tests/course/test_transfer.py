"""Answers to the exercises beyond the chapters, in a different style from the registry's: right
answers, and wrong answers with the message that each must get."""

import math

import numpy as np
import pytest

from minivit import course
from minivit import functional as F


def softmax(z):
    e = np.exp(z - z.max(axis=-1)[..., None])
    return e / e.sum(axis=-1)[..., None]


def pooled(means, stds, sizes):
    """From the sums of the values and of their squares."""
    n = np.sum(sizes)
    mean = (sizes[:, None] * means).sum(0) / n
    squares = (sizes[:, None] * (stds**2 + means**2)).sum(0) / n
    return [mean, np.sqrt(np.maximum(squares - mean * mean, 0))]


def overlapping(images, P, S):
    H, W = images.shape[2:]
    patches = [
        images[:, :, i : i + P, j : j + P].transpose(0, 2, 3, 1).reshape(len(images), -1)
        for i in range(0, H - P + 1, S)
        for j in range(0, W - P + 1, S)
    ]
    return np.stack(patches, 1)


def overlapping_back(dpatches, shape, P, S, add=True):
    d = np.zeros(shape)
    n = 0
    for i in range(0, shape[2] - P + 1, S):
        for j in range(0, shape[3] - P + 1, S):
            part = dpatches[:, n].reshape(-1, P, P, shape[1]).transpose(0, 3, 1, 2)
            d[:, :, i : i + P, j : j + P] = part + add * d[:, :, i : i + P, j : j + P]
            n += 1
    return d


def registers(projected, cls_token, registers, pos_embed):
    B, R = len(projected), registers.shape[1]
    tokens = np.zeros((B, 1 + R + projected.shape[1], projected.shape[2]))
    tokens[:, 0] = cls_token[0, 0] + pos_embed[0, 0]
    tokens[:, 1 : R + 1] = registers
    tokens[:, R + 1 :] = projected + pos_embed[:, 1:]
    return tokens


def pool_back(d, T, prefix):
    weights = (np.arange(T) >= prefix) / (T - prefix)
    return np.einsum("bc,t->btc", d, weights)


def smoothed(z, y, eps):
    d = softmax(z)
    d -= eps / z.shape[1]
    d[np.arange(len(y)), y] -= 1 - eps
    return d / len(y)


def rms_back(dy, x, gamma, eps):
    s = np.mean(np.square(x), axis=-1, keepdims=True) + eps
    d = gamma * dy
    dx = d / np.sqrt(s) - x * np.mean(d * x, axis=-1, keepdims=True) / s**1.5
    return dx, np.einsum("btc,btc->c", dy, x / np.sqrt(s))


def biased(q, k, v, table, index):
    bias = np.take(table, index)
    p = softmax(np.einsum("btd,bsd->bts", q, k) / math.sqrt(q.shape[-1]) + bias)
    return np.einsum("bts,bsd->btd", p, v), p


def table_back(dscores, index, R):
    return np.array([dscores[:, index == r].sum() for r in range(R)])


def grouped(q, k, v):
    B, H, T, D = q.shape
    G = k.shape[1]
    p = softmax(np.einsum("bgntd,bgsd->bgnts", q.reshape(B, G, H // G, T, D), k) / math.sqrt(D))
    return np.einsum("bgnts,bgsd->bgntd", p, v).reshape(B, H, T, D)


def group_back(dk, G):
    return np.stack([part.sum(1) for part in np.split(dk, G, axis=1)], 1)


def post_back(dy, norm1, attn, norm2, mlp):
    a = norm2(dy)
    b = norm1(np.add(a, mlp(a)))
    return np.add(b, attn(b))


def scale_back(dy, h, scale, branch):
    dx = branch(dy * scale)
    return dx + dy, np.einsum("btc,btc->c", dy, h)


def lion(theta, grad, m, lr, betas, weight_decay):
    step = np.sign(m + (1 - betas[0]) * (grad - m)) + weight_decay * theta
    return theta - lr * step, m + (1 - betas[1]) * (grad - m)


def low_rank(matrix, D):
    """By the eigenvectors of matrix·matrixᵀ, onto the D largest of which it is projected."""
    _, vectors = np.linalg.eigh(matrix @ matrix.T)
    return vectors[:, -D:] @ vectors[:, -D:].T @ matrix


RIGHT = {
    "00.d": pooled, "01.e": overlapping, "01.f": overlapping_back, "02.e": registers,
    "02.f": pool_back, "03.g": smoothed, "04.d": rms_back, "05.e": biased, "05.f": table_back,
    "06.f": grouped, "06.g": group_back, "06.h": low_rank, "07.h": post_back, "07.i": scale_back,
    "08.g": lion,
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(RIGHT))
def test_a_right_answer_in_another_style_passes(name):
    verdict = course.check(name, RIGHT[name])
    assert verdict, verdict


WRONG = [
    ("00.d", lambda m, s, n: (m.T @ n / n.sum(), s.T @ n / n.sum()), "averaged"),
    ("00.d", lambda m, s, n: (m.mean(0), pooled(m, s, n)[1]), "alike|mean"),
    ("01.e", lambda x, P, S: F.patchify_forward(
        x[..., : x.shape[2] // P * P, : x.shape[3] // P * P], P)[0], "side by side|overlap"),
    ("01.e", lambda x, P, S: overlapping(x, P, S).reshape(len(x), -1, P, P, x.shape[1])
     .transpose(0, 1, 4, 2, 3).reshape(len(x), -1, P * P * x.shape[1]), "channels come first"),
    ("01.f", lambda d, shape, P, S: overlapping_back(d, shape, P, S, add=False), "overwrote"),
    ("02.e", lambda p, c, r, e: np.concatenate(
        [np.repeat(c + e[:, :1], len(p), 0), p + e[:, 1:], np.repeat(r, len(p), 0)], 1),
     "after the patches"),
    ("02.f", lambda d, T, prefix: np.broadcast_to(d[:, None] / T, (len(d), T, d.shape[1])).copy(),
     "all T tokens"),
    ("02.f", lambda d, T, prefix: pool_back(d, T, prefix) * (T - prefix), "whole gradient"),
    ("03.g", lambda z, y, e: smoothed(z, y, 0), "not smoothed"),
    ("03.g", lambda z, y, e: len(y) * smoothed(z, y, e), "division by"),
    ("03.g", lambda z, y, e: -smoothed(z, y, e), "sign"),
    ("04.d", lambda dy, x, g, e: (
        rms_back(dy, x, g, e)[0] - (rms_back(dy, x, g, e)[0]).mean(-1, keepdims=True),
        rms_back(dy, x, g, e)[1]), "LayerNorm|off"),
    ("04.d", lambda dy, x, g, e: rms_back(dy, x, np.ones_like(g), e), "gamma"),
    ("04.d", lambda dy, x, g, e: (rms_back(dy, x, g, e)[0], (g * dy).sum((0, 1))), "x"),
    ("05.e", lambda q, k, v, t, i: biased(q, k, v, 0 * t, i), "bias is missing"),
    ("05.e", lambda q, k, v, t, i: biased(q, k, v, t, i.T), "transposed"),
    ("05.f", lambda d, i, R: table_back(d.swapaxes(1, 2), i, R), "transposed"),
    ("06.f", lambda q, k, v: grouped(q, k, k), "`k` was used instead of `v`"),
    ("06.g", lambda d, G: d.reshape(len(d), -1, G, *d.shape[2:]).sum(1), "alternately"),
    ("06.g", lambda d, G: d.reshape(len(d), G, -1, *d.shape[2:]).mean(2), "averaged"),
    ("06.h", lambda m, D: np.linalg.svd(m)[0][:, -D:] @ np.linalg.svd(m)[0][:, -D:].T @ m,
     "smallest"),
    ("06.h", lambda m, D: np.linalg.svd(m)[0][:, :D] @ np.linalg.svd(m)[2][:D], "missing"),
    ("07.h", lambda dy, n1, a, n2, m: post_back(dy, n2, a, n1, m), "swapped"),
    ("07.i", lambda dy, h, s, f: (dy + f(dy), scale_back(dy, h, s, f)[1]), "given dy"),
    ("07.i", lambda dy, h, s, f: (scale_back(dy, h, s, f)[0], (dy * h).sum(1)), "shape|axis"),
    ("08.g", lambda th, g, m, lr, b, wd: lion(th, g, m, lr, b[::-1], wd), "other's place|swapped"),
    ("08.g", lambda th, g, m, lr, b, wd: lion(th, g, m, lr, b, -wd), "sign"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "answer", "words"), WRONG)
def test_a_wrong_answer_is_named(name, answer, words):
    verdict = course.check(name, answer)
    assert not verdict
    assert any(word in verdict.words for word in words.split("|")), verdict
