"""Chapter 06: many heads."""

import numpy as np

from minivit.course import right
from minivit.course.exercise import Exercise, Hard, Mistake, add
from minivit.functional import linear_backward, linear_forward, merge_heads, split_heads

SHAPES = ((2, 5, 3, 4), (3, 4, 2, 5), (1, 6, 4, 3))  # B, T, H, D


# 06.a: parameters at C = 192

add(
    Exercise(
        name="06.a",
        answer=4 * 192**2 + 4 * 192,
        mistakes=(
            Mistake("the biases were left out: 3C of the packed layer, C of the output projection",
                    4 * 192**2),
            Mistake("the output projection was left out", 3 * 192**2 + 3 * 192),
            Mistake("the output projection was counted without its bias", 4 * 192**2 + 3 * 192),
            Mistake("the packed layer was counted without its bias", 4 * 192**2 + 192),
            Mistake("only one of q, k and v was counted; the packed layer computes all three",
                    2 * 192**2 + 2 * 192),
            Mistake("each head was given the whole width; the heads share the width, so their "
                    "number does not matter", 3 * (4 * 192**2 + 4 * 192)),
            Mistake("one head alone was counted, with matrices (C, D)",
                    4 * 192 * 64 + 4 * 64),
        ),
    )
)  # fmt: skip


# 06.b: split_heads(qkv, num_heads) -> q, k, v


def _draw_packed(rng: np.random.Generator, size: int) -> tuple:
    B, T, H, D = SHAPES[size]
    return rng.standard_normal((B, T, 3 * H * D)), H


def _split(*shape_and_order):
    """A wrong answer: reshape to the named axes, then transpose to the given order."""
    names, order = shape_and_order

    def wrong(qkv, num_heads):
        B, T, columns = qkv.shape
        sizes = {"B": B, "T": T, "3": 3, "H": num_heads, "D": columns // 3 // num_heads}
        cut = qkv.reshape([sizes[name] for name in names])
        return tuple(cut.transpose([names.index(name) for name in order]))

    return wrong


def _values_first(qkv, num_heads):
    return split_heads(qkv, num_heads)[::-1]


def _keys_first(qkv, num_heads):
    q, k, v = split_heads(qkv, num_heads)
    return k, q, v


add(
    Exercise(
        name="06.b",
        warm_up=True,
        hard=(
            Hard("for one head and one token",
                 lambda rng: (rng.standard_normal((2, 1, 12)), 1)),
        ),
        answer=right.split_heads,
        outputs=("q", "k", "v"),
        inputs=_draw_packed,
        mistakes=(
            Mistake("the array was reshaped to (3, B, H, T, D) at once: reshape moves no numbers, "
                    "so tokens and heads are mixed up; split first, then transpose",
                    _split("3BHTD", "3BHTD")),
            Mistake("the array was reshaped to (B, 3, H, T, D): a token's numbers are contiguous, "
                    "so T must come before them", _split("B3HTD", "3BHTD")),
            Mistake("the columns were cut as (H, 3, D), each head with its own q, k and v; here "
                    "all queries come first, then all keys, then all values",
                    _split("BTH3D", "3BHTD")),
            Mistake("the columns were cut as (3, D, H): the numbers of one head are contiguous, so "
                    "D is the last axis", _split("BT3DH", "3BHTD")),
            Mistake("the columns were cut as (H, D, 3): q, k and v were taken alternately",
                    _split("BTHD3", "3BHTD")),
            Mistake("keys and queries are swapped", _keys_first),
            Mistake("the order is v, k, q; the packed columns are q, k, v", _values_first),
        ),
    )
)  # fmt: skip


# 06.c: merge_heads(heads) -> merged


def _draw_heads(rng: np.random.Generator, size: int) -> tuple:
    B, T, H, D = SHAPES[size]
    return (rng.standard_normal((B, H, T, D)),)


def _joined(heads, order):
    B, H, T, D = heads.shape
    return heads.transpose(order).reshape(B, T, H * D)


add(
    Exercise(
        name="06.c",
        warm_up=True,
        hard=(
            Hard("for one head",
                 lambda rng: (rng.standard_normal((2, 1, 3, 4)),)),
        ),
        answer=right.merge_heads,
        outputs=("merged",),
        inputs=_draw_heads,
        mistakes=(
            Mistake("the heads were reshaped without swapping axes first: T is between H and D, "
                    "and reshape merges only adjacent axes", lambda h: _joined(h, (0, 1, 2, 3))),
            Mistake("the numbers of the heads were interleaved; a head's D numbers stay together, "
                    "so D is the last axis before merging",
                    lambda h: _joined(h, (0, 2, 3, 1))),
            Mistake("the last two axes were swapped instead of heads and tokens",
                    lambda h: _joined(h, (0, 1, 3, 2))),
            Mistake("the heads are in reverse order", lambda h: merge_heads(h[:, ::-1])),
        ),
    )
)  # fmt: skip


# 06.d: qkv_backward(dq, dk, dv, x, qkv_weight) -> dx, dqkv_weight, dqkv_bias


def _draw_backward(rng: np.random.Generator, size: int) -> tuple:
    B, T, H, D = SHAPES[size]
    C = H * D
    heads = (rng.standard_normal((B, H, T, D)) for _ in range(3))
    return *heads, rng.standard_normal((B, T, C)), rng.standard_normal((C, 3 * C))


def _packed(dq, dk, dv):
    return np.concatenate([merge_heads(part) for part in (dq, dk, dv)], -1)


def _with_packed(pack):
    """The right answer, or a wrong one whose packed gradient is pack(dq, dk, dv)."""

    def answer(dq, dk, dv, x, qkv_weight):
        return linear_backward(pack(dq, dk, dv), (x, qkv_weight))

    return answer


def _plain_reshape(dq, dk, dv):
    B, H, T, D = dq.shape
    return np.stack([dq, dk, dv], 1).reshape(B, T, 3 * H * D)


def _reshaped_heads(dq, dk, dv):
    B, H, T, D = dq.shape
    return np.concatenate([part.reshape(B, T, H * D) for part in (dq, dk, dv)], -1)


def _head_by_head(dq, dk, dv):
    B, H, T, D = dq.shape
    return np.stack([dq, dk, dv]).transpose(1, 3, 2, 0, 4).reshape(B, T, 3 * H * D)


def _averaged(dq, dk, dv, x, qkv_weight):
    dx, dweight, dbias = _with_packed(_packed)(dq, dk, dv, x, qkv_weight)
    rows = x.shape[0] * x.shape[1]
    return dx, dweight / rows, dbias / rows


def _mean_over_batch(dq, dk, dv, x, qkv_weight):
    dx, dweight, dbias = _with_packed(_packed)(dq, dk, dv, x, qkv_weight)
    return dx, dweight / len(x), dbias / len(x)


def _last_image(dq, dk, dv, x, qkv_weight):
    dx, *_ = _with_packed(_packed)(dq, dk, dv, x, qkv_weight)
    _, dweight, dbias = _with_packed(_packed)(dq[-1:], dk[-1:], dv[-1:], x[-1:], qkv_weight)
    return dx, dweight, dbias


def _only(part):
    def wrong(dq, dk, dv, x, qkv_weight):
        kept = [d if i == part else np.zeros_like(d) for i, d in enumerate((dq, dk, dv))]
        _, dweight, dbias = _with_packed(_packed)(dq, dk, dv, x, qkv_weight)
        return _with_packed(_packed)(*kept, x, qkv_weight)[0], dweight, dbias

    return wrong


def _qkv_loss(dq, dk, dv, x, qkv_weight):
    x, qkv_weight, bias = x.copy(), qkv_weight.copy(), np.zeros(qkv_weight.shape[1])

    def objective() -> float:
        made = split_heads(linear_forward(x, qkv_weight, bias)[0], dq.shape[1])
        return float(sum((d * m).sum() for d, m in zip((dq, dk, dv), made, strict=True)))

    return objective, {"dx": x, "dqkv_weight": qkv_weight, "dqkv_bias": bias}


add(
    Exercise(
        name="06.d",
        warm_up=True,
        hard=(
            Hard("for one image and one head",
                 lambda rng: (
                     *rng.standard_normal((3, 1, 1, 3, 4)), rng.standard_normal((1, 3, 4)),
                     rng.standard_normal((4, 12)))),
        ),
        answer=right.qkv_backward,
        outputs=("dx", "dqkv_weight", "dqkv_bias"),
        inputs=_draw_backward,
        forward=_qkv_loss,
        mistakes=(
            Mistake("the stacked gradients were reshaped without a transpose: reshape moves no "
                    "numbers, so tokens and heads are mixed up", _with_packed(_plain_reshape)),
            Mistake("each of dq, dk and dv was reshaped to (B, T, C) without swapping heads and "
                    "tokens first", _with_packed(_reshaped_heads)),
            Mistake("the columns were packed head by head, each with its q, k and v; here all "
                    "queries come first, then all keys, then all values",
                    _with_packed(_head_by_head)),
            Mistake("dk was packed before dq", _with_packed(lambda q, k, v: _packed(k, q, v))),
            Mistake("dv was packed first and dq last",
                    _with_packed(lambda q, k, v: _packed(v, k, q))),
            Mistake("dx contains only the query's part: x was used three times, so three gradients "
                    "add up", _only(0)),
            Mistake("dx contains only the key's part: x was used three times, so three gradients "
                    "add up", _only(1)),
            Mistake("dx contains only the value's part: x was used three times, so three gradients "
                    "add up", _only(2)),
            Mistake("the tokens were averaged; each of them used the weight, so the gradients of "
                    "weight and bias are sums", _averaged),
            Mistake("the images were averaged; each of them used the weight, so the gradients of "
                    "weight and bias are sums", _mean_over_batch),
            Mistake("only the last image counts for weight and bias: was the gradient overwritten "
                    "in a loop? Sum over the batch", _last_image),
        ),
    )
)  # fmt: skip


# 06.e: where maps and projections cost the same

add(
    Exercise(
        name="06.e",
        answer=2 * 768,
        mistakes=(
            Mistake("only the packed projection was counted, 6TC²; the output projection adds 2TC²",
                    1.5 * 768),
            Mistake("only one of two products was counted: one computes the scores, the other "
                    "multiplies the weights by the values", 4 * 768),
            Mistake("T² was set equal to C²; their factors are 4C and 8T", 768),
            Mistake("this uses the size of one head, 64; all 12 heads together have C numbers",
                    2 * 64),
        ),
    )
)  # fmt: skip
