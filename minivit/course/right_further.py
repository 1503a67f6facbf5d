"""The right answers for chapters 09 to 17, in plain NumPy: see `minivit.course.right`."""

import numpy as np


def combine(gradients, losses, sizes):
    weights = (sizes / sizes.sum()).astype(gradients.dtype)
    return np.tensordot(weights, gradients, 1), weights @ losses


def normalize(training, others):
    mean = training.mean((0, 2, 3), keepdims=True)
    std = training.std((0, 2, 3), keepdims=True)
    return (others - mean) / std


def class_maps(probs, rows, columns):
    class_rows = probs[:, :, 0, 1:]
    return class_rows.reshape(*probs.shape[:2], rows, columns)


def fuse_max(probs):
    fused = probs.max(1)
    return fused / fused.sum(-1, keepdims=True)


def rollout(maps):
    identity = np.eye(maps.shape[-1], dtype=maps.dtype)
    steps = 0.5 * maps.mean(2) + 0.5 * identity
    total = steps[0]
    for step in steps[1:]:
        total = step @ total
    return total


def dprobs(dout, probs, v):
    return dout @ v.swapaxes(-1, -2)


def relevance(maps, dmaps):
    identity = np.eye(maps.shape[-1], dtype=maps.dtype)
    weighted = np.maximum(maps * dmaps, 0).mean(2)
    total = identity + np.zeros_like(weighted[0])
    for layer in weighted:
        total = total + layer @ total
    return total - identity


def cosines(x):
    lengths = np.sqrt((x * x).sum(-1, keepdims=True))
    unit = x / lengths
    return unit @ unit.swapaxes(-1, -2)


def explained_variance_ratio(points):
    centered = points - points.mean(0)
    variances = np.linalg.svd(centered, compute_uv=False) ** 2
    return variances / variances.sum()


def distance(probs, rows, columns, P):
    row, column = np.divmod(np.arange(rows * columns), columns)
    down, across = row[:, None] - row, column[:, None] - column
    distances = (P * np.sqrt(down**2 + across**2)).astype(probs.dtype)
    patches = probs[:, :, 1:, 1:]
    patches = patches / patches.sum(-1, keepdims=True)
    return (patches * distances).sum(-1).mean((0, 2))


def entropy(probs):
    logarithms = np.log2(np.where(probs > 0, probs, 1))
    return -(probs * logarithms).sum(-1)


def energy(maps, masks):
    return (maps * masks).sum((1, 2)) / maps.sum((1, 2))


def iou(heat, mask, count):
    top = np.zeros(heat.size, bool)
    top[np.argsort(-heat.ravel())[:count]] = True
    top = top.reshape(heat.shape)
    return (top & mask).sum() / (top | mask).sum()


def deletion(images, maps, count, P):
    columns = maps.shape[2]
    result = images.copy()
    for i in range(len(maps)):
        for n in np.argsort(-maps[i].ravel())[:count]:
            row, column = n // columns, n % columns
            result[i, :, row * P : (row + 1) * P, column * P : (column + 1) * P] = 0
    return result


def rank_correlation(a, b):
    x, y = np.argsort(np.argsort(a.ravel())), np.argsort(np.argsort(b.ravel()))
    x, y = x - x.mean(), y - y.mean()
    return (x * y).sum() / np.sqrt((x * x).sum() * (y * y).sum())


def colors(pixels, P):
    B, C, H, W = pixels.shape
    means = pixels.reshape(B, C, H // P, P, W // P, P).mean((3, 5)).reshape(B, C, -1)
    steps = np.minimum((8 * means).astype(int), 7)
    return 64 * steps[:, 0] + 8 * steps[:, 1] + steps[:, 2]


def corrupt_backward(dy, selection, masked):
    dx = selection.swapaxes(1, 2) @ dy
    return dx, (masked[:, :, None] * dy).sum((0, 1), keepdims=True)


def take_backward(dy, rows, T):
    dx = np.zeros((len(dy), T, dy.shape[-1]), dy.dtype)
    dx[np.arange(len(dy))[:, None], rows] = dy
    return dx


def linear(x, new):
    old = len(x)
    position = (np.arange(new) + 0.5) * old / new - 0.5
    position = np.minimum(np.maximum(position, 0), old - 1)
    left = np.floor(position).astype(int)
    right = np.minimum(left + 1, old - 1)
    fraction = (position - left).astype(x.dtype)[:, None]
    return (1 - fraction) * x[left] + fraction * x[right]


def positions(pos_embed, old, rows, columns):
    C = pos_embed.shape[-1]
    grid = pos_embed[0, 1:].reshape(*old, C)
    new = np.einsum("ik,klc,jl->ijc", rows.astype(grid.dtype), grid, columns.astype(grid.dtype))
    return np.concatenate([pos_embed[:, :1], new.reshape(1, -1, C)], 1)


def interpolate_backward(dy, rows, columns):
    rows, columns = rows.astype(dy.dtype), columns.astype(dy.dtype)
    return np.einsum("ijc,ik,jl->klc", dy, rows, columns)


def ridge(x, y, lam):
    identity = np.eye(x.shape[1], dtype=x.dtype)
    return np.linalg.solve(x.T @ x + lam * identity, x.T @ y)


def output_size(height, width, kernel, stride, padding):
    rows = (height + 2 * padding - kernel) // stride + 1
    columns = (width + 2 * padding - kernel) // stride + 1
    return rows, columns


def conv2d_backward(dy, x, weight):
    rows, columns = dy.shape[1:3]
    dx, dweight = np.zeros_like(x), np.zeros_like(weight)
    for i, j in np.ndindex(weight.shape[:2]):
        dx[:, i : i + rows, j : j + columns] += dy @ weight[i, j].T
        part = x[:, i : i + rows, j : j + columns].reshape(-1, x.shape[-1])
        dweight[i, j] = part.T @ dy.reshape(-1, dy.shape[-1])
    return dx, dweight


def standardize(weight, eps):
    mean = weight.mean((0, 1, 2), keepdims=True)
    variance = weight.var((0, 1, 2), keepdims=True)
    return (weight - mean) / np.sqrt(variance + eps)


def intensity(rows, fan_in, fan_out, size):
    flops = 2 * rows * fan_in * fan_out + rows * fan_out
    numbers = rows * fan_in + fan_in * fan_out + fan_out + rows * fan_out
    return flops / (numbers * size)


def time(flops, moved, peak, bandwidth, launch):
    seconds = launch + np.maximum(flops / peak, moved / bandwidth)
    return seconds.sum()


def first_component(tokens, rows, columns):
    centered = tokens - tokens.mean(0)
    _, _, directions = np.linalg.svd(centered, full_matrices=False)
    projected = (centered @ directions[0]).reshape(rows, columns)
    border = np.concatenate([projected[0], projected[-1], projected[:, 0], projected[:, -1]])
    return -projected if border.mean() > 0 else projected


def nearest(features, labels, queries):
    unit_features = features / np.linalg.norm(features, axis=1, keepdims=True)
    unit_queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    cosines = unit_queries @ unit_features.T
    return labels[cosines.argmax(1)]
