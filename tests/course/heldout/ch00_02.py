"""Held-out answers to chapters 00 to 02."""

import numpy as np

from heldout.collect import right, wrong

# 00.a: grey(images (B, 3, H, W), weights (3,)) -> (B, H, W)
right(
    "00.a",
    lambda images, weights: np.einsum("bchw,c->bhw", images, weights),
    lambda images, weights: np.tensordot(images, weights, axes=([1], [0])),
    lambda images, weights: np.moveaxis(images, 1, -1) @ weights,
    lambda images, weights: [
        sum(p * w for p, w in zip(im, weights, strict=False)) for im in images
    ],
    lambda im, w: im[:, 0] * w[0] + im[:, 1] * w[1] + im[:, 2] * w[2],
)
wrong("00.a", "average|mean|divided", lambda im, w: (im * w.reshape(1, 3, 1, 1)).mean(axis=1))
wrong("00.a", "order|revers|blue", lambda im, w: np.einsum("bchw,c->bhw", im[:, ::-1], w))
wrong("00.a", "weight", lambda im, w: im[:, 0] + im[:, 1] + im[:, 2])
wrong("00.a", "reshape", lambda im, w: im.reshape(len(im), *im.shape[2:], 3) @ w)
wrong("00.a", "last|blue|only one|channel", lambda im, w: w[1] * im[:, 1])
wrong("00.a", "keepdims|axis|shape", lambda im, w: (im * w[:, None, None]).sum(1, keepdims=True))
wrong("00.a", "square|twice", lambda im, w: (im * w[:, None, None] ** 2).sum(1))

# 00.b: normalize(images, mean, std)
right(
    "00.b",
    lambda x, m, s: (x - 255 * m[None, :, None, None]) / (255 * s[None, :, None, None]),
    lambda x, m, s: np.stack([(x[:, c] / 255 - m[c]) / s[c] for c in range(3)], 1),
    lambda x, m, s: ((x.transpose(0, 2, 3, 1) / 255 - m) / s).transpose(0, 3, 1, 2),
)
wrong("00.b", "255", lambda x, m, s: (x - m.reshape(1, 3, 1, 1)) / s.reshape(1, 3, 1, 1))
wrong("00.b", "256", lambda x, m, s: (x / 256.0 - m[:, None, None]) / s[:, None, None])
wrong("00.b", "multipl", lambda x, m, s: (x / 255.0 - m[:, None, None]) * s[:, None, None])
wrong("00.b", "added|sign|\\+", lambda x, m, s: (x / 255.0 + m[:, None, None]) / s[:, None, None])
wrong(
    "00.b",
    "precedence|bracket|parenthes|only the mean|divided by std|after|before|not divided",
    lambda x, m, s: x / 255 - m[:, None, None] / s[:, None, None],
)
wrong("00.b", "varian|square", lambda x, m, s: (x / 255 - m[:, None, None]) / s[:, None, None] ** 2)
wrong("00.b", "root", lambda x, m, s: (x / 255 - m[:, None, None]) / np.sqrt(s[:, None, None]))
wrong("00.b", "mean", lambda x, m, s: x / 255 / s[:, None, None])
wrong(
    "00.b",
    "its own|their own|these very|given",
    lambda x, m, s: (x - x.mean((0, 2, 3), keepdims=True)) / x.std((0, 2, 3), keepdims=True),
)
wrong(
    "00.b",
    "average|all channels|one mean|per channel|each channel",
    lambda x, m, s: (x / 255 - m.mean()) / s.mean(),
)
wrong(
    "00.b",
    "swapped|exchang|order|revers|BGR|blue",
    lambda x, m, s: (x / 255 - m[::-1, None, None]) / s[::-1, None, None],
)

# 00.c
right("00.c", 128 * 3 * 32 * 32 * 4, 1572864.0, np.int64(1_572_864))
wrong("00.c", "uint8|4 bytes|how many numbers", 393216)
wrong("00.c", "bits", 128 * 3 * 32 * 32 * 32)
wrong("00.c", "one image|batch", 3 * 32 * 32 * 4)
wrong("00.c", "channel", 128 * 32 * 32 * 4)
wrong("00.c", "float64|8 bytes", 128 * 3 * 32 * 32 * 8)
wrong("00.c", "float16|2 bytes|two bytes", 128 * 3 * 32 * 32 * 2)
wrong("00.c", "MiB|mega|MB|exact|round", 1.5, 1_570_000)

# 01.a: patchify(images, P) -> (B, N, P·P·C)
right(
    "01.a",
    lambda x, P: np.einsum(
        "bchpwq->bhwpqc",
        x.reshape(x.shape[0], x.shape[1], x.shape[2] // P, P, x.shape[3] // P, P),
    ).reshape(x.shape[0], -1, P * P * x.shape[1]),
    lambda x, P: (
        np.lib.stride_tricks.sliding_window_view(x, (P, P), (2, 3))[:, :, ::P, ::P]
        .transpose(0, 2, 3, 4, 5, 1)
        .reshape(len(x), -1, P * P * x.shape[1])
    ),
)


def _six(x, P):
    B, C, H, W = x.shape
    return x.reshape(B, C, H // P, P, W // P, P)


def _flat(six, x, P):
    return six.reshape(len(x), -1, P * P * x.shape[1])


wrong(
    "01.a",
    "channel",
    lambda x, P: _flat(_six(x, P).transpose(0, 2, 4, 1, 3, 5), x, P),
)
wrong("01.a", "reshape|transpos", lambda x, P: x.reshape(len(x), -1, P * P * x.shape[1]))
wrong(
    "01.a",
    "column|order|reading|transposed",
    lambda x, P: _flat(_six(x, P).transpose(0, 4, 2, 3, 5, 1), x, P),
)
wrong(
    "01.a",
    "inside|within|transposed|column",
    lambda x, P: _flat(_six(x, P).transpose(0, 2, 4, 5, 3, 1), x, P),
)
wrong("01.a", "transpos|order", lambda x, P: _flat(_six(x, P), x, P))
wrong(
    "01.a",
    "strided|interleav|neighbou?r|dilat|split|P, H|H//P|every",
    lambda x, P: _flat(
        x.reshape(len(x), x.shape[1], P, x.shape[2] // P, P, x.shape[3] // P).transpose(
            0, 3, 5, 2, 4, 1
        ),
        x,
        P,
    ),
)


def _looped(x, P):
    B, _C, H, W = x.shape
    out = []
    for i in range(0, H, P):
        for j in range(0, W, P):
            out.append(x[:, :, i : i + P, j : j + P].transpose(0, 2, 3, 1).reshape(B, -1))
    return np.stack(out, 1)


wrong("01.a", "loop", _looped)

# 01.b: patchify_backward(dpatches, shape, P)
right(
    "01.b",
    lambda d, s, P: (
        d.reshape(s[0], s[2] // P, s[3] // P, P, P, s[1]).transpose(0, 5, 1, 3, 2, 4).reshape(s)
    ),
    lambda d, s, P: np.einsum(
        "bhwpqc->bchpwq", d.reshape(s[0], s[2] // P, s[3] // P, P, P, s[1])
    ).reshape(s),
)
wrong("01.b", "reshape|transpos", lambda d, s, P: d.reshape(s))
wrong(
    "01.b",
    "same|inverse|argsort|twice|again|order",
    lambda d, s, P: (
        d.reshape(s[0], s[2] // P, s[3] // P, P, P, s[1]).transpose(0, 2, 4, 3, 5, 1).reshape(s)
    ),
)
wrong(
    "01.b",
    "channel",
    lambda d, s, P: (
        d.reshape(s[0], s[2] // P, s[3] // P, s[1], P, P).transpose(0, 3, 1, 4, 2, 5).reshape(s)
    ),
)
wrong(
    "01.b",
    "inside|within|transposed",
    lambda d, s, P: (
        d.reshape(s[0], s[2] // P, s[3] // P, P, P, s[1]).transpose(0, 5, 1, 4, 2, 3).reshape(s)
    ),
)
wrong(
    "01.b",
    "grid|row|column|H and W|square|height",
    lambda d, s, P: (
        d.reshape(s[0], s[3] // P, s[2] // P, P, P, s[1]).transpose(0, 5, 2, 3, 1, 4).reshape(s)
    ),
)

# 01.c: shuffle_backward(dshuffled, order)
right(
    "01.c",
    lambda d, order: d[:, np.argsort(order)],
    lambda d, order: np.take(d, np.argsort(order), axis=1),
)


def _scatter(d, order):
    out = np.empty_like(d)
    out[:, order] = d
    return out


right("01.c", _scatter)
wrong(
    "01.c",
    "batch|axis|image|used for all",
    lambda d, order: np.stack([d[0][np.argsort(order)]] * len(d)),
)
wrong("01.c", "twice|argsort|same|again", lambda d, order: d[:, np.argsort(np.argsort(order))])

# 01.d: 196, 768, 38416
right("01.d", (196, 768, 38416), [14 * 14, 16 * 16 * 3, 196**2], np.array([196, 768, 38416]))
wrong("01.d", "channel", (196, 256, 38416))
wrong("01.d", "class token", (197, 768, 197 * 197))
wrong("01.d", "itself|unordered|once|half|every token", (196, 768, 196 * 195 // 2))
wrong("01.d", "square|side|row", (14, 768, 196))
wrong("01.d", "itself", (196, 768, 196 * 195))
wrong("01.d", "pairs|not right", (196, 768, 38400))
wrong("01.d", "order|swapped", (768, 196, 38416))


# 02.a: embed(patches, weight, bias, cls_token, pos_embed)
def _embed(patches, weight, bias, cls_token, pos_embed):
    B = patches.shape[0]
    x = np.matmul(patches, weight) + bias
    x = np.concatenate((np.tile(cls_token, (B, 1, 1)), x), axis=1)
    return x + pos_embed


def _embed_into(patches, weight, bias, cls_token, pos_embed):
    out = np.repeat(pos_embed, patches.shape[0], axis=0)
    out[:, :1] += cls_token
    out[:, 1:] += np.einsum("bni,ic->bnc", patches, weight) + bias
    return out


right("02.a", _embed, _embed_into)


def _cls_last(patches, weight, bias, cls_token, pos_embed):
    x = patches @ weight + bias
    cls = np.repeat(cls_token, len(x), axis=0)
    return np.concatenate([x, cls], 1) + pos_embed


def _no_bias(patches, weight, bias, cls_token, pos_embed):
    return _embed(patches, weight, 0, cls_token, pos_embed)


def _bias_everywhere(patches, weight, bias, cls_token, pos_embed):
    x = patches @ weight
    cls = np.repeat(cls_token, len(x), axis=0)
    return np.concatenate([cls, x], 1) + bias + pos_embed


def _no_pos(patches, weight, bias, cls_token, pos_embed):
    x = patches @ weight + bias
    return np.concatenate([np.repeat(cls_token, len(x), axis=0), x], 1)


def _pos_before_cls(patches, weight, bias, cls_token, pos_embed):
    x = patches @ weight + bias + pos_embed[:, 1:]
    return np.concatenate([np.broadcast_to(cls_token, (len(x), 1, x.shape[2])), x], 1)


def _pos_shifted(patches, weight, bias, cls_token, pos_embed):
    x = patches @ weight + bias + pos_embed[:, :-1]
    return np.concatenate([np.broadcast_to(cls_token, (len(x), 1, x.shape[2])), x], 1)


def _zeros_cls(patches, weight, bias, cls_token, pos_embed):
    x = patches @ weight + bias
    return np.concatenate([np.zeros((len(x), 1, x.shape[2])), x], 1) + pos_embed


def _no_cls_added(patches, weight, bias, cls_token, pos_embed):
    return patches @ weight + bias + pos_embed[:, 1:]


wrong("02.a", "last|end|front|after", _cls_last)
wrong("02.a", "position", _no_pos)
wrong("02.a", "position", _pos_before_cls, _pos_shifted)
wrong("02.a", "class token|cls_token", _zeros_cls)
wrong("02.a", "class token|shape", _no_cls_added)
wrong("02.a", "twice", lambda p, w, b, c, e: _embed(p, w, 2 * b, c, e))
wrong(
    "02.a",
    "position.*(twice|class)|class.*twice|cls_token is counted twice",
    lambda p, w, b, c, e: _embed(p, w, b, 2 * c, e),
)

# 02.b: embed_backward(dout) -> dprojected, dcls_token, dpos_embed
right(
    "02.b",
    lambda d: (d[:, 1:], d.sum(0)[None, :1], d.sum(0)[None]),
    lambda d: [d[:, 1:].copy(), d[:, :1].sum(0, keepdims=True), d.sum(axis=0, keepdims=True)],
    lambda d: (d[:, 1:, :], np.einsum("bc->c", d[:, 0]).reshape(1, 1, -1), np.add.reduce(d)[None]),
)
wrong(
    "02.b",
    "mean|average",
    lambda d: (d[:, 1:], d[:, :1].mean(0, keepdims=True), d.mean(0, keepdims=True)),
)
wrong("02.b", "first|one image|sum|batch", lambda d: (d[:, 1:], d[:1, :1], d[:1]))
wrong(
    "02.b",
    "last|end|front",
    lambda d: (d[:, :-1], d[:, -1:].sum(0, keepdims=True), d.sum(0, keepdims=True)),
)
wrong(
    "02.b",
    "all tokens|every token|tokens|whole|too many",
    lambda d: (d[:, 1:], d.sum((0, 1), keepdims=True), d.sum(0, keepdims=True)),
)
wrong("02.b", "sum|shape", lambda d: (d[:, 1:], d[:, :1], d))
wrong("02.b", "shape|keepdims", lambda d: (d[:, 1:], d[:, 0].sum(0), d.sum(0)))
wrong(
    "02.b",
    "class token|first|shape",
    lambda d: (d, d[:, :1].sum(0, keepdims=True), d.sum(0, keepdims=True)),
)
wrong(
    "02.b",
    "dpos_embed.*class|class token.*position|place 0|zero",
    lambda d: (
        d[:, 1:],
        d[:, :1].sum(0, keepdims=True),
        np.concatenate([np.zeros_like(d[:1, :1]), d[:, 1:].sum(0, keepdims=True)], 1),
    ),
)


# 02.c: sincos(x, y, omega)
def _tables(x, y, omega):
    a, b = np.outer(x, omega), np.outer(y, omega)
    return np.sin(a), np.cos(a), np.sin(b), np.cos(b)


right(
    "02.c",
    lambda x, y, w: np.hstack(_tables(x, y, w)),
    lambda x, y, w: np.concatenate(
        [f(p[:, None] * w[None]) for p in (x, y) for f in (np.sin, np.cos)], -1
    ),
)
wrong("02.c", "row|column|swapped|y", lambda x, y, w: np.hstack(_tables(y, x, w)))
wrong(
    "02.c",
    "order|together|cos",
    lambda x, y, w: np.hstack([_tables(x, y, w)[i] for i in (0, 2, 1, 3)]),
)
wrong("02.c", "cos|sin", lambda x, y, w: np.hstack([_tables(x, y, w)[i] for i in (1, 0, 3, 2)]))
wrong(
    "02.c",
    "interleav|alternat|stack|turn",
    lambda x, y, w: np.concatenate(
        [
            np.stack(_tables(x, y, w)[:2], -1).reshape(len(x), -1),
            np.stack(_tables(x, y, w)[2:], -1).reshape(len(x), -1),
        ],
        1,
    ),
)
wrong("02.c", "divi", lambda x, y, w: np.hstack(_tables(x, y, 1 / w)))
wrong("02.c", "twice|only|row|x", lambda x, y, w: np.hstack(_tables(x, x, w)))
wrong("02.c", "2π|2 ?pi|pi", lambda x, y, w: np.hstack(_tables(x, y, 2 * np.pi * w)))


def _sincos_loop(x, y, omega):
    table = np.zeros((len(x), 4 * len(omega)), x.dtype)
    n = len(omega)
    for i in range(len(x)):
        for k in range(n):
            table[i, k] = np.sin(x[i] * omega[k])
            table[i, n + k] = np.cos(x[i] * omega[k])
            table[i, 2 * n + k] = np.sin(y[i] * omega[k])
            table[i, 3 * n + k] = np.cos(y[i] * omega[k])
    return table


wrong("02.c", "loop", _sincos_loop)

# 02.d: 4704, 96, 6240
right("02.d", (48 * 96 + 96, 96, 65 * 96), [4704, 96, 6240])
wrong("02.d", "bias", (4608, 96, 6240))
wrong("02.d", "class token|65|position", (4704, 96, 6144))
wrong("02.d", "channel|3|colour", (16 * 96 + 96, 96, 6240))
wrong("02.d", "class token", (4704, 1, 6240))
wrong("02.d", "positions", (4704, 96, 65))
wrong("02.d", "exact|round|not right", (4700, 96, 6240))
