"""Held-out answers to chapters 13 to 16."""

import numpy as np

from heldout.collect import right, wrong

# 13.a: 64 · 0.5 · 0.8 = 25.6
right("13.a", 25.6, 64 * 0.5 * 0.8)
wrong("13.a", "all|half|corrupted", 51.2)
wrong("13.a", "80|all|corrupted|swapped", 32)
wrong("13.a", "10|swapped|kept|replaced", 3.2)
wrong("13.a", "swapped|10|kept|not", 28.8)
wrong("13.a", "exact|round|average|25.6|not right", 26, 25)
wrong("13.a", "share|patches|64|how many", 0.4)
wrong("13.a", "not|without|other", 38.4)

# 13.b: colours(pixels, P) -> 512 classes of the mean colour


def _means(x, P):
    B, C, H, W = x.shape
    return x.reshape(B, C, H // P, P, W // P, P).mean((3, 5)).reshape(B, C, -1)


def _pack(bins, weights=(64, 8, 1)):
    return sum(w * bins[:, c] for c, w in enumerate(weights)).astype(int)


def _bins(m):
    return np.minimum((m * 8).astype(int), 7)


def _looped(x, P):
    B, _C, H, W = x.shape
    out = np.zeros((B, (H // P) * (W // P)), int)
    for b in range(B):
        n = 0
        for i in range(0, H, P):
            for j in range(0, W, P):
                r, g, bl = (min(int(8 * x[b, c, i : i + P, j : j + P].mean()), 7) for c in range(3))
                out[b, n] = 64 * r + 8 * g + bl
                n += 1
    return out


right("13.b", lambda x, P: _pack(_bins(_means(x, P))))
right(
    "13.b", lambda x, P: np.ravel_multi_index(tuple(_bins(_means(x, P)).swapaxes(0, 1)), (8, 8, 8))
)
wrong("13.b", "loop", _looped)
wrong("13.b", "order|red|blue|channel", lambda x, P: _pack(_bins(_means(x, P)), (1, 8, 64)))
wrong(
    "13.b",
    "7|8|white|1\\.0|clip|largest|minimum",
    lambda x, P: _pack((_means(x, P) * 8).astype(int)),
)
wrong("13.b", "round", lambda x, P: _pack(np.minimum(np.round(_means(x, P) * 8), 7)))
wrong("13.b", "round|7", lambda x, P: _pack(np.round(_means(x, P) * 7)))
wrong("13.b", "7|8", lambda x, P: _pack((_means(x, P) * 7).astype(int)))
wrong(
    "13.b",
    "mean|before|after|first",
    lambda x, P: _pack(_means(_bins(x).astype(float), P).astype(int)),
)
wrong("13.b", "16|256|8", lambda x, P: _pack(_bins(_means(x, P)), (256, 16, 1)))
wrong(
    "13.b",
    "order|reading|column|transposed",
    lambda x, P: _pack(_bins(_means(x.swapaxes(2, 3), P))),
)
wrong("13.b", "sum|mean", lambda x, P: _pack(_bins(_means(x, P) * P * P)))
wrong("13.b", "channel|grey|mean", lambda x, P: _bins(_means(x, P).mean(1)))
wrong(
    "13.b", "reshape|patch", lambda x, P: _pack(_bins(x.reshape(*x.shape[:2], -1, P * P).mean(-1)))
)
wrong("13.b", "64|8|added|sum", lambda x, P: _bins(_means(x, P)).sum(1))

# 13.c: corrupt_backward(dy, selection, masked): y = Sx + m e
right(
    "13.c",
    lambda dy, s, m: (np.einsum("bnk,bnc->bkc", s, dy), np.einsum("bn,bnc->c", m, dy)[None, None]),
)
right(
    "13.c", lambda dy, s, m: (s.swapaxes(1, 2) @ dy, (dy * m[..., None]).sum((0, 1), keepdims=True))
)
wrong("13.c", "transpos", lambda dy, s, m: (s @ dy, (dy * m[..., None]).sum((0, 1), keepdims=True)))
wrong("13.c", "mask", lambda dy, s, m: (s.swapaxes(1, 2) @ dy, dy.sum((0, 1), keepdims=True)))
wrong(
    "13.c",
    "mean|divi|averaged",
    lambda dy, s, m: (s.swapaxes(1, 2) @ dy, (dy * m[..., None]).mean((0, 1), keepdims=True)),
)
wrong(
    "13.c",
    "mean|divi|averaged",
    lambda dy, s, m: (
        s.swapaxes(1, 2) @ dy,
        (dy * m[..., None]).sum((0, 1), keepdims=True) / m.sum(),
    ),
)
wrong(
    "13.c",
    "sum|shape|batch",
    lambda dy, s, m: (s.swapaxes(1, 2) @ dy, (dy * m[..., None]).sum(1, keepdims=True)),
)
wrong(
    "13.c",
    "selection|swapped|mask|S",
    lambda dy, s, m: (dy * (1 - m[..., None]), (dy * m[..., None]).sum((0, 1), keepdims=True)),
)
wrong(
    "13.c",
    "unchanged|dy|selection|as it",
    lambda dy, s, m: (dy, (dy * m[..., None]).sum((0, 1), keepdims=True)),
)
wrong(
    "13.c",
    "1 ?[-−]|not|other|invert|turned",
    lambda dy, s, m: (s.swapaxes(1, 2) @ dy, (dy * (1 - m)[..., None]).sum((0, 1), keepdims=True)),
)
wrong(
    "13.c",
    "shape|keepdims",
    lambda dy, s, m: (s.swapaxes(1, 2) @ dy, (dy * m[..., None]).sum((0, 1))),
)
wrong(
    "13.c",
    "dx|after|from",
    lambda dy, s, m: (lambda dx: (dx, (dx * m[..., None]).sum((0, 1), keepdims=True)))(
        s.swapaxes(1, 2) @ dy
    ),
)

# 13.d: take_backward(dy, rows, T)


def _put(dy, rows, T):
    out = np.zeros((dy.shape[0], T, dy.shape[2]), dy.dtype)
    np.put_along_axis(out, rows[..., None], dy, axis=1)
    return out


right("13.d", _put, lambda dy, r, T: np.einsum("bmt,bmc->btc", np.eye(T)[r], dy))


def _take_again(dy, rows, T):
    return np.take_along_axis(
        np.pad(dy, ((0, 0), (0, T - dy.shape[1]), (0, 0))),
        np.pad(rows, ((0, 0), (0, T - rows.shape[1])))[..., None],
        axis=1,
    )


def _in_order(dy, rows, T):
    return _put(dy, np.sort(rows, 1), T)


def _first_image(dy, rows, T):
    return _put(dy, np.repeat(rows[:1], len(rows), 0), T)


def _padded(dy, rows, T):
    return np.pad(dy, ((0, 0), (0, T - dy.shape[1]), (0, 0)))


def _all_batches(dy, rows, T):
    out = np.zeros((dy.shape[0], T, dy.shape[2]), dy.dtype)
    for b in range(len(dy)):
        out[:, rows[b]] = dy[b]
    return out


wrong("13.d", "sort|order", _in_order)
wrong("13.d", "first places|front|rows|start|order|first M places", _padded)
wrong("13.d", "every image|all images|:, rows|each image|batch|own", _all_batches)
wrong("13.d", "gather|take|again|forward", _take_again)
wrong("13.d", "mean|divi|M", lambda dy, r, T: _put(dy, r, T) / r.shape[1])
wrong("13.d", "revers|order", lambda dy, r, T: _put(dy, r[:, ::-1], T))
wrong("13.d", "ones|1|zero|empty", lambda dy, r, T: _put(dy - 1, r, T) + 1)

# 14.a: (144 - 64) · 96 = 7680
right("14.a", 7680, 80 * 96)
wrong("14.a", "all|new|before|old|grow", 144 * 96, 145 * 96)
wrong("14.a", "width|96|places|numbers", 80)
wrong("14.a", "class token", 81 * 96)
wrong("14.a", "side|square|4|2", 16 * 96, 4 * 96)
wrong("14.a", "projection|weight|pixel|patch", 80 * 48)
wrong("14.a", "pixel|patch", (48 * 48 - 32 * 32) * 96)

# 14.b: linear(x (old, C), new) -> (new, C)


def _interp(x, new, center=True, clip=True, nearest=False):
    old = len(x)
    at = (np.arange(new) + 0.5) * old / new - 0.5 if center else np.arange(new) * old / new
    if clip:
        at = np.clip(at, 0, old - 1)
    if nearest:
        return x[np.clip(np.round(at).astype(int), 0, old - 1)]
    lo = np.floor(at).astype(int)
    f = (at - lo)[:, None]
    return (1 - f) * x[np.clip(lo, 0, old - 1)] + f * x[np.clip(lo + 1, 0, old - 1)]


def _aligned_corners(x, new):
    at = np.linspace(0, len(x) - 1, new)
    return np.stack([np.interp(at, np.arange(len(x)), x[:, c]) for c in range(x.shape[1])], 1)


def _np_interp(x, new):
    at = (np.arange(new) + 0.5) * len(x) / new - 0.5
    return np.stack([np.interp(at, np.arange(len(x)), column) for column in x.T], axis=1)


right("14.b", lambda x, n: _interp(x, n), _np_interp)
wrong("14.b", "corner|end|linspace|first and last|centre|middle", _aligned_corners)
wrong("14.b", "centre|middle|0\\.5|½|half", lambda x, n: _interp(x, n, center=False))
wrong("14.b", "nearest", lambda x, n: _interp(x, n, nearest=True))
wrong(
    "14.b",
    "swapped|other|neighbou?r|1 ?[-−] ?f|weights",
    lambda x, n: (
        lambda at: (
            lambda lo: (
                (at - lo)[:, None] * x[lo]
                + (1 - at + lo)[:, None] * x[np.minimum(lo + 1, len(x) - 1)]
            )
        )(np.floor(at).astype(int))
    )(np.clip((np.arange(n) + 0.5) * len(x) / n - 0.5, 0, len(x) - 1)),
)
wrong("14.b", "repeat|nearest|copied", lambda x, n: x[np.arange(n) * len(x) // n])
wrong(
    "14.b",
    "new ?/ ?old|upside|scale|factor|swapped|multiplied by `new`",
    lambda x, n: (
        lambda at: (
            lambda lo: (
                (1 - at + lo)[:, None] * x[lo]
                + (at - lo)[:, None] * x[np.minimum(lo + 1, len(x) - 1)]
            )
        )(np.floor(at).astype(int))
    )(np.clip((np.arange(n) + 0.5) * n / len(x) - 0.5, 0, len(x) - 1)),
)
wrong(
    "14.b",
    "half|0\\.5|shift|[-−] ?0\\.5|subtract",
    lambda x, n: (
        lambda at: (
            lambda lo: (
                (1 - at + lo)[:, None] * x[lo]
                + (at - lo)[:, None] * x[np.minimum(lo + 1, len(x) - 1)]
            )
        )(np.floor(at).astype(int))
    )(np.clip((np.arange(n) + 0.5) * len(x) / n, 0, len(x) - 1)),
)
wrong(
    "14.b",
    "lower|upper|only|floor|one neighbou?r|left \\+ 1",
    lambda x, n: x[
        np.floor(np.clip((np.arange(n) + 0.5) * len(x) / n - 0.5, 0, len(x) - 1)).astype(int)
    ],
)

# 14.c: positions(pos_embed, old, rows, columns)


def _resample(pos, old, rows, columns, order="C", cls=True):
    C = pos.shape[-1]
    grid = pos[0, 1:].reshape(*old, C, order=order)
    new = np.einsum("ik,klc,jl->ijc", rows, grid, columns).reshape(-1, C)
    return np.concatenate([pos[:, :1], new[None]], axis=1)


def _two_steps(pos, old, rows, columns):
    grid = pos[0, 1:].reshape(old[0], old[1], -1)
    new = np.tensordot(rows, grid, 1)
    new = np.tensordot(columns, new.swapaxes(0, 1), 1).swapaxes(0, 1)
    return np.vstack([pos[0, :1], new.reshape(-1, pos.shape[-1])])[None]


def _transposed_grid(pos, old, rows, columns):
    grid = pos[0, 1:].reshape(old[1], old[0], -1).swapaxes(0, 1)
    new = np.einsum("ik,klc,jl->ijc", rows, grid, columns).reshape(-1, pos.shape[-1])
    return np.concatenate([pos[:, :1], new[None]], axis=1)


def _column_order(pos, old, rows, columns):
    grid = pos[0, 1:].reshape(*old, -1)
    new = np.einsum("ik,klc,jl->jic", rows, grid, columns).reshape(-1, pos.shape[-1])
    return np.concatenate([pos[:, :1], new[None]], axis=1)


def _cls_forgotten(pos, old, rows, columns):
    return _resample(pos, old, rows, columns)[:, 1:]


def _cls_last(pos, old, rows, columns):
    out = _resample(pos, old, rows, columns)
    return np.concatenate([out[:, 1:], out[:, :1]], 1)


def _cls_zero(pos, old, rows, columns):
    out = _resample(pos, old, rows, columns)
    out[:, 0] = 0
    return out


def _last_as_cls(pos, old, rows, columns):
    grid = pos[0, :-1].reshape(*old, -1)
    new = np.einsum("ik,klc,jl->ijc", rows, grid, columns).reshape(-1, pos.shape[-1])
    return np.concatenate([new[None], pos[:, -1:]], axis=1)


def _mean_cls(pos, old, rows, columns):
    out = _resample(pos, old, rows, columns)
    out[:, 0] = pos.mean(1)
    return out


right("14.c", lambda *a: _resample(*a), _two_steps)
wrong("14.c", "row|column|transposed|h, w|grid|swapped", _transposed_grid)
wrong("14.c", "order|reading|column|transposed", _column_order)
wrong("14.c", "class token|shape", _cls_forgotten)
wrong("14.c", "class token|first|last|front", _cls_last, _last_as_cls)
wrong("14.c", "class token|zero", _cls_zero)
wrong("14.c", "class token|mean", _mean_cls)

# 14.d: interpolate_backward(dy, rows, columns)
right("14.d", lambda dy, r, c: np.einsum("ijc,ik,jl->klc", dy, r, c))
right("14.d", lambda dy, r, c: np.stack([r.T @ dy[..., i] @ c for i in range(dy.shape[-1])], -1))
wrong(
    "14.d",
    "row.*column|column|one direction|only",
    lambda dy, r, c: np.einsum("ijc,ik,jl->klc", dy, r, np.ones_like(c)),
)
wrong(
    "14.d",
    "divi|mean|normal|sum|average|weight",
    lambda dy, r, c: np.einsum("ijc,ik,jl->klc", dy, r / r.sum(0), c / c.sum(0)),
)
wrong("14.d", "transposed|swapped|shape", lambda dy, r, c: np.einsum("ijc,ik,jl->lkc", dy, r, c))
wrong(
    "14.d",
    "pseudo|inverse|pinv|transpos",
    lambda dy, r, c: np.einsum("ki,ijc,lj->klc", np.linalg.pinv(r), dy, np.linalg.pinv(c)),
)
wrong("14.d", "square", lambda dy, r, c: np.einsum("ijc,ik,jl->klc", dy, r**2, c**2))
wrong("14.d", "channel|mean|sum|shape", lambda dy, r, c: np.einsum("ijc,ik,jl->kl", dy, r, c))

# 14.e: ridge(x, y, strength)


def _ridge(x, y, s):
    return np.linalg.solve(x.T @ x + s * np.eye(x.shape[1]), x.T @ y)


right(
    "14.e", _ridge, lambda x, y, s: np.linalg.inv(x.T @ x + s * np.identity(x.shape[1])) @ x.T @ y
)
right("14.e", lambda x, y, s: x.T @ np.linalg.solve(x @ x.T + s * np.eye(len(x)), y))
wrong("14.e", "λ|strength|lambda|regular", lambda x, y, s: np.linalg.lstsq(x, y, rcond=None)[0])
wrong(
    "14.e",
    "square|λ²",
    lambda x, y, s: np.linalg.solve(x.T @ x + s**2 * np.eye(x.shape[1]), x.T @ y),
)
wrong(
    "14.e",
    "N|number of|examples|rows",
    lambda x, y, s: np.linalg.solve(x.T @ x + s * len(x) * np.eye(x.shape[1]), x.T @ y),
)
wrong(
    "14.e",
    "sign|minus|subtract|[-−]|taken away",
    lambda x, y, s: np.linalg.solve(x.T @ x - s * np.eye(x.shape[1]), x.T @ y),
)
wrong("14.e", "mean|centr", lambda x, y, s: _ridge(x - x.mean(0), y - y.mean(0), s))
wrong(
    "14.e",
    "N|divi|mean|number of",
    lambda x, y, s: np.linalg.solve(x.T @ x / len(x) + s * np.eye(x.shape[1]), x.T @ y / len(x)),
)
wrong("14.e", "transposed|shape", lambda x, y, s: _ridge(x, y, s).T)
wrong(
    "14.e",
    "after|divi|shr|both|factor",
    lambda x, y, s: np.linalg.lstsq(x, y, rcond=None)[0] / (1 + s),
)
wrong("14.e", "solve|inver|left", lambda x, y, s: (x.T @ x + s * np.eye(x.shape[1])) @ (x.T @ y))
wrong(
    "14.e",
    "twice|2|half",
    lambda x, y, s: np.linalg.solve(x.T @ x + 2 * s * np.eye(x.shape[1]), x.T @ y),
)

# 15.a: output_size(height, width, kernel, stride, padding)
right("15.a", lambda h, w, k, s, p: ((h + 2 * p - k) // s + 1, (w + 2 * p - k) // s + 1))
right("15.a", lambda h, w, k, s, p: [len(range(0, n + 2 * p - k + 1, s)) for n in (h, w)])
wrong("15.a", "1|last|first", lambda h, w, k, s, p: ((h + 2 * p - k) // s, (w + 2 * p - k) // s))
wrong(
    "15.a",
    "both sides|twice|2|padding",
    lambda h, w, k, s, p: ((h + p - k) // s + 1, (w + p - k) // s + 1),
)
wrong("15.a", "padding", lambda h, w, k, s, p: ((h - k) // s + 1, (w - k) // s + 1))
wrong("15.a", "stride", lambda h, w, k, s, p: (h + 2 * p - k + 1, w + 2 * p - k + 1))
wrong(
    "15.a",
    "order|swapped|columns|rows",
    lambda h, w, k, s, p: ((w + 2 * p - k) // s + 1, (h + 2 * p - k) // s + 1),
)
wrong(
    "15.a",
    "round|up|ceil|down|//",
    lambda h, w, k, s, p: (-(-(h + 2 * p - k) // s) + 1, -(-(w + 2 * p - k) // s) + 1),
)
wrong("15.a", "kernel|window", lambda h, w, k, s, p: ((h + 2 * p) // s, (w + 2 * p) // s))
wrong(
    "15.a",
    "square|height|width|twice|rows",
    lambda h, w, k, s, p: ((h + 2 * p - k) // s + 1, (h + 2 * p - k) // s + 1),
)
wrong(
    "15.a",
    "bracket|before|precedence|\\+ ?1|stride|1",
    lambda h, w, k, s, p: ((h + 2 * p - k + 1) // s, (w + 2 * p - k + 1) // s),
)

# 15.b: im2col(x, k, stride)


def _windows(x, k, s):
    return np.lib.stride_tricks.sliding_window_view(x, (k, k), axis=(1, 2))[:, ::s, ::s]


def _cols(x, k, s, order=(0, 1, 2, 4, 5, 3)):
    return _windows(x, k, s).transpose(order).reshape(-1, k * k * x.shape[-1])


def _im2col_loop(x, k, s):
    B, H, W, _I = x.shape
    out = [
        x[b, i : i + k, j : j + k].ravel()
        for b in range(B)
        for i in range(0, H - k + 1, s)
        for j in range(0, W - k + 1, s)
    ]
    return np.array(out)


right("15.b", lambda x, k, s: _cols(x, k, s))
wrong("15.b", "loop", _im2col_loop)
wrong("15.b", "channel", lambda x, k, s: _windows(x, k, s).reshape(-1, k * k * x.shape[-1]))
wrong("15.b", "stride|shape", lambda x, k, s: _cols(x, k, 1))
wrong("15.b", "column|order|reading|transposed", lambda x, k, s: _cols(x, k, s, (0, 2, 1, 4, 5, 3)))
wrong("15.b", "inside|window|transposed|order", lambda x, k, s: _cols(x, k, s, (0, 1, 2, 5, 4, 3)))
wrong("15.b", "batch|image|order", lambda x, k, s: _cols(x, k, s, (1, 2, 0, 4, 5, 3)))
wrong(
    "15.b",
    "flip|turned|revers",
    lambda x, k, s: (
        _windows(x, k, s)[..., ::-1, ::-1]
        .transpose(0, 1, 2, 4, 5, 3)
        .reshape(-1, k * k * x.shape[-1])
    ),
)
wrong("15.b", "shape|transposed", lambda x, k, s: _cols(x, k, s).T)

# 15.c: conv2d_backward(dy, x, weight)


def _conv_back(dy, x, w, flip=False):
    k = len(w)
    rows, columns = dy.shape[1:3]
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    for i in range(k):
        for j in range(k):
            part = np.s_[:, i : i + rows, j : j + columns]
            dx[part] += dy @ (w[k - 1 - i, k - 1 - j] if flip else w[i, j]).T
            dw[i, j] = np.tensordot(x[part], dy, ([0, 1, 2], [0, 1, 2]))
    return dx, dw


def _full_correlation(dy, x, w):
    k = len(w)
    padded = np.pad(dy, ((0, 0), (k - 1, k - 1), (k - 1, k - 1), (0, 0)))
    win = np.lib.stride_tricks.sliding_window_view(padded, (k, k), (1, 2))
    return np.einsum("bhwoij,ijco->bhwc", win, w[::-1, ::-1]), _conv_back(dy, x, w)[1]


def _overwrite(dy, x, w):
    k = len(w)
    rows, columns = dy.shape[1:3]
    dx = np.zeros_like(x)
    for i in range(k):
        for j in range(k):
            dx[:, i : i + rows, j : j + columns] = dy @ w[i, j].T
    return dx, _conv_back(dy, x, w)[1]


right("15.c", lambda *a: _conv_back(*a), _full_correlation)
wrong("15.c", "flip|turned|revers|180", lambda dy, x, w: _conv_back(dy, x, w, flip=True))
wrong("15.c", "\\+=|added|overwrit|last|sum", _overwrite)
wrong(
    "15.c",
    "dweight.*(flip|turned|revers|180)",
    lambda dy, x, w: (_conv_back(dy, x, w)[0], _conv_back(dy, x, w)[1][::-1, ::-1].copy()),
)
wrong(
    "15.c",
    "mean|batch|divi|averaged",
    lambda dy, x, w: (_conv_back(dy, x, w)[0], _conv_back(dy, x, w)[1] / len(x)),
)
wrong(
    "15.c",
    "mean|positions|divi",
    lambda dy, x, w: (_conv_back(dy, x, w)[0], _conv_back(dy, x, w)[1] / dy[..., 0].size),
)
wrong(
    "15.c",
    "transposed|row|column|swapped|i, j|each other",
    lambda dy, x, w: (_conv_back(dy, x, w.swapaxes(0, 1))[0], _conv_back(dy, x, w)[1]),
)
wrong(
    "15.c",
    "first|batch|image|sum",
    lambda dy, x, w: (_conv_back(dy, x, w)[0], _conv_back(dy[:1], x[:1], w)[1]),
)
wrong("15.c", "order|swapped|shape", lambda dy, x, w: _conv_back(dy, x, w)[::-1])

# 15.d: standardize(weight, eps)


def _ws(w, eps, axes=(0, 1, 2), ddof=0):
    return (w - w.mean(axes, keepdims=True)) / np.sqrt(w.var(axes, keepdims=True, ddof=ddof) + eps)


right("15.d", lambda w, e: _ws(w, e), lambda w, e: _ws(w.astype(np.float64), e))
wrong("15.d", "input|axis|axes|output channel|channel", lambda w, e: _ws(w, e, (0, 1, 3)))
wrong("15.d", "axis|axes|input|channel", lambda w, e: _ws(w, e, (0, 1)))
wrong("15.d", "all|whole|each output|channel", lambda w, e: _ws(w, e, None))
wrong("15.d", "axis|last|channel|axes", lambda w, e: _ws(w, e, -1))
wrong("15.d", "eps", lambda w, e: (w - w.mean((0, 1, 2))) / (w.std((0, 1, 2)) + e))
wrong("15.d", "eps", lambda w, e: (w - w.mean((0, 1, 2))) / w.std((0, 1, 2)))
wrong("15.d", "ddof|n ?[-−] ?1|unbiased|less", lambda w, e: _ws(w, e, ddof=1))
wrong("15.d", "mean|centr", lambda w, e: w / np.sqrt(w.var((0, 1, 2)) + e))
wrong("15.d", "root", lambda w, e: (w - w.mean((0, 1, 2))) / (w.var((0, 1, 2)) + e))
wrong(
    "15.d",
    "length|norm|sum|mean",
    lambda w, e: (
        (w - w.mean((0, 1, 2))) / np.sqrt(((w - w.mean((0, 1, 2))) ** 2).sum((0, 1, 2)) + e)
    ),
)
wrong("15.d", "spread|divi|variance|standard", lambda w, e: w - w.mean((0, 1, 2)))

# 15.e: 4
right("15.e", 4)
wrong("15.e", "both|two|twice|2", 2)
wrong("15.e", "8|more|least|three|once too", 8)
wrong("15.e", "any|every|stride|1", 1)
wrong("15.e", "16|least|more", 16)

# 16.a: bfloat16(x)


def _rounded(bits):
    return (bits & np.uint32(0xFFFF0000)).view(np.float32)


def _bits(x):
    return np.ascontiguousarray(x, np.float32).view(np.uint32)


right("16.a", lambda x: _rounded(_bits(x) + np.uint32(0x7FFF) + ((_bits(x) >> 16) & 1)))


def _by_frexp(x):
    x = np.asarray(x, np.float32)
    m, e = np.frexp(x.astype(np.float64))
    return np.ldexp(np.rint(m * 256) / 256, e).astype(np.float32)


right("16.a", _by_frexp)
wrong("16.a", "tie|even|half", lambda x: _rounded(_bits(x) + np.uint32(0x8000)))
wrong(
    "16.a",
    "float16|half|10 bits|exponent",
    lambda x: np.asarray(x).astype(np.float16).astype(np.float32),
)
wrong("16.a", "tie|even", lambda x: _rounded(_bits(x) + np.uint32(0x7FFF)))
wrong("16.a", "up|always|add", lambda x: _rounded(_bits(x) + np.uint32(0xFFFF)))
wrong("16.a", "round|unchanged|nothing|as it|float32", lambda x: np.asarray(x, np.float32))
wrong(
    "16.a",
    "lower|bits|cut|cleared|zero",
    lambda x: (_bits(x) + np.uint32(0x7FFF) + ((_bits(x) >> 16) & 1)).view(np.float32),
)

# 16.b: intensity(rows, fan_in, fan_out, size)


def _intensity(n, i, o, s, bias=True, flops=2, w=True, y=True, x=True):
    f = flops * n * i * o + bias * n * o
    return f / (s * (x * n * i + w * i * o + o + y * n * o))


right("16.b", lambda *a: _intensity(*a))
wrong("16.b", "bias|flop|add", lambda *a: _intensity(*a, bias=False))
wrong("16.b", "two|2|multipl", lambda *a: _intensity(*a, flops=1))
wrong("16.b", "W|weight", lambda *a: _intensity(*a, w=False))
wrong("16.b", "y|written|output", lambda *a: _intensity(*a, y=False))
wrong("16.b", "upside|flop|byte|inver|swapped|divided", lambda *a: 1 / _intensity(*a))
wrong(
    "16.b",
    "b |bias|fan_out",
    lambda n, i, o, s: (2 * n * i * o + n * o) / (s * (n * i + i * o + n * o)),
)
wrong(
    "16.b",
    "twice|b\\b|bias|fused|y|pass",
    lambda n, i, o, s: (2 * n * i * o + n * o) / (s * (n * i + i * o + o + 3 * n * o)),
)
wrong(
    "16.b",
    "bias|row|each|n",
    lambda n, i, o, s: (2 * n * i * o + o) / (s * (n * i + i * o + o + n * o)),
)
wrong("16.b", "x |input|read|rows \\* fan_in", lambda *a: _intensity(*a, x=False))
wrong("16.b", "flop|divi|byte", lambda n, i, o, s: 2 * n * i * o + n * o)

# 16.c: time(flops, moved, peak, bandwidth, launch)
right("16.c", lambda f, m, p, b, t: np.sum(t + np.maximum(f / p, m / b)))
right("16.c", lambda f, m, p, b, t: sum(max(x / p, y / b) + t for x, y in zip(f, m, strict=True)))
wrong("16.c", "once|each|launch", lambda f, m, p, b, t: np.maximum(f / p, m / b).sum() + t)
wrong(
    "16.c",
    "each operation|total|sums|before|of the sum",
    lambda f, m, p, b, t: max(f.sum() / p, m.sum() / b) + t * len(f),
)
wrong("16.c", "shorter|min|longer", lambda f, m, p, b, t: (np.minimum(f / p, m / b) + t).sum())
wrong("16.c", "byte|memory|move", lambda f, m, p, b, t: (f / p + t).sum())
wrong("16.c", "flop|arith|comput", lambda f, m, p, b, t: (m / b + t).sum())
wrong("16.c", "mean|sum", lambda f, m, p, b, t: (t + np.maximum(f / p, m / b)).mean())
wrong(
    "16.c", "all|sum|one after|longest", lambda f, m, p, b, t: (t + np.maximum(f / p, m / b)).max()
)

# 16.d: 7 · 4 · 311,338 = 8,717,464
right("16.d", 28 * 311338)
wrong("16.d", "gradient|8|written", 32 * 311338)
wrong("16.d", "byte|4|numbers", 7 * 311338)
wrong("16.d", "written|read|back", 16 * 311338)
wrong("16.d", "written|read", 12 * 311338)
wrong("16.d", "moment|weight|six", 20 * 311338, 24 * 311338)
wrong("16.d", "exact|round|not right", 8_717_000, 8_700_000)
wrong("16.d", "float64|8 byte", 56 * 311338)
wrong("16.d", "float16|bfloat|2 byte|half", 14 * 311338)

# 16.e: 2048
right("16.e", 2048)
wrong("16.e", "bit|10|11|implicit|leading|before", 1024)
wrong("16.e", "bit|twice|stop|even|4096|half", 4096)
wrong("16.e", "bfloat|7|256", 256)
wrong("16.e", "largest|65504|overflow|exponent", 65504)
wrong("16.e", "one less|by 1|2048|stop|reach|last", 2047)
wrong("16.e", "by 1|2048|stop|odd", 2049)
