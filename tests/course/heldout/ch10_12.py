"""Held-out answers to chapters 10 to 12."""

import numpy as np

from heldout.collect import right, wrong

# 10.a: class_maps(probs, rows, columns)
right("10.a", lambda p, r, c: p[:, :, 0, 1:].reshape(p.shape[0], p.shape[1], r, c))
right(
    "10.a", lambda p, r, c: np.stack([p[:, :, 0, 1 + i * c : 1 + (i + 1) * c] for i in range(r)], 2)
)
wrong("10.a", "column|asks|row|attend", lambda p, r, c: p[:, :, 1:, 0].reshape(*p.shape[:2], r, c))
wrong(
    "10.a",
    "last|first number|class token|itself",
    lambda p, r, c: p[:, :, 0, :-1].reshape(*p.shape[:2], r, c),
)
wrong(
    "10.a",
    "transpos|columns|rows|reading",
    lambda p, r, c: p[:, :, 0, 1:].reshape(*p.shape[:2], c, r).swapaxes(2, 3),
)
wrong(
    "10.a", "shape|swapped|rows|columns", lambda p, r, c: p[:, :, 0, 1:].reshape(*p.shape[:2], c, r)
)
wrong("10.a", "patch|last|class token", lambda p, r, c: p[:, :, -1, 1:].reshape(*p.shape[:2], r, c))
wrong(
    "10.a",
    "mean|all|class token",
    lambda p, r, c: p[:, :, :, 1:].mean(2).reshape(*p.shape[:2], r, c),
)
wrong(
    "10.a",
    "class token|patch|first|row 1|row",
    lambda p, r, c: p[:, :, 1, 1:].reshape(*p.shape[:2], r, c),
)
wrong("10.a", "head|shape", lambda p, r, c: p[:, :, 0, 1:].mean(1).reshape(p.shape[0], r, c))
wrong(
    "10.a",
    "normal|divided|sum to|1|scale|largest",
    lambda p, r, c: (p[:, :, 0, 1:] / p[:, :, 0, 1:].sum(-1, keepdims=True)).reshape(
        *p.shape[:2], r, c
    ),
)

# 10.b: fuse_max(probs)
right("10.b", lambda p: p.max(1) / p.max(axis=1).sum(axis=-1)[..., None])
right("10.b", lambda p: np.maximum.reduce(p, 1) / np.maximum.reduce(p, 1).sum(2, keepdims=True))
wrong("10.b", "sum to|normal|divi", lambda p: p.max(axis=1))
wrong("10.b", "mean|max|largest", lambda p: p.mean(axis=1))
wrong("10.b", "column|axis|row", lambda p: p.max(1) / p.max(1).sum(1, keepdims=True))
wrong("10.b", "whole|all|map|row", lambda p: p.max(1) / p.max(1).sum((1, 2), keepdims=True))
wrong("10.b", "min|smallest", lambda p: p.min(1) / p.min(1).sum(-1, keepdims=True))
wrong("10.b", "batch|image|axis|shape", lambda p: p.max(0) / p.max(0).sum(-1, keepdims=True))
wrong("10.b", "softmax|exp", lambda p: np.exp(p.max(1)) / np.exp(p.max(1)).sum(-1, keepdims=True))
wrong("10.b", "heads|number of|H|sum to|normal", lambda p: p.max(1) / p.shape[1])

# 10.c: rollout(maps (L, N, H, T, T))


def _rollout(maps, identity=0.5, later_left=True, fuse=lambda a: a.mean(1), half=True):
    T = maps.shape[-1]
    out = np.eye(T)
    for layer in maps:
        a = identity * np.eye(T) + (1 - identity) * fuse(layer)
        out = a @ out if later_left else out @ a
    return out


right("10.c", lambda m: _rollout(m), lambda m: _rollout(m).astype(np.float64))
wrong("10.c", "identity|residual|half|I", lambda m: _rollout(m, identity=0.0))


def _not_halved(m):
    out = np.eye(m.shape[-1])
    for layer in m.mean(2):
        out = (layer + np.eye(m.shape[-1])) @ out
    return out


def _sum_of_layers(m):
    return (0.5 * m.mean(2) + 0.5 * np.eye(m.shape[-1])).sum(0)


def _last_only(m):
    return 0.5 * m[-1].mean(1) + 0.5 * np.eye(m.shape[-1])


def _elementwise(m):
    out = np.ones(m.shape[-2:])
    for layer in m.mean(2):
        out = (0.5 * layer + 0.5 * np.eye(m.shape[-1])) * out
    return out


def _skips_first(m):
    return _rollout(m[1:])


def _one_first(m):
    return _rollout(m) - np.eye(m.shape[-1])


def _heads_summed(m):
    out = np.eye(m.shape[-1])
    for layer in m:
        a = layer.sum(1) + np.eye(m.shape[-1])
        out = a / a.sum(-1, keepdims=True) @ out
    return out


wrong("10.c", "half|divi|sum to|2|factor", _not_halved)
wrong("10.c", "added|sum|product", _sum_of_layers)
wrong("10.c", "last", _last_only)
wrong("10.c", "number by number|element|\\*|product", _elementwise)
wrong("10.c", "first layer|left out|missing|one layer", _skips_first)
wrong("10.c", "identity|I", _one_first)
wrong("10.c", "sum|mean|heads", _heads_summed)
wrong("10.c", "transpos", lambda m: _rollout(m.swapaxes(-1, -2)))

# 10.d: dprobs(dout, probs, v)
right(
    "10.d",
    lambda d, p, v: np.einsum("bhid,bhjd->bhij", d, v),
    lambda d, p, v: d @ v.transpose(0, 1, 3, 2),
)
wrong("10.d", "transpos|swapped|v @|other way", lambda d, p, v: v @ d.swapaxes(-1, -2))
wrong(
    "10.d",
    "softmax|score",
    lambda d, p, v: (
        p * (d @ v.swapaxes(-1, -2) - (p * (d @ v.swapaxes(-1, -2))).sum(-1, keepdims=True))
    ),
)
wrong("10.d", "dv|values|of v|shape", lambda d, p, v: p.swapaxes(-1, -2) @ d)
wrong("10.d", "probs|times|multipl", lambda d, p, v: p * (d @ v.swapaxes(-1, -2)))
wrong("10.d", "√|root|scal|factor", lambda d, p, v: d @ v.swapaxes(-1, -2) / np.sqrt(v.shape[-1]))
wrong("10.d", "output|out\\b|dout|forward", lambda d, p, v: (p @ v) @ v.swapaxes(-1, -2))
wrong("10.d", "head|sum|mean|shape", lambda d, p, v: (d @ v.swapaxes(-1, -2)).mean(1))

# 10.e: relevance(maps, dmaps)


def _relevance(maps, dmaps, weigh):
    eye = np.eye(maps.shape[-1], dtype=maps.dtype)
    R = eye + np.zeros_like(maps[0, :, 0])
    for a, g in zip(maps, dmaps, strict=True):
        R = R + weigh(a, g) @ R
    return R - eye


def _weighted(a, g):
    return np.clip(a * g, 0, None).mean(1)


right("10.e", lambda m, d: _relevance(m, d, _weighted))
right(
    "10.e",
    lambda m, d: np.array(
        _relevance(m, d, lambda a, g: np.where(a * g > 0, a * g, 0).sum(1) / a.shape[1])
    ),
)
wrong(
    "10.e",
    "positive|negative|order|before|after|mean",
    lambda m, d: _relevance(m, d, lambda a, g: np.maximum((a * g).mean(1), 0)),
)
wrong(
    "10.e",
    "positive|negative|clip|zero",
    lambda m, d: _relevance(m, d, lambda a, g: (a * g).mean(1)),
)
wrong(
    "10.e",
    "absolute|positive|negative|size",
    lambda m, d: _relevance(m, d, lambda a, g: np.abs(a * g).mean(1)),
)
wrong(
    "10.e",
    "identity|I|taken away|subtract",
    lambda m, d: _relevance(m, d, _weighted) + np.eye(m.shape[-1]),
)
wrong(
    "10.e",
    "sum|mean|heads",
    lambda m, d: _relevance(m, d, lambda a, g: np.clip(a * g, 0, None).sum(1)),
)
wrong(
    "10.e",
    "map|gradient|weigh|product|alone",
    lambda m, d: _relevance(m, d, lambda a, g: np.clip(g, 0, None).mean(1)),
)
wrong("10.e", "order|left|first|last|revers", lambda m, d: _relevance(m[::-1], d[::-1], _weighted))
wrong(
    "10.e",
    "max|mean|heads",
    lambda m, d: _relevance(m, d, lambda a, g: np.clip(a * g, 0, None).max(1)),
)
wrong(
    "10.e",
    "mean|product|before|heads|separate",
    lambda m, d: _relevance(m, d, lambda a, g: np.clip(a.mean(1) * g.mean(1), 0, None)),
)


def _no_residual(maps, dmaps):
    R = np.eye(maps.shape[-1]) + np.zeros_like(maps[0, :, 0])
    for a, g in zip(maps, dmaps, strict=True):
        R = _weighted(a, g) @ R
    return R


def _sum_relevance(maps, dmaps):
    return sum(_weighted(a, g) for a, g in zip(maps, dmaps, strict=True))


wrong("10.e", "residual|identity|R|I|added", _no_residual)
wrong("10.e", "product|sum|R|layers", _sum_relevance)

# 11.a: cosines(x)


def _unit(x):
    return x / np.sqrt((x * x).sum(-1, keepdims=True))


right("11.a", lambda x: np.einsum("bsc,btc->bst", _unit(x), _unit(x)))
right(
    "11.a",
    lambda x: (
        (x @ x.swapaxes(1, 2))
        / (np.linalg.norm(x, axis=2)[:, :, None] * np.linalg.norm(x, axis=2)[:, None])
    ),
)
wrong("11.a", "length|norm|divi|dot products", lambda x: x @ x.transpose(0, 2, 1))
wrong(
    "11.a",
    "square|root",
    lambda x: x @ x.swapaxes(1, 2) / ((x * x).sum(-1)[:, :, None] * (x * x).sum(-1)[:, None]),
)
wrong("11.a", "one of|both|only|once", lambda x: _unit(x) @ x.swapaxes(1, 2))
wrong(
    "11.a",
    "axis|token|column|norm",
    lambda x: (
        (x / np.linalg.norm(x, axis=1, keepdims=True))
        @ (x / np.linalg.norm(x, axis=1, keepdims=True)).swapaxes(1, 2)
    ),
)
wrong(
    "11.a",
    "mean|centr|correlation",
    lambda x: (
        _unit(x - x.mean(-1, keepdims=True)) @ _unit(x - x.mean(-1, keepdims=True)).swapaxes(1, 2)
    ),
)
wrong(
    "11.a",
    "whole|all|each token|one length",
    lambda x: (x / np.linalg.norm(x)) @ (x / np.linalg.norm(x)).swapaxes(1, 2),
)
wrong("11.a", "1 ?[-−]|distance|1 minus", lambda x: 1 - _unit(x) @ _unit(x).swapaxes(1, 2))
wrong("11.a", "C|divi|number|length", lambda x: x @ x.swapaxes(1, 2) / x.shape[-1])
wrong(
    "11.a",
    "absolute|sum of|L1",
    lambda x: (
        (x / np.abs(x).sum(-1, keepdims=True))
        @ (x / np.abs(x).sum(-1, keepdims=True)).swapaxes(1, 2)
    ),
)

# 11.b: shares(points)


def _pca(points, center=True, power=2):
    a = points - points.mean(0) if center else points
    s = np.linalg.svd(a, compute_uv=False) ** power
    return s / s.sum()


def _eigh(points):
    values = np.linalg.eigvalsh(np.cov(points.T))[::-1]
    return values / values.sum()


right("11.b", lambda p: _pca(p), _eigh, lambda p: list(_pca(p)))
wrong("11.b", "square", lambda p: _pca(p, power=1))
wrong("11.b", "order|revers|smallest|largest", lambda p: _eigh(p)[::-1])
wrong(
    "11.b",
    "root|sum|1",
    lambda p: np.linalg.svd(p - p.mean(0), compute_uv=False) ** 2 / np.sum((p - p.mean()) ** 2),
)
wrong(
    "11.b", "divi|sum|share|variance", lambda p: np.linalg.svd(p - p.mean(0), compute_uv=False) ** 2
)
wrong("11.b", "divi|sum|share|variance", lambda p: np.linalg.eigvalsh(np.cov(p.T))[::-1])
wrong(
    "11.b",
    "column|coordinate|axis|axes|principal|direction",
    lambda p: np.sort(p.var(0))[::-1] / p.var(0).sum(),
)
wrong(
    "11.b",
    "axis|row|point|mean",
    lambda p: (lambda s: s / s.sum())(
        np.linalg.svd(p - p.mean(1, keepdims=True), compute_uv=False) ** 2
    ),
)
wrong("11.b", "cumul|added up", lambda p: np.cumsum(_pca(p)))
wrong(
    "11.b",
    "square|root|norm|length",
    lambda p: (lambda s: s / np.linalg.norm(s))(
        np.linalg.svd(p - p.mean(0), compute_uv=False) ** 2
    ),
)
wrong(
    "11.b",
    "standard|spread|z-score|divided|correlation",
    lambda p: _pca((p - p.mean(0)) / p.std(0)),
)
wrong(
    "11.b",
    "largest|sum",
    lambda p: (lambda s: s / s[0])(np.linalg.svd(p - p.mean(0), compute_uv=False) ** 2),
)

# 11.c: distance(probs, rows, columns, P)


def _grid(rows, columns, P, dist=None):
    y, x = np.mgrid[:rows, :columns].reshape(2, -1) * P
    dy, dx = y[:, None] - y, x[:, None] - x
    return np.sqrt(dy**2 + dx**2) if dist is None else dist(dy, dx)


def _attention_distance(probs, d, drop=True, normal=True, over=(0, 2)):
    a = probs[:, :, 1:, 1:] if drop else probs
    a = a / a.sum(-1, keepdims=True) if normal else a
    return (a * d).sum(-1).mean(over)


right("11.c", lambda p, r, c, P: _attention_distance(p, _grid(r, c, P)))
right(
    "11.c",
    lambda p, r, c, P: (
        _attention_distance(p, np.hypot(*_grid(r, c, 1, lambda a, b: np.stack([a, b])))) * P
    ),
)
wrong(
    "11.c",
    "sum to|divi|normal|class token|again",
    lambda p, r, c, P: _attention_distance(p, _grid(r, c, P), normal=False),
)
wrong("11.c", "pixel|P ", lambda p, r, c, P: _attention_distance(p, _grid(r, c, 1)))
wrong(
    "11.c",
    "root|square",
    lambda p, r, c, P: _attention_distance(p, _grid(r, c, P, lambda a, b: a**2 + b**2)),
)
wrong(
    "11.c",
    "Manhattan|sum of|abs|root",
    lambda p, r, c, P: _attention_distance(p, _grid(r, c, P, lambda a, b: np.abs(a) + np.abs(b))),
)
wrong(
    "11.c", "rows|columns|swapped|grid", lambda p, r, c, P: _attention_distance(p, _grid(c, r, P))
)
wrong(
    "11.c",
    "head|shape|all axes",
    lambda p, r, c, P: _attention_distance(p, _grid(r, c, P), over=(0, 1, 2)),
)
wrong(
    "11.c",
    "batch|shape|image|axis",
    lambda p, r, c, P: _attention_distance(p, _grid(r, c, P), over=2),
)
wrong("11.c", "sum|mean", lambda p, r, c, P: _attention_distance(p, _grid(r, c, P)) * r * c)
wrong(
    "11.c",
    "Chebyshev|larger|max|root",
    lambda p, r, c, P: _attention_distance(
        p, _grid(r, c, P, lambda a, b: np.maximum(np.abs(a), np.abs(b)))
    ),
)
wrong(
    "11.c",
    "last|class token|first",
    lambda p, r, c, P: (
        lambda a: (a / a.sum(-1, keepdims=True) * _grid(r, c, P)).sum(-1).mean((0, 2))
    )(p[:, :, :-1, :-1]),
)
wrong(
    "11.c",
    "class token|only|all",
    lambda p, r, c, P: (
        lambda a: (a / a.sum(-1, keepdims=True) * _grid(r, c, P)[0]).sum(-1).mean((0,))
    )(p[:, :, 0, 1:]),
)
wrong(
    "11.c",
    "transpos|column|asked|axis -2",
    lambda p, r, c, P: _attention_distance(p.swapaxes(-1, -2), _grid(r, c, P)),
)
wrong(
    "11.c",
    "column|row|one|only|direction|down",
    lambda p, r, c, P: _attention_distance(p, _grid(r, c, P, lambda a, b: np.abs(b) * 1.0)),
)

# 11.d: entropy(probs)


def _h(p, log=np.log2, axis=-1):
    safe = np.where(p > 0, p, 1)
    return -(p * log(safe)).sum(axis)


right("11.d", lambda p: _h(p), lambda p: _h(p, np.log) / np.log(2))
wrong("11.d", "bits|natural|log2|base", lambda p: _h(p, np.log))
wrong("11.d", "sign|minus|negative", lambda p: -_h(p))
wrong("11.d", "NaN|log.*0|0|left out", lambda p: -(p * np.log2(p)).sum(-1))
wrong("11.d", "mean|sum", lambda p: -(p * np.log2(np.where(p > 0, p, 1))).mean(-1))
wrong("11.d", "p|weight|share|times", lambda p: -np.log2(np.where(p > 0, p, 1)).sum(-1))
wrong("11.d", "1e-|added|small|exact|inexact|eps", lambda p: -(p * np.log2(p + 1e-3)).sum(-1))
wrong("11.d", "log10|base|bits|factor|0.30103", lambda p: _h(p, np.log10))
wrong("11.d", "2\\^|perplexity|power|exp", lambda p: 2 ** _h(p))

# 11.e: (0+16+32 + 16+0+16 + 32+16+0)/9 = 128/9 = 14.22
right("11.e", 128 / 9, 14.222)
wrong("11.e", "itself|six|nine|9", 128 / 6)
wrong("11.e", "pixel|patch|16", 8 / 9)
wrong("11.e", "middle|ends|only|first", 16.0)
wrong("11.e", "middle|only", 32 / 3)
wrong("11.e", "sum|mean|divi|9", 128)
wrong("11.e", "once|pairs|half|twice", 64 / 9)

# 12.a: energy(maps, masks)
right("12.a", lambda m, k: np.einsum("nhw,nhw->n", m, k) / m.sum((1, 2)))
right("12.a", lambda m, k: [a[b].sum() / a.sum() for a, b in zip(m, k, strict=True)])
wrong(
    "12.a",
    "mean|pixels|divi|sum",
    lambda m, k: np.array([a[b].mean() for a, b in zip(m, k, strict=True)]),
)
wrong("12.a", "outside|mask", lambda m, k: (m * ~k).sum((1, 2)) / m.sum((1, 2)))
wrong("12.a", "divi|whole|sum", lambda m, k: (m * k).sum((1, 2)))
wrong("12.a", "all images|own|each image|every", lambda m, k: (m * k).sum((1, 2)) / m.sum())
wrong("12.a", "mask|area|figure|size", lambda m, k: (m * k).sum((1, 2)) / k.sum((1, 2)))
wrong(
    "12.a",
    "shape|one number|mean|every image",
    lambda m, k: ((m * k).sum((1, 2)) / m.sum((1, 2))).mean(),
)
wrong("12.a", "outside|ratio|whole", lambda m, k: (m * k).sum((1, 2)) / (m * ~k).sum((1, 2)))
wrong("12.a", "largest|max|sum", lambda m, k: (m * k).sum((1, 2)) / m.max((1, 2)))
wrong("12.a", "square", lambda m, k: (m**2 * k).sum((1, 2)) / (m**2).sum((1, 2)))

# 12.b: iou(heat, mask, count)


def _top(heat, count):
    chosen = np.zeros(heat.size, bool)
    chosen[np.argsort(heat, axis=None)[::-1][:count]] = True
    return chosen.reshape(heat.shape)


def _iou(a, b):
    return (a & b).sum() / (a | b).sum()


right("12.b", lambda h, m, n: _iou(_top(h, n), m), lambda h, m, n: float(_iou(_top(h, n), m)))
right("12.b", lambda h, m, n: _iou(h >= np.sort(h.ravel())[-n], m))
wrong("12.b", "lowest|smallest|highest|sort|order", lambda h, m, n: _iou(_top(-h, n), m))
wrong("12.b", "union|count|\\||together|kept", lambda h, m, n: (_top(h, n) & m).sum() / n)
wrong("12.b", "union|mask|figure|recall", lambda h, m, n: (_top(h, n) & m).sum() / m.sum())
wrong("12.b", "Dice|twice|union|sum of", lambda h, m, n: 2 * (_top(h, n) & m).sum() / (n + m.sum()))
wrong(
    "12.b", "union|twice|both|counted|sum", lambda h, m, n: (_top(h, n) & m).sum() / (n + m.sum())
)
wrong("12.b", "pixels|all|union|size|mean", lambda h, m, n: (_top(h, n) & m).mean())
wrong(
    "12.b",
    ">|strict|one (pixel )?(less|too few|fewer)|count ?[-−] ?1|too small by 1",
    lambda h, m, n: _iou(h > np.sort(h.ravel())[-n], m),
)
wrong("12.b", "divi|union|count|share", lambda h, m, n: (_top(h, n) & m).sum())
wrong("12.b", "half|mean|threshold|count|highest", lambda h, m, n: _iou(h > h.mean(), m))
wrong(
    "12.b",
    "upside|swapped|union ?/|divided|invers",
    lambda h, m, n: (_top(h, n) | m).sum() / max(1, (_top(h, n) & m).sum()),
)

# 12.c: deletion(images, maps, count, P)


def _delete(images, maps, count, P, pick=lambda a, n: np.argsort(-a)[:n], value=0.0, keep=False):
    out = images.copy()
    columns = maps.shape[2]
    if keep:
        out[:] = 0
    for i, a in enumerate(maps):
        for n in pick(a.ravel(), count):
            r, c = (n // columns) * P, (n % columns) * P
            out[i, :, r : r + P, c : c + P] = images[i, :, r : r + P, c : c + P] if keep else value
    return out


def _kron(images, maps, count, P):
    order = np.argsort(np.argsort(-maps.reshape(len(maps), -1), axis=1), axis=1).reshape(maps.shape)
    kept = np.kron(order >= count, np.ones((P, P)))
    return images * kept[:, None]


def _rows_for_columns(images, maps, count, P):
    out = images.copy()
    rows = maps.shape[1]
    for i, a in enumerate(maps):
        for n in np.argsort(-a.ravel())[:count]:
            r, c = (n // rows) * P, (n % rows) * P
            out[i, :, r : r + P, c : c + P] = 0
    return out


def _pixels_only(images, maps, count, P):
    out = images.copy()
    for i, a in enumerate(maps):
        for n in np.argsort(-a.ravel())[:count]:
            out[i, :, n // maps.shape[2], n % maps.shape[2]] = 0
    return out


def _first_map_for_all(images, maps, count, P):
    return _delete(images, np.repeat(maps[:1], len(maps), 0), count, P)


def _one_channel(images, maps, count, P):
    out = images.copy()
    out[:, 0] = _delete(images, maps, count, P)[:, 0]
    return out


right("12.c", lambda *a: _delete(*a), _kron)
wrong(
    "12.c",
    "least|smallest|lowest|important",
    lambda im, m, n, P: _delete(im, m, n, P, lambda a, k: np.argsort(a)[:k]),
)
wrong("12.c", "kept|insert|only|instead|other", lambda im, m, n, P: _delete(im, m, n, P, keep=True))
wrong("12.c", "row|column", _rows_for_columns)
wrong("12.c", "P|pixel|patch", _pixels_only)
wrong("12.c", "first image|own|every|each|used for all", _first_map_for_all)
wrong("12.c", "channel", _one_channel)
wrong(
    "12.c", "one (patch )?(less|fewer|more|too)|count", lambda im, m, n, P: _delete(im, m, n + 1, P)
)
wrong(
    "12.c",
    "one (patch )?(less|fewer|more|too)|count|most important",
    lambda im, m, n, P: _delete(im, m, n, P, lambda a, k: np.argsort(-a)[1 : k + 1]),
)
wrong("12.c", "0|mean|grey", lambda im, m, n, P: _delete(im, m, n, P, value=im.mean()))
wrong("12.c", "0|1|white", lambda im, m, n, P: _delete(im, m, n, P, value=1.0))

# 12.d: rank_correlation(a, b)


def _ranks(a):
    return np.argsort(np.argsort(a.ravel()))


right("12.d", lambda a, b: np.corrcoef(_ranks(a), _ranks(b))[0, 1])


def _spearman(a, b):
    d = _ranks(a) - _ranks(b)
    n = a.size
    return 1 - 6 * (d**2).sum() / (n * (n**2 - 1))


right("12.d", _spearman)
wrong("12.d", "rank", lambda a, b: np.corrcoef(a.ravel(), b.ravel())[0, 1])
wrong(
    "12.d",
    "argsort|once|rank",
    lambda a, b: np.corrcoef(np.argsort(a.ravel()), np.argsort(b.ravel()))[0, 1],
)
wrong("12.d", "sign|revers|one of", lambda a, b: np.corrcoef(_ranks(-a), _ranks(b))[0, 1])
wrong(
    "12.d",
    "n²|n \\* |1 ?[-−]|n\\*\\*2|n³|formula|n",
    lambda a, b: 1 - 6 * ((_ranks(a) - _ranks(b)) ** 2).sum() / a.size**3,
)
wrong(
    "12.d",
    "mean|centr",
    lambda a, b: (
        (_ranks(a) * _ranks(b)).sum() / np.sqrt((_ranks(a) ** 2).sum() * (_ranks(b) ** 2).sum())
    ),
)
wrong(
    "12.d",
    "row|ravel|flat|axis|whole|rank",
    lambda a, b: np.corrcoef(a.argsort(-1).argsort(-1).ravel(), b.argsort(-1).argsort(-1).ravel())[
        0, 1
    ],
)
wrong("12.d", "square|r²|sign", lambda a, b: np.corrcoef(_ranks(a), _ranks(b))[0, 1] ** 2)
wrong("12.d", "cov|spread|standard|divi", lambda a, b: np.cov(_ranks(a), _ranks(b))[0, 1])
