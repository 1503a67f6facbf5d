"""The right answers for the exercises that go beyond their chapter: see `minivit.course.right`."""

import math

import numpy as np

from minivit.course.right import _t, attention, softmax


def pooled(means, stds, sizes):
    weights = sizes / sizes.sum()
    mean = weights @ means
    variance = weights @ (stds**2 + (means - mean) ** 2)
    return mean, np.sqrt(variance)


def overlapping(images, P, S):
    B, C = images.shape[:2]
    windows = np.lib.stride_tricks.sliding_window_view(images, (P, P), (2, 3))
    windows = windows[:, :, ::S, ::S]
    return windows.transpose(0, 2, 3, 4, 5, 1).reshape(B, -1, P * P * C)


def overlapping_backward(dpatches, shape, P, S):
    B, C, H, W = shape
    rows, columns = (H - P) // S + 1, (W - P) // S + 1
    grid = dpatches.reshape(B, rows, columns, P, P, C).transpose(0, 5, 1, 2, 3, 4)
    dimages = np.zeros(shape, dpatches.dtype)
    for row, column in np.ndindex(rows, columns):
        top, left = row * S, column * S
        dimages[:, :, top : top + P, left : left + P] += grid[:, :, row, column]
    return dimages


def with_registers(projected, cls_token, registers, pos_embed):
    zeros = np.zeros_like(projected[:, :1])
    first = cls_token + pos_embed[:, :1] + zeros
    patches = projected + pos_embed[:, 1:]
    return np.concatenate([first, registers + zeros, patches], 1)


def mean_pool_backward(dpooled, T, prefix):
    dx = np.zeros((len(dpooled), T, dpooled.shape[-1]), dpooled.dtype)
    dx[:, prefix:] = dpooled[:, None] / (T - prefix)
    return dx


def smoothed_gradient(logits, labels, smoothing):
    B, K = logits.shape
    one_hot = np.eye(K, dtype=logits.dtype)[labels]
    targets = (1 - smoothing) * one_hot + smoothing / K
    return (softmax(logits) - targets) / B


def rmsnorm(x, gamma, eps):
    return gamma * x / np.sqrt((x**2).mean(-1, keepdims=True) + eps)


def rmsnorm_backward(dy, x, gamma, eps):
    rstd = 1 / np.sqrt((x**2).mean(-1, keepdims=True) + eps)
    xhat, dxhat = x * rstd, gamma * dy
    along = (dxhat * xhat).mean(-1, keepdims=True)
    dx = rstd * (dxhat - xhat * along)
    return dx, (dy * xhat).sum((0, 1))


def biased_attention(q, k, v, table, index):
    scores = q @ _t(k) / math.sqrt(q.shape[-1]) + table[index]
    probs = softmax(scores)
    return probs @ v, probs


def table_backward(dscores, index, R):
    dtable = np.zeros(R, dscores.dtype)
    np.add.at(dtable, index, dscores.sum(0))
    return dtable


def grouped_attention(q, k, v):
    repeats = q.shape[1] // k.shape[1]
    heads, _ = attention(q, k.repeat(repeats, 1), v.repeat(repeats, 1))
    return heads


def group_backward(dk, G):
    B, H, T, D = dk.shape
    return dk.reshape(B, G, H // G, T, D).sum(2)


def low_rank(matrix, D):
    left, values, right = np.linalg.svd(matrix)
    return left[:, :D] * values[:D] @ right[:D]


def post_block_backward(dy, norm1, attn, norm2, mlp):
    dsum = norm2(dy)
    dmiddle = norm1(dsum + mlp(dsum))
    return dmiddle + attn(dmiddle)


def layerscale_backward(dy, h, scale, branch):
    return dy + branch(scale * dy), (dy * h).sum((0, 1))


def lion(theta, grad, m, lr, betas, weight_decay):
    beta1, beta2 = betas
    direction = np.sign(beta1 * m + (1 - beta1) * grad)
    new_m = beta2 * m + (1 - beta2) * grad
    return theta * (1 - lr * weight_decay) - lr * direction, new_m
