"""Held-out answers to chapters 05 to 07."""

import math

import numpy as np

from heldout.collect import right, wrong
from minivit.functional import (
    gelu_forward,
    layernorm_forward,
    linear_forward,
)

# 05.a: scores (2 + 0 + 0 + 2)/2 = 2 and (0 + 2 + 0 + 0)/2 = 1; share 1/(1 + 1/e) = 0.731
right("05.a", 0.731, 1 / (1 + math.exp(-1)), 0.7311)
wrong("05.a", "root|√|divi", 0.8808)  # not scaled
wrong("05.a", "by 4|√|root|D", 0.6225)  # divided by 4
wrong("05.a", "other|token 1|k1|k_1", 0.2689)
wrong("05.a", "exp|softmax", 2 / 3)
wrong("05.a", "exp|normal|sum|score", 2.0)
wrong("05.a", "exp|sum|normal|divi", 7.389)

# 05.b: attention(q, k, v)


def _softmax(s, axis=-1):
    e = np.exp(s - s.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def _t(a):
    return np.swapaxes(a, -2, -1)


def _attend(q, k, v, scale=None, axis=-1):
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    p = _softmax(q @ _t(k) * scale, axis)
    return p @ v, p


right(
    "05.b",
    lambda q, k, v: _attend(q, k, v),
    lambda q, k, v: _attend(q / np.sqrt(q.shape[-1]), k, v, 1.0),
    lambda q, k, v: list(_attend(q, k, v)),
    lambda q, k, v: (
        np.einsum("...ts,...sd->...td", _attend(q, k, v)[1], v),
        _attend(q, k, v)[1],
    ),
)
wrong("05.b", "√|root|scal", lambda q, k, v: _attend(q, k, v, 1.0))
wrong("05.b", "√|root|D", lambda q, k, v: _attend(q, k, v, 1 / q.shape[-1]))
wrong("05.b", "multipl|times|divided", lambda q, k, v: _attend(q, k, v, math.sqrt(q.shape[-1])))
wrong("05.b", "T|tokens|head size|√", lambda q, k, v: _attend(q, k, v, 1 / math.sqrt(q.shape[-2])))
wrong("05.b", "column|axis|row|keys", lambda q, k, v: _attend(q, k, v, axis=-2))
wrong("05.b", "order|swapped|other way|first", lambda q, k, v: _attend(q, k, v)[::-1])


def _probs_transposed(q, k, v):
    _, p = _attend(q, k, v)
    return _t(p) @ v, p


def _no_max(q, k, v):
    e = np.exp(q @ _t(k) / math.sqrt(q.shape[-1]))
    p = e / e.sum(-1, keepdims=True)
    return p @ v, p


def _global_max(q, k, v):
    s = q @ _t(k) / math.sqrt(q.shape[-1])
    e = np.exp(s - s.max())
    p = e / e.sum(-1, keepdims=True)
    return p @ v, p


def _whole_sum(q, k, v):
    s = q @ _t(k) / math.sqrt(q.shape[-1])
    e = np.exp(s - s.max(-1, keepdims=True))
    p = e / e.sum()
    return p @ v, p


def _returns_scores(q, k, v):
    s = q @ _t(k) / math.sqrt(q.shape[-1])
    return _softmax(s) @ v, s


def _two_axes_only(q, k, v):
    p = _softmax(q @ k.T / math.sqrt(q.shape[-1]))
    return p @ v, p


def _scaled_after(q, k, v):
    p = _softmax(q @ _t(k)) / math.sqrt(q.shape[-1])
    return p @ v, p


def _values_are_keys(q, k, v):
    _, p = _attend(q, k, v)
    return p @ k, p


def _sum_no_softmax(q, k, v):
    p = np.maximum(q @ _t(k) / math.sqrt(q.shape[-1]), 0)
    p = q @ _t(k) / math.sqrt(q.shape[-1])
    return p @ v, p


wrong("05.b", "transpos", _probs_transposed)
wrong("05.b", "max|largest|overflow", _no_max)
wrong("05.b", "max|largest|row", _global_max)
wrong("05.b", "row|all|whole|sum", _whole_sum)
wrong("05.b", "scores|softmax", _returns_scores)
wrong("05.b", "transpos|\\.T|axes", _two_axes_only)
wrong("05.b", "after|before|√|root", _scaled_after)
wrong("05.b", "keys|k |`k`", _values_are_keys)
wrong("05.b", "softmax|exp", _sum_no_softmax)
wrong(
    "05.b",
    "causal|mask",
    lambda q, k, v: (lambda p: (p @ v, p))(
        _softmax(
            np.where(np.tri(q.shape[-2], dtype=bool), q @ _t(k) / math.sqrt(q.shape[-1]), -1e9)
        )
    ),
)

# 05.d: attention_backward(dout, q, k, v, probs) -> dq, dk, dv


def _back(dout, q, k, v, p, scale=None):
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    dv = _t(p) @ dout
    dp = dout @ _t(v)
    ds = p * (dp - (dp * p).sum(-1, keepdims=True)) * scale
    return ds @ k, _t(ds) @ q, dv


def _ds(formula):
    """dscores by a formula of (dprobs, probs), all else right."""

    def answer(dout, q, k, v, p):
        ds = formula(dout @ _t(v), p) / math.sqrt(q.shape[-1])
        return ds @ k, _t(ds) @ q, _t(p) @ dout

    return answer


right(
    "05.d",
    lambda *a: _back(*a),
    lambda dout, q, k, v, p: [np.array(g) for g in _back(dout, q, k, v, p)],
    lambda dout, q, k, v, p: _back(dout, q, k, v, p, 1 / np.sqrt(q.shape[-1])),
)
wrong("05.d", "√|root|scal", lambda *a: _back(*a, 1.0))
wrong("05.d", "√|root|D", lambda dout, q, k, v, p: _back(dout, q, k, v, p, 1 / q.shape[-1]))
wrong(
    "05.d",
    "√|root|multipl",
    lambda dout, q, k, v, p: _back(dout, q, k, v, p, math.sqrt(q.shape[-1])),
)
wrong("05.d", "transpos", lambda dout, q, k, v, p: (*_back(dout, q, k, v, p)[:2], p @ dout))
wrong(
    "05.d", "swapped|order|dq and dk|other", lambda *a: (_back(*a)[1], _back(*a)[0], _back(*a)[2])
)
wrong("05.d", "order|dv", lambda *a: (_back(*a)[2], _back(*a)[0], _back(*a)[1]))


def _dk_not_transposed(dout, q, k, v, p):
    dq, _dk, dv = _back(dout, q, k, v, p)
    dp = dout @ _t(v)
    ds = p * (dp - (dp * p).sum(-1, keepdims=True)) / math.sqrt(q.shape[-1])
    return dq, ds @ q, dv


def _scale_once(dout, q, k, v, p):
    dq, dk, dv = _back(dout, q, k, v, p)
    return dq, dk * math.sqrt(q.shape[-1]), dv


def _dq_from_q(dout, q, k, v, p):
    dp = dout @ _t(v)
    ds = p * (dp - (dp * p).sum(-1, keepdims=True)) / math.sqrt(q.shape[-1])
    return ds @ q, _t(ds) @ k, _t(p) @ dout


def _dv_from_scores(dout, q, k, v, p):
    dq, dk, _dv = _back(dout, q, k, v, p)
    return dq, dk, _t(q @ _t(k) / math.sqrt(q.shape[-1])) @ dout


wrong("05.d", "dk.*transpos", _dk_not_transposed)
wrong("05.d", "dk.*(√|root|scal)", _scale_once)
wrong("05.d", "swapped|k and q|q and k|queries|keys|from q|from k", _dq_from_q)
wrong("05.d", "scores|softmax|probs", _dv_from_scores)

# 06.a: 4C² + 4C = 148,224
right("06.a", 148224, 4 * 192 * 192 + 4 * 192)
wrong("06.a", "bias", 4 * 192**2, 3 * 192**2 + 192**2)
wrong("06.a", "bias", 4 * 192**2 + 192, 4 * 192**2 + 3 * 192)
wrong("06.a", "output|projection|proj", 3 * 192**2 + 3 * 192)
wrong("06.a", "head", 3 * (4 * 192**2 + 4 * 192))
wrong("06.a", "MLP", 12 * 192**2 + 13 * 192)
wrong("06.a", "exact|round|not right", 148100, 148000)
wrong("06.a", "one|packed|q, k|three", 2 * (192**2 + 192))

# 06.b: split_heads(qkv, num_heads) -> q, k, v


def _split(qkv, H):
    B, T, C3 = qkv.shape
    return [
        part.reshape(B, T, H, C3 // 3 // H).swapaxes(1, 2) for part in np.split(qkv, 3, axis=-1)
    ]


right("06.b", lambda qkv, H: tuple(_split(qkv, H)), _split, lambda qkv, H: np.stack(_split(qkv, H)))
right("06.b", lambda qkv, H: np.moveaxis(qkv.reshape(*qkv.shape[:2], 3, H, -1), (2, 3), (0, 2)))


def _no_transpose(qkv, H):
    B, T, C3 = qkv.shape
    return tuple(p.reshape(B, H, T, C3 // 3 // H) for p in np.split(qkv, 3, -1))


def _heads_first(qkv, H):
    B, T, _C3 = qkv.shape
    return tuple(qkv.reshape(B, T, H, 3, -1).transpose(3, 0, 2, 1, 4))


def _d_before_h(qkv, H):
    B, T, _C3 = qkv.shape
    return tuple(qkv.reshape(B, T, 3, -1, H).transpose(2, 0, 4, 1, 3))


def _not_swapped(qkv, H):
    B, T, _C3 = qkv.shape
    return tuple(qkv.reshape(B, T, 3, H, -1).transpose(2, 0, 1, 3, 4))


def _per_head_packed(qkv, H):
    B, T, _C3 = qkv.shape
    return tuple(np.split(qkv.reshape(B, T, H, -1).swapaxes(1, 2), 3, axis=-1))


def _no_transpose_packed(qkv, H):
    B, T, _C3 = qkv.shape
    return tuple(qkv.reshape(3, B, H, T, -1))


def _interleaved(qkv, H):
    B, T, _C3 = qkv.shape
    return tuple(qkv.reshape(B, T, H, -1, 3).transpose(4, 0, 2, 1, 3))


wrong("06.b", "transpos|reshape", _no_transpose, _no_transpose_packed)
wrong("06.b", "head|3", _heads_first, _per_head_packed)
wrong("06.b", "D|interleav|head|every", _d_before_h, _interleaved)
wrong("06.b", "shape|transpos|\\(B, T, H|swap", _not_swapped)
wrong(
    "06.b",
    "order|k, q|swapped|first|each other",
    lambda qkv, H: (lambda q, k, v: (k, q, v))(*_split(qkv, H)),
)
wrong("06.b", "order|swapped|v", lambda qkv, H: (lambda q, k, v: (v, k, q))(*_split(qkv, H)))

# 06.c: merge_heads(heads)
right("06.c", lambda h: np.concatenate([h[:, i] for i in range(h.shape[1])], -1))
right("06.c", lambda h: np.einsum("bhtd->bthd", h).reshape(h.shape[0], h.shape[2], -1))
wrong("06.c", "transpos|reshape|swap", lambda h: h.reshape(h.shape[0], h.shape[2], -1))
wrong(
    "06.c",
    "D|interleav|head|order|inside",
    lambda h: h.transpose(0, 2, 3, 1).reshape(h.shape[0], h.shape[2], -1),
)
wrong(
    "06.c",
    "revers|order|last",
    lambda h: np.concatenate([h[:, i] for i in range(h.shape[1])][::-1], -1),
)
wrong(
    "06.c",
    "token|transpos|shape|axis",
    lambda h: h.transpose(0, 3, 1, 2).reshape(h.shape[0], -1, h.shape[2]),
)

# 06.d: qkv_backward(dq, dk, dv, x, qkv_weight)


def _merge(h):
    return h.swapaxes(1, 2).reshape(h.shape[0], h.shape[2], -1)


def _from_packed(d, x, w):
    return d @ w.T, np.einsum("btc,btk->ck", x, d), d.sum((0, 1))


right(
    "06.d",
    lambda dq, dk, dv, x, w: _from_packed(
        np.concatenate([_merge(a) for a in (dq, dk, dv)], -1), x, w
    ),
)


def _separate(dq, dk, dv, x, w):
    C = x.shape[-1]
    d = [_merge(a) for a in (dq, dk, dv)]
    dx = sum(g @ w[:, i * C : (i + 1) * C].T for i, g in enumerate(d))
    dw = np.hstack([np.tensordot(x, g, ((0, 1), (0, 1))) for g in d])
    return dx, dw, np.hstack([g.sum((0, 1)) for g in d])


right("06.d", _separate)


def _stack_no_transpose(dq, dk, dv, x, w):
    B, T, C = x.shape
    return _from_packed(np.stack([dq, dk, dv]).reshape(B, T, 3 * C), x, w)


def _stacked_last(dq, dk, dv, x, w):
    B, T, C = x.shape
    d = np.stack([_merge(a) for a in (dq, dk, dv)], axis=-1).reshape(B, T, 3 * C)
    return _from_packed(d, x, w)


def _heads_outside(dq, dk, dv, x, w):
    B, T, C = x.shape
    d = np.stack([dq, dk, dv], 0).transpose(1, 3, 2, 0, 4).reshape(B, T, 3 * C)
    return _from_packed(d, x, w)


def _kqv(dq, dk, dv, x, w):
    return _from_packed(np.concatenate([_merge(a) for a in (dk, dq, dv)], -1), x, w)


def _no_merge_transpose(dq, dk, dv, x, w):
    B, T, C = x.shape
    d = np.concatenate([a.reshape(B, T, C) for a in (dq, dk, dv)], -1)
    return _from_packed(d, x, w)


def _only_q(dq, dk, dv, x, w):
    _dx, dw, db = _separate(dq, dk, dv, x, w)
    return _merge(dq) @ w[:, : x.shape[-1]].T, dw, db


def _mean_bias(dq, dk, dv, x, w):
    dx, dw, db = _separate(dq, dk, dv, x, w)
    return dx, dw, db / (x.shape[0] * x.shape[1])


def _batch_left(dq, dk, dv, x, w):
    d = np.concatenate([_merge(a) for a in (dq, dk, dv)], -1)
    return d @ w.T, x.swapaxes(1, 2) @ d, d.sum(1)


def _mean_batch(dq, dk, dv, x, w):
    dx, dw, db = _separate(dq, dk, dv, x, w)
    return dx, dw / len(x), db / len(x)


wrong("06.d", "transpos|stack|reshape", _stack_no_transpose)
wrong("06.d", "stack|last|interleav|order|transpos", _stacked_last)
wrong("06.d", "head|order|transpos", _heads_outside)
wrong("06.d", "order|dk|swapped", _kqv)
wrong("06.d", "transpos|reshape|merge|swap|moved", _no_merge_transpose)
wrong("06.d", "only|three|dk|q", _only_q)
wrong("06.d", "mean|divided|average", _mean_bias, _mean_batch)
wrong("06.d", "sum|shape|batch", _batch_left)
wrong(
    "06.d",
    "dqkv_weight.*transpos",
    lambda *a: (_separate(*a)[0], np.ascontiguousarray(_separate(*a)[1].T), _separate(*a)[2]),
)

# 06.e: 8TC² = 4T²C at T = 2C = 1536
right("06.e", 1536, 2 * 768)
wrong("06.e", "twice|2|half|factor", 768)
wrong("06.e", "head|64|D", 128)
wrong("06.e", "3|output|qkv|projection", 1152)  # 6TC² = 4T²C
wrong("06.e", "both|two products|one", 3072)
wrong("06.e", "MLP|16|24", 4608)

# 07.a: 1.1¹², 0.1¹²
right("07.a", (1.1**12, 0.1**12), [3.138428, 1e-12])
wrong("07.a", "sum|add|multipl|product", (13.2, 1.2))
wrong("07.a", "order|swapped|first", (0.1**12, 1.1**12))
wrong("07.a", "1 ?\\+|added|slope|identity|one layer", (1.1, 0.1))
wrong("07.a", "11|12|one layer", (1.1**11, 0.1**11))
wrong("07.a", "1 ?\\+|both|sum|2\\.2|multipl|add", (2.2, 0.1**12))
wrong("07.a", "without residual|identity|1", (0.1**12, 0.1**12))
wrong("07.a", "identity|1 \\+|own", (1 + 0.1**12, 0.1**12))

# 07.b: mlp_half(x, gamma, beta, w1, b1, w2, b2)


def _ln(x, g, b):
    return g * (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6) + b


def _gelu(x):
    return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def _gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


right("07.b", lambda x, g, b, w1, b1, w2, b2: x + _gelu(_ln(x, g, b) @ w1 + b1) @ w2 + b2)


def _with_their_functions(x, g, b, w1, b1, w2, b2):
    h, _ = layernorm_forward(x, g, b)
    h, _ = linear_forward(h, w1, b1)
    h, _ = gelu_forward(h)
    h, _ = linear_forward(h, w2, b2)
    return x + h


right("07.b", _with_their_functions)
wrong(
    "07.b",
    "x|residual|line|added",
    lambda x, g, b, w1, b1, w2, b2: _gelu(_ln(x, g, b) @ w1 + b1) @ w2 + b2,
)
wrong("07.b", "GELU|bend", lambda x, g, b, w1, b1, w2, b2: x + (_ln(x, g, b) @ w1 + b1) @ w2 + b2)
wrong("07.b", "LayerNorm|norm", lambda x, g, b, w1, b1, w2, b2: x + _gelu(x @ w1 + b1) @ w2 + b2)
wrong(
    "07.b",
    "ReLU",
    lambda x, g, b, w1, b1, w2, b2: x + np.maximum(0, _ln(x, g, b) @ w1 + b1) @ w2 + b2,
)
wrong(
    "07.b", "tanh", lambda x, g, b, w1, b1, w2, b2: x + _gelu_tanh(_ln(x, g, b) @ w1 + b1) @ w2 + b2
)
wrong(
    "07.b",
    "post|after|LayerNorm",
    lambda x, g, b, w1, b1, w2, b2: _ln(x + _gelu(x @ w1 + b1) @ w2 + b2, g, b),
)
wrong(
    "07.b",
    "norm",
    lambda x, g, b, w1, b1, w2, b2: _ln(x, g, b) + _gelu(_ln(x, g, b) @ w1 + b1) @ w2 + b2,
)
wrong(
    "07.b",
    "b2|second bias|bias",
    lambda x, g, b, w1, b1, w2, b2: x + _gelu(_ln(x, g, b) @ w1 + b1) @ w2,
)
wrong(
    "07.b",
    "b1|first bias|bias",
    lambda x, g, b, w1, b1, w2, b2: x + _gelu(_ln(x, g, b) @ w1) @ w2 + b2,
)
wrong(
    "07.b",
    "twice|second|after|last|GELU",
    lambda x, g, b, w1, b1, w2, b2: x + _gelu(_gelu(_ln(x, g, b) @ w1 + b1) @ w2 + b2),
)
wrong(
    "07.b",
    "tuple|cache|unpack",
    lambda x, g, b, w1, b1, w2, b2: (
        x + linear_forward(gelu_forward(linear_forward(layernorm_forward(x, g, b), w1, b1)), w2, b2)
    ),
)


def _returns_tuple(x, g, b, w1, b1, w2, b2):
    h, _ = layernorm_forward(x, g, b)
    h, _ = linear_forward(h, w1, b1)
    h, _ = gelu_forward(h)
    return linear_forward(h, w2, b2)


wrong("07.b", "tuple|cache|unpack|expected 1", _returns_tuple)

# 07.c: block_backward(dy, norm1, attn, norm2, mlp)


def _block(dy, norm1, attn, norm2, mlp):
    dx1 = dy + norm2(mlp(dy))
    return dx1 + norm1(attn(dx1))


right("07.c", _block)
right("07.c", lambda dy, n1, a, n2, m: np.add(np.add(dy, n2(m(dy))), n1(a(dy + n2(m(dy))))))
wrong(
    "07.c",
    "first|order|attention|last|half",
    lambda dy, n1, a, n2, m: (dy + n1(a(dy))) + n2(m(dy + n1(a(dy)))),
)
wrong(
    "07.c",
    "line|residual|itself|skip|dy",
    lambda dy, n1, a, n2, m: (lambda d: d + n1(a(d)))(n2(m(dy))),
)
wrong(
    "07.c",
    "norm|order|inside|before",
    lambda dy, n1, a, n2, m: (lambda d: d + a(n1(d)))(dy + m(n2(dy))),
)
wrong(
    "07.c",
    "dy|sum|both|first half|MLP|through",
    lambda dy, n1, a, n2, m: dy + n2(m(dy)) + n1(a(dy)),
)
wrong("07.c", "norm|swapped", lambda dy, n1, a, n2, m: (lambda d: d + n2(a(d)))(dy + n1(m(dy))))
wrong("07.c", "norm", lambda dy, n1, a, n2, m: (lambda d: d + a(d))(dy + m(dy)))
wrong("07.c", "twice|dy", lambda dy, n1, a, n2, m: (lambda d: dy + d + n1(a(d)))(dy + n2(m(dy))))
wrong(
    "07.c",
    "dy|first|line|its own|not the",
    lambda dy, n1, a, n2, m: (lambda d: dy + n1(a(d)))(dy + n2(m(dy))),
)
wrong(
    "07.c",
    "halv|half|factor|mean|0.5|divided",
    lambda dy, n1, a, n2, m: (lambda d: (d + n1(a(d))) / 2)((dy + n2(m(dy))) / 2),
)

# 07.d: count(image_size, patch_size, num_classes, dim, depth, hidden)


def _count(
    i, p, k, c, d, f, cls=1, pos=True, last=True, qkv_bias=1, head_bias=1, norms=2, colors=3
):
    n = (i // p) ** 2
    total = colors * p * p * c + c + c * cls + (n + cls) * c * pos
    block = 3 * c * c + 3 * c * qkv_bias + c * c + c + norms * 2 * c + c * f + f + f * c + c
    return total + d * block + 2 * c * last + c * k + k * head_bias


right("07.d", lambda *a: _count(*a), lambda *a: float(_count(*a)))
wrong("07.d", "class token", lambda *a: _count(*a, cls=0))
wrong("07.d", "position", lambda *a: _count(*a, pos=False))
wrong("07.d", "last|final|after", lambda *a: _count(*a, last=False))
wrong("07.d", "qkv|query|attention|bias", lambda *a: _count(*a, qkv_bias=0))
wrong("07.d", "head|bias", lambda *a: _count(*a, head_bias=0))
wrong("07.d", "LayerNorm|norm", lambda *a: _count(*a, norms=1))
wrong("07.d", "colou?r|channel", lambda *a: _count(*a, colors=1))
wrong("07.d", "position|patch|class token", lambda *a: _count(*a) - a[3])
wrong("07.d", "4|hidden", lambda i, p, k, c, d, f: _count(i, p, k, c, d, 4 * c))
wrong("07.d", "depth|block", lambda i, p, k, c, d, f: _count(i, p, k, c, 1, f))
wrong(
    "07.d",
    "(last|final|after)[\\s\\S]*bias|bias[\\s\\S]*(last|final|after)",
    lambda *a: _count(*a, last=False, head_bias=0),
)
