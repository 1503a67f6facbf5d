"""The right answers for chapters 00 to 08, in plain NumPy, as a reader would write them.

Their source is analyzed, too: `minivit.course.slips` makes small changes to it and runs the changed
functions. `tests/course/test_right.py` compares them with minivit's own functions.
"""

import math

import numpy as np

from minivit.functional.gelu import erf


def _t(a):
    return a.swapaxes(-1, -2)


def softmax(scores):
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def gray(images, weights):
    return (images * weights[:, None, None]).sum(1)


def normalize(images, mean, std):
    mean, std = mean[:, None, None], std[:, None, None]
    return (images / 255 - mean) / std


def patchify(images, P):
    B, C, H, W = images.shape
    grid = images.reshape(B, C, H // P, P, W // P, P)
    return grid.transpose(0, 2, 4, 3, 5, 1).reshape(B, -1, P * P * C)


def patchify_backward(dpatches, shape, P):
    B, C, H, W = shape
    grid = dpatches.reshape(B, H // P, W // P, P, P, C)
    return grid.transpose(0, 5, 1, 3, 2, 4).reshape(shape)


def shuffle_backward(dshuffled, order):
    return dshuffled[:, np.argsort(order)]


def embed(patches, weight, bias, cls_token, pos_embed):
    projected = patches @ weight + bias
    first = cls_token + np.zeros_like(projected[:, :1])
    return np.concatenate([first, projected], 1) + pos_embed


def embed_backward(dout):
    dpos_embed = dout.sum(0, keepdims=True)
    dcls_token = dout[:, :1].sum(0, keepdims=True)
    return dout[:, 1:], dcls_token, dpos_embed


def sincos(x, y, omega):
    column, row = x[:, None] * omega, y[:, None] * omega
    return np.concatenate([np.sin(column), np.cos(column), np.sin(row), np.cos(row)], -1)


def linear_backward(dy, x, weight):
    rows, drows = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
    return dy @ weight.T, rows.T @ drows, dy.sum((0, 1))


def softmax_backward(dprobs, probs):
    return probs * (dprobs - (dprobs * probs).sum(-1, keepdims=True))


def cross_entropy_gradient(logits, labels):
    B, K = logits.shape
    targets = np.eye(K, dtype=logits.dtype)[labels]
    return (softmax(logits) - targets) / B


def residual_backward(dy, x, weight, bias):
    tanh = np.tanh(x @ weight + bias)
    ds = dy * (1 - tanh**2)
    return dy + ds @ weight.T, x.T @ ds, ds.sum(0)


def layernorm(x, gamma, beta, eps):
    mean = x.mean(-1, keepdims=True)
    variance = x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + eps) * gamma + beta


def layernorm_backward(dy, xhat, rstd, gamma):
    dxhat = gamma * dy
    mean, along = dxhat.mean(-1, keepdims=True), (dxhat * xhat).mean(-1, keepdims=True)
    dx = rstd * (dxhat - mean - xhat * along)
    return dx, (dy * xhat).sum((0, 1)), dy.sum((0, 1))


def gelu_backward(dy, x):
    cdf = 0.5 * (1 + erf(x / math.sqrt(2)))
    density = np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    return dy * (cdf + x * density)


def attention(q, k, v):
    scores = q @ _t(k) / math.sqrt(q.shape[-1])
    probs = softmax(scores)
    return probs @ v, probs


def attention_backward(dout, q, k, v, probs):
    dprobs = dout @ _t(v)
    dscores = softmax_backward(dprobs, probs) / math.sqrt(q.shape[-1])
    return dscores @ k, _t(dscores) @ q, _t(probs) @ dout


def split_heads(qkv, num_heads):
    B, T, columns = qkv.shape
    cut = qkv.reshape(B, T, 3, num_heads, columns // 3 // num_heads)
    q, k, v = cut.transpose(2, 0, 3, 1, 4)
    return q, k, v


def merge_heads(heads):
    B, H, T, D = heads.shape
    return heads.transpose(0, 2, 1, 3).reshape(B, T, H * D)


def qkv_backward(dq, dk, dv, x, qkv_weight):
    dqkv = np.concatenate([merge_heads(dq), merge_heads(dk), merge_heads(dv)], -1)
    return linear_backward(dqkv, x, qkv_weight)


def gelu(x):
    return 0.5 * x * (1 + erf(x / math.sqrt(2)))


def mlp_half(x, gamma, beta, w1, b1, w2, b2):
    normed = layernorm(x, gamma, beta, 1e-6)
    hidden = gelu(normed @ w1 + b1)
    return x + (hidden @ w2 + b2)


def block_backward(dy, norm1, attn, norm2, mlp):
    dx = dy + norm2(mlp(dy))
    return dx + norm1(attn(dx))


def count(image_size, patch_size, num_classes, dim, depth, hidden):
    patches = (image_size // patch_size) ** 2
    projection = 3 * patch_size**2 * dim + dim
    positions = dim + (patches + 1) * dim
    qkv = 3 * dim * dim + 3 * dim
    attention = qkv + dim * dim + dim
    mlp = dim * hidden + hidden + hidden * dim + dim
    blocks = depth * (attention + mlp + 4 * dim)
    last_norm = 2 * dim
    head = dim * num_classes + num_classes
    return projection + positions + blocks + last_norm + head


def sgd(theta, grad, velocity, lr, momentum):
    new_velocity = momentum * velocity + grad
    return theta - lr * new_velocity, new_velocity


def adam(theta, grad, m, v, t, lr, betas, eps):
    beta1, beta2 = betas
    new_m = beta1 * m + (1 - beta1) * grad
    new_v = beta2 * v + (1 - beta2) * grad**2
    corrected_m = new_m / (1 - beta1**t)
    corrected_v = new_v / (1 - beta2**t)
    return theta - lr * corrected_m / (np.sqrt(corrected_v) + eps), new_m, new_v


def adamw(theta, grad, m, v, t, lr, betas, eps, weight_decay):
    return adam(theta * (1 - lr * weight_decay), grad, m, v, t, lr, betas, eps)


def cosine_rate(step, peak, warmup, total, final):
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = min((step - warmup) / (total - warmup), 1)
    return final + (peak - final) * (1 + math.cos(math.pi * progress)) / 2


def clip(dweight, dbias, max_norm):
    norm = math.sqrt((dweight**2).sum() + (dbias**2).sum())
    scale = min(max_norm / norm, 1)
    return dweight * scale, dbias * scale
