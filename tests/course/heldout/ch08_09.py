"""Held-out answers to chapters 08 and 09."""

import math

import numpy as np

from heldout.collect import right, wrong

# 08.a: sgd(theta, grad, velocity, lr, momentum) -> theta, velocity


def _sgd(theta, grad, velocity, lr, momentum):
    velocity = momentum * velocity + grad
    return theta - lr * velocity, velocity


right("08.a", _sgd, lambda *a: list(_sgd(*a)))
wrong(
    "08.a", "old velocity|before|new velocity", lambda th, g, v, lr, mu: (th - lr * v, mu * v + g)
)
wrong(
    "08.a", "sign|uphill|added|\\+", lambda th, g, v, lr, mu: (th + lr * (mu * v + g), mu * v + g)
)
wrong(
    "08.a",
    "1 ?[-−] ?(mu|μ|momentum)|average",
    lambda th, g, v, lr, mu: (th - lr * (mu * v + (1 - mu) * g), mu * v + (1 - mu) * g),
)
wrong("08.a", "lr|learning rate", lambda th, g, v, lr, mu: (th - (mu * v + g), mu * v + g))
wrong("08.a", "momentum", lambda th, g, v, lr, mu: (th - lr * (v + g), v + g))
wrong("08.a", "velocity|momentum", lambda th, g, v, lr, mu: (th - lr * g, mu * v + g))
wrong(
    "08.a",
    "lr|learning rate|cs231n",
    lambda th, g, v, lr, mu: (th + (mu * v - lr * g), mu * v - lr * g),
)
wrong("08.a", "Nesterov", lambda th, g, v, lr, mu: (th - lr * (g + mu * (mu * v + g)), mu * v + g))
wrong("08.a", "order|swapped|first", lambda *a: _sgd(*a)[::-1])
wrong(
    "08.a",
    "momentum|mu|gradient|whole",
    lambda th, g, v, lr, mu: (th - lr * mu * (v + g), mu * (v + g)),
)

# 08.b: 2/50 = 0.04
right("08.b", 0.04, 2 / 50)
wrong("08.b", "3|flat|other|steep", 2 / 3)
wrong("08.b", "1/c|2|half|overshoot", 0.02)
wrong("08.b", "sum|both|53|steep", 2 / 53)
wrong("08.b", "half|½|c|derivative|curvature|1/2", 0.08)
wrong("08.b", "1/c|invers|revers|upside|reciprocal", 25)
wrong("08.b", "below|1/c|fastest|one step", 1 / 3)

# 08.c, 08.d


def _adam(theta, grad, m, v, t, lr, betas, eps):
    b1, b2 = betas
    m = m + (1 - b1) * (grad - m)
    v = v + (1 - b2) * (grad**2 - v)
    step = lr * np.sqrt(1 - b2**t) / (1 - b1**t)
    return theta - step * m / (np.sqrt(v) + eps * np.sqrt(1 - b2**t)), m, v


def _variant(move, m2=None, v2=None):
    """Adam with another move(theta, m, v, t, lr, b1, b2, eps, grad)."""

    def answer(theta, grad, m, v, t, lr, betas, eps):
        b1, b2 = betas
        old = m, v
        m = m2(m, grad, b1) if m2 else b1 * m + (1 - b1) * grad
        v = v2(v, grad, b2) if v2 else b2 * v + (1 - b2) * grad * grad
        return move(theta, m, v, t, lr, b1, b2, eps, grad, *old), m, v

    return answer


def _usual(th, m, v, t, lr, b1, b2, eps, *_):
    return th - lr * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)


right("08.c", _adam, _variant(_usual), lambda *a: list(_adam(*a)))
wrong(
    "08.c",
    "correct|bias",
    _variant(lambda th, m, v, t, lr, b1, b2, e, *_: th - lr * m / (np.sqrt(v) + e)),
)
wrong(
    "08.c",
    "t|b·t|β·t|power|times",
    _variant(
        lambda th, m, v, t, lr, b1, b2, e, *_: (
            th - lr * (m / (1 - b1 * t)) / (np.sqrt(np.abs(v / (1 - b2 * t))) + e)
        )
    ),
)
wrong(
    "08.c",
    "old|before",
    _variant(lambda th, m, v, t, lr, b1, b2, e, g, m0, v0: _usual(th, m0, v0, t, lr, b1, b2, e)),
)
wrong(
    "08.c",
    "eps",
    _variant(
        lambda th, m, v, t, lr, b1, b2, e, *_: (
            th - lr * (m / (1 - b1**t)) / np.sqrt(v / (1 - b2**t) + e)
        )
    ),
)
wrong(
    "08.c",
    "eps",
    _variant(
        lambda th, m, v, t, lr, b1, b2, e, *_: (
            th - lr * (m / (1 - b1**t)) / np.sqrt(v / (1 - b2**t))
        )
    ),
)
wrong(
    "08.c",
    "eps",
    _variant(
        lambda th, m, v, t, lr, b1, b2, e, *_: (
            th - lr * math.sqrt(1 - b2**t) / (1 - b1**t) * m / (np.sqrt(v) + e)
        )
    ),
)
wrong(
    "08.c",
    "root|sqrt",
    _variant(
        lambda th, m, v, t, lr, b1, b2, e, *_: th - lr * (m / (1 - b1**t)) / (v / (1 - b2**t) + e)
    ),
)
wrong(
    "08.c",
    "sign|uphill|added|\\+",
    _variant(
        lambda th, m, v, t, lr, b1, b2, e, *_: (
            th + lr * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + e)
        )
    ),
)
wrong(
    "08.c",
    "v |second|correct",
    _variant(lambda th, m, v, t, lr, b1, b2, e, *_: th - lr * (m / (1 - b1**t)) / (np.sqrt(v) + e)),
)
wrong(
    "08.c",
    "m |first|correct",
    _variant(lambda th, m, v, t, lr, b1, b2, e, *_: th - lr * m / (np.sqrt(v / (1 - b2**t)) + e)),
)
wrong(
    "08.c",
    "beta|swapped|other",
    lambda th, g, m, v, t, lr, betas, e: _adam(th, g, m, v, t, lr, betas[::-1], e),
)
wrong(
    "08.c",
    "lr|learning rate",
    lambda th, g, m, v, t, lr, betas, e: _adam(th, g, m, v, t, 1.0, betas, e),
)
wrong("08.c", "square|g²", _variant(_usual, v2=lambda v, g, b: b * v + (1 - b) * np.abs(g)))
wrong("08.c", "1 ?[-−]", _variant(_usual, m2=lambda m, g, b: b * m + g))
wrong(
    "08.c",
    "beta|1 ?[-−]|swapped|exchang",
    _variant(
        _usual, m2=lambda m, g, b: (1 - b) * m + b * g, v2=lambda v, g, b: (1 - b) * v + b * g * g
    ),
)
wrong(
    "08.c",
    "t ?\\+ ?1|t",
    _variant(lambda th, m, v, t, lr, b1, b2, e, *_: _usual(th, m, v, t + 1, lr, b1, b2, e)),
)
wrong(
    "08.c",
    "t ?[-−] ?1|one less|too (small|few)",
    lambda th, g, m, v, t, lr, betas, e: _adam(th, g, m, v, max(t - 1, 1), lr, betas, e),
)


def _returns_corrected(theta, grad, m, v, t, lr, betas, eps):
    theta, m, v = _adam(theta, grad, m, v, t, lr, betas, eps)
    return theta, m / (1 - betas[0] ** t), v / (1 - betas[1] ** t)


def _rmsprop(theta, grad, m, v, t, lr, betas, eps):
    v = betas[1] * v + (1 - betas[1]) * grad**2
    m = betas[0] * m + (1 - betas[0]) * grad
    return theta - lr * grad / (np.sqrt(v / (1 - betas[1] ** t)) + eps), m, v


def _variance(theta, grad, m, v, t, lr, betas, eps):
    m = betas[0] * m + (1 - betas[0]) * grad
    v = betas[1] * v + (1 - betas[1]) * m**2
    return _usual(theta, m, v, t, lr, *betas, eps), m, v


wrong("08.c", "grad|RMSprop|m ", _rmsprop)
wrong("08.c", "m²|m\\*\\*2|square|mean|m |new_m", _variance)


def _adamw(theta, grad, m, v, t, lr, betas, eps, decay):
    new, m, v = _adam(theta, grad, m, v, t, lr, betas, eps)
    return new - lr * decay * theta, m, v


right("08.d", _adamw)
wrong(
    "08.d",
    "grad|L2|Adam with",
    lambda th, g, m, v, t, lr, be, e, wd: _adam(th, g + wd * th, m, v, t, lr, be, e),
)
wrong(
    "08.d",
    "lr|learning rate",
    lambda th, g, m, v, t, lr, be, e, wd: _adam(th * (1 - wd), g, m, v, t, lr, be, e),
)
wrong(
    "08.d",
    "after|first|already",
    lambda th, g, m, v, t, lr, be, e, wd: (lambda n: (n[0] * (1 - lr * wd), *n[1:]))(
        _adam(th, g, m, v, t, lr, be, e)
    ),
)
wrong(
    "08.d",
    "sign|grow|added|\\+",
    lambda th, g, m, v, t, lr, be, e, wd: _adam(th * (1 + lr * wd), g, m, v, t, lr, be, e),
)
wrong(
    "08.d",
    "decay|missing|not",
    lambda th, g, m, v, t, lr, be, e, wd: _adam(th, g, m, v, t, lr, be, e),
)
wrong(
    "08.d",
    "half|2|twice",
    lambda th, g, m, v, t, lr, be, e, wd: _adam(th * (1 - 2 * lr * wd), g, m, v, t, lr, be, e),
)
wrong(
    "08.d",
    "square|lr|twice",
    lambda th, g, m, v, t, lr, be, e, wd: _adam(th * (1 - lr * lr * wd), g, m, v, t, lr, be, e),
)
wrong(
    "08.d",
    "only|weight|theta|1 ?[-−]",
    lambda th, g, m, v, t, lr, be, e, wd: _adam(th * lr * wd, g, m, v, t, lr, be, e),
)
wrong(
    "08.d",
    "correct",
    lambda th, g, m, v, t, lr, be, e, wd: _variant(
        lambda th, m, v, t, lr, b1, b2, e, *_: th - lr * m / (np.sqrt(v) + e)
    )(th * (1 - lr * wd), g, m, v, t, lr, be, e),
)

# 08.e: cosine_rate(step, peak, warmup, total, final): warm-up as the chapter's linear_rate has it


def _cosine(step, peak, warmup, total, final):
    if step < warmup:
        return peak * (step + 1) / warmup
    done = min((step - warmup) / (total - warmup), 1)
    return final + (peak - final) * (1 + math.cos(math.pi * done)) / 2


right("08.e", _cosine, lambda *a: np.float64(_cosine(*a)))
wrong(
    "08.e",
    "step ?\\+ ?1|first step|zero|0",
    lambda s, p, w, t, f: p * s / w if s < w else _cosine(s, p, w, t, f),
)
wrong("08.e", "final", lambda s, p, w, t, f: _cosine(s, p, w, t, 0))
wrong(
    "08.e",
    "warm",
    lambda s, p, w, t, f: (
        f + (p - f) * (1 + math.cos(math.pi * min(s / t, 1))) / 2
        if s >= w
        else _cosine(s, p, w, t, f)
    ),
)
wrong(
    "08.e",
    "after|total|rises|again|stay",
    lambda s, p, w, t, f: (
        _cosine(s, p, w, t, f)
        if s < w
        else f + (p - f) * (1 + math.cos(math.pi * (s - w) / (t - w))) / 2
    ),
)
wrong(
    "08.e",
    "half|2|twice",
    lambda s, p, w, t, f: (
        _cosine(s, p, w, t, f)
        if s < w
        else f + (p - f) * (1 + math.cos(math.pi * min((s - w) / (t - w), 1)))
    ),
)
wrong(
    "08.e",
    "linear|straight",
    lambda s, p, w, t, f: (
        _cosine(s, p, w, t, f) if s < w else f + (p - f) * (1 - min((s - w) / (t - w), 1))
    ),
)
wrong(
    "08.e",
    "warm",
    lambda s, p, w, t, f: (
        f + (p - f) * (1 + math.cos(math.pi * min(max(s - w, 0) / (t - w), 1))) / 2
    ),
)
wrong(
    "08.e",
    "quarter|π/2|pi ?/ ?2",
    lambda s, p, w, t, f: (
        _cosine(s, p, w, t, f)
        if s < w
        else f + (p - f) * math.cos(math.pi / 2 * min((s - w) / (t - w), 1))
    ),
)
wrong(
    "08.e",
    "peak ?[-−] ?final|below|final",
    lambda s, p, w, t, f: (
        _cosine(s, p, w, t, f)
        if s < w
        else f + p * (1 + math.cos(math.pi * min((s - w) / (t - w), 1))) / 2
    ),
)
wrong(
    "08.e",
    "total ?[-−] ?warmup|warm",
    lambda s, p, w, t, f: (
        _cosine(s, p, w, t, f)
        if s < w
        else f + (p - f) * (1 + math.cos(math.pi * min((s - w) / t, 1))) / 2
    ),
)
wrong(
    "08.e",
    "pi|π",
    lambda s, p, w, t, f: (
        _cosine(s, p, w, t, f)
        if s < w
        else f + (p - f) * (1 + math.cos(min((s - w) / (t - w), 1))) / 2
    ),
)
wrong(
    "08.e",
    "sign|rises|1 ?[-−]|minus",
    lambda s, p, w, t, f: (
        _cosine(s, p, w, t, f)
        if s < w
        else f + (p - f) * (1 - math.cos(math.pi * min((s - w) / (t - w), 1))) / 2
    ),
)

# 08.f: clip(dweight, dbias, max_norm)


def _scaled(dw, db, norm, max_norm):
    scale = min(1.0, max_norm / norm) if norm > 0 else 1.0
    return dw * scale, db * scale


def _norm(*arrays):
    return math.sqrt(sum(float((a**2).sum()) for a in arrays))


right("08.f", lambda dw, db, m: _scaled(dw, db, _norm(dw, db), m))
right(
    "08.f",
    lambda dw, db, m: _scaled(dw, db, np.linalg.norm([np.linalg.norm(dw), np.linalg.norm(db)]), m),
)
wrong(
    "08.f",
    "weight.*alone|of dweight|one norm|both|dbias",
    lambda dw, db, m: _scaled(dw, db, _norm(dw), m),
)
wrong(
    "08.f",
    "each|own|separate|one norm",
    lambda dw, db, m: (_scaled(dw, dw, _norm(dw), m)[0], _scaled(db, db, _norm(db), m)[0]),
)
wrong(
    "08.f",
    "short|always|small|raise",
    lambda dw, db, m: (dw * m / _norm(dw, db), db * m / _norm(dw, db)),
)
wrong("08.f", "root|square", lambda dw, db, m: _scaled(dw, db, _norm(dw, db) ** 2, m))
wrong(
    "08.f",
    "each number|value|element|separately",
    lambda dw, db, m: (np.clip(dw, -m, m), np.clip(db, -m, m)),
)
wrong("08.f", "sum of|norms|added", lambda dw, db, m: _scaled(dw, db, _norm(dw) + _norm(db), m))
wrong(
    "08.f",
    "absolute|largest|L1|squares",
    lambda dw, db, m: _scaled(dw, db, np.abs(dw).sum() + np.abs(db).sum(), m),
)
wrong(
    "08.f",
    "largest|max",
    lambda dw, db, m: _scaled(dw, db, max(np.abs(dw).max(), np.abs(db).max()), m),
)
wrong(
    "08.f",
    "max_norm|length 1|times",
    lambda dw, db, m: (dw / _norm(dw, db), db / _norm(dw, db)) if _norm(dw, db) > m else (dw, db),
)
wrong(
    "08.f",
    "mean|root",
    lambda dw, db, m: _scaled(dw, db, _norm(dw, db) / math.sqrt(dw.size + db.size), m),
)
wrong("08.f", "dbias|bias", lambda dw, db, m: (_scaled(dw, db, _norm(dw, db), m)[0], db))
wrong(
    "08.f",
    "wrong way|swapped|norm ?/ ?max|upside|divided|longer",
    lambda dw, db, m: (dw * max(1, _norm(dw, db) / m), db * max(1, _norm(dw, db) / m)),
)

# 09.a: log 100 = 4.605
right("09.a", 4.605, math.log(100))
wrong("09.a", "10|classes", math.log(10))
wrong("09.a", "log|natural|base", 2.0)
wrong("09.a", "smooth|only|other classes|0.9", 0.901 * math.log(100))
wrong("09.a", "sign|minus|negative", -math.log(100))
wrong("09.a", "log2|base|bits|natural", math.log2(100))
wrong("09.a", "entropy|target|lowest|smallest", 0.779)

# 09.b: n = 0.16 / 0.0001 = 1600
right("09.b", 1600, 1600.0, 0.8 * (1 - 0.8) / 0.01**2)
wrong("09.b", "root|square", 16)
wrong("09.b", "0.2|1 ?[-−] ?p|p\\(1", 8000, 6400)
wrong("09.b", "0.5|half|1/4", 2500)
wrong("09.b", "root|standard dev|square", 4000, 40)
wrong("09.b", "95|two|1.96|2", 6400)
wrong("09.b", "not right|exact", 1500)

# 09.c: confusion(labels, predictions, K)


def _loop_confusion(labels, predictions, K):
    out = [[0] * K for _ in range(K)]
    for t, p in zip(labels, predictions, strict=True):
        out[t][p] += 1
    return out


right("09.c", _loop_confusion, lambda y, p, K: np.histogram2d(y, p, bins=[np.arange(K + 1)] * 2)[0])
right("09.c", lambda y, p, K: (np.eye(K)[y].T @ np.eye(K)[p]).astype(int))


def _plus_equals(labels, predictions, K):
    out = np.zeros((K, K), int)
    out[labels, predictions] += 1
    return out


def _bincount_short(labels, predictions, K):
    n = max(labels.max(), predictions.max()) + 1
    return np.bincount(labels * n + predictions, minlength=n * n).reshape(n, n)


wrong("09.c", "\\+=|once|add.at|repeated|count", _plus_equals)
wrong(
    "09.c", "transpos|row|swapped|told|predict", lambda y, p, K: np.array(_loop_confusion(p, y, K))
)
wrong(
    "09.c",
    "share|fraction|divided|counts",
    lambda y, p, K: np.array(_loop_confusion(y, p, K)) / len(y),
)
wrong(
    "09.c",
    "share|fraction|divided|counts|row|normal",
    lambda y, p, K: (
        np.array(_loop_confusion(y, p, K))
        / np.maximum(1, np.array(_loop_confusion(y, p, K)).sum(1, keepdims=True))
    ),
)
wrong("09.c", "shape|K", _bincount_short)
wrong(
    "09.c",
    "diagonal|right ones|only|correct",
    lambda y, p, K: np.diag(np.bincount(y[y == p], minlength=K)),
)
wrong(
    "09.c",
    "wrong ones|diagonal|only|mistakes",
    lambda y, p, K: np.array(_loop_confusion(y[y != p], p[y != p], K)),
)

# 09.d: combine(gradients (M, I, O), losses (M,), sizes (M,))
right(
    "09.d", lambda g, loss, n: (np.einsum("mio,m->io", g, n / n.sum()), (loss * n).sum() / n.sum())
)
right("09.d", lambda g, loss, n: (np.average(g, axis=0, weights=n), np.average(loss, weights=n)))


def _loop_combine(g, losses, n):
    total, dw, loss = 0, 0, 0
    for a, b, c in zip(g, losses, n, strict=True):
        dw, loss, total = dw + c * a, loss + c * b, total + c
    return dw / total, loss / total


right("09.d", _loop_combine)
wrong("09.d", "alike|equal|mean|size|share", lambda g, loss, n: (g.mean(0), loss.mean()))
wrong("09.d", "sum|added|size|divi", lambda g, loss, n: (g.sum(0), loss.sum()))
wrong("09.d", "divi|total|share|sum", lambda g, loss, n: (np.tensordot(n, g, 1), n @ loss))
wrong("09.d", "dweight|gradient", lambda g, loss, n: (g.mean(0), n @ loss / n.sum()))
wrong(
    "09.d",
    "pieces|M|number of|total|share",
    lambda g, loss, n: (np.tensordot(n, g, 1) / len(n), n @ loss / len(n)),
)
wrong("09.d", "loss", lambda g, loss, n: (np.tensordot(n / n.sum(), g, 1), loss.mean()))
wrong("09.d", "loss", lambda g, loss, n: (np.tensordot(n / n.sum(), g, 1), loss.sum()))
wrong(
    "09.d",
    "small|1 ?/|divided|invers",
    lambda g, loss, n: (
        np.tensordot(1 / n / (1 / n).sum(), g, 1),
        (loss / n).sum() / (1 / n).sum(),
    ),
)
wrong(
    "09.d", "largest|max", lambda g, loss, n: (np.tensordot(n / n.max(), g, 1), n @ loss / n.max())
)
wrong("09.d", "last", lambda g, loss, n: (g[-1], loss[-1]))
wrong(
    "09.d",
    "square|twice",
    lambda g, loss, n: (np.tensordot(n**2 / (n**2).sum(), g, 1), (n**2) @ loss / (n**2).sum()),
)

# 09.e: normalise(training, others)


def _by(x, of, axes=(0, 2, 3), ddof=0):
    return (x - of.mean(axes, keepdims=True)) / of.std(axes, keepdims=True, ddof=ddof)


right("09.e", lambda t, o: _by(o, t), lambda t, o: _by(o.astype(float), t.astype(float)))
right(
    "09.e",
    lambda t, o: np.stack([(o[:, c] - t[:, c].mean()) / t[:, c].std() for c in range(3)], axis=1),
)
wrong("09.e", "own|others|training", lambda t, o: _by(o, o))
wrong("09.e", "each image|own|training", lambda t, o: _by(o, o, (2, 3)))
wrong("09.e", "channel|colours", lambda t, o: (o - t.mean()) / t.std())
wrong("09.e", "pixel|place|axis|axes", lambda t, o: (o - t.mean(0)) / t.std(0))
wrong("09.e", "both|together|training", lambda t, o: _by(o, np.concatenate([t, o])))
wrong(
    "09.e",
    "variance|square|root",
    lambda t, o: (o - t.mean((0, 2, 3), keepdims=True)) / t.var((0, 2, 3), keepdims=True),
)
wrong("09.e", "spread|standard|divi", lambda t, o: o - t.mean((0, 2, 3), keepdims=True))
wrong("09.e", "mean", lambda t, o: o / t.std((0, 2, 3), keepdims=True))
wrong("09.e", "training|returned|which|others|shape", lambda t, o: _by(t, t))
wrong("09.e", "ddof|n ?[-−] ?1|unbiased", lambda t, o: _by(o, t, ddof=1))
wrong(
    "09.e",
    "own mean|others|mean",
    lambda t, o: (o - o.mean((0, 2, 3), keepdims=True)) / t.std((0, 2, 3), keepdims=True),
)
wrong(
    "09.e",
    "multipl",
    lambda t, o: (o - t.mean((0, 2, 3), keepdims=True)) * t.std((0, 2, 3), keepdims=True),
)
