"""Chapter 02: tokens."""

import numpy as np

from minivit.course import right
from minivit.course.exercise import Exercise, Hard, Mistake, add
from minivit.functional import (
    class_token_forward,
    linear_forward,
    position_forward,
)

SHAPES = ((2, 3, 5, 4), (4, 5, 3, 6), (3, 6, 8, 5))  # B, N, numbers of a patch, C


# 02.a: embed(patches, weight, bias, cls_token, pos_embed) -> tokens


def _draw_embed(rng: np.random.Generator, size: int) -> tuple:
    B, N, numbers, C = SHAPES[size]
    shapes = (B, N, numbers), (numbers, C), (C,), (1, 1, C), (1, N + 1, C)
    return tuple(rng.standard_normal(shape) for shape in shapes)


_embed = right.embed


def _class_token_last(patches, weight, bias, cls_token, pos_embed):
    x, _ = linear_forward(patches, weight, bias)
    last = np.broadcast_to(cls_token, (len(x), 1, len(bias)))
    return np.concatenate([x, last], 1) + pos_embed


def _without_bias(patches, weight, bias, cls_token, pos_embed):
    return _embed(patches, weight, np.zeros_like(bias), cls_token, pos_embed)


def _bias_for_all(patches, weight, bias, cls_token, pos_embed):
    return _embed(patches, weight, bias, cls_token + bias, pos_embed)


def _no_class_position(patches, weight, bias, cls_token, pos_embed):
    return _embed(patches, weight, bias, cls_token - pos_embed[:, :1], pos_embed)


def _shifted_positions(patches, weight, bias, cls_token, pos_embed):
    x, _ = linear_forward(patches, weight, bias)
    return class_token_forward(x + pos_embed[:, :-1], cls_token)[0]


def _without_positions(patches, weight, bias, cls_token, pos_embed):
    return _embed(patches, weight, bias, cls_token, np.zeros_like(pos_embed))


def _zero_class_token(patches, weight, bias, cls_token, pos_embed):
    return _embed(patches, weight, bias, np.zeros_like(cls_token), pos_embed)


add(
    Exercise(
        name="02.a",
        warm_up=True,
        hard=(
            Hard("for one image",
                 lambda rng: tuple(
                     rng.standard_normal(s)
                     for s in ((1, 4, 3), (3, 5), (5,), (1, 1, 5), (1, 5, 5)))),
        ),
        answer=right.embed,
        outputs=("tokens",),
        inputs=_draw_embed,
        mistakes=(
            Mistake("the class token is after the patches; it comes first, where the head expects "
                    "it", _class_token_last),
            Mistake("the bias is missing: a linear layer is x W + b", _without_bias),
            Mistake("the class token got the bias too; it was never projected: the bias belongs to "
                    "the projection of the patches", _bias_for_all),
            Mistake("the class token has no position; it gets the first row of pos_embed, which "
                    "has N + 1 rows", _no_class_position),
            Mistake("the positions were added before the class token: patch n got row n instead of "
                    "row n + 1, and the class token got none", _shifted_positions),
            Mistake("the positions are missing: the tokens are a set without order",
                    _without_positions),
            Mistake("the first token is there, but it does not contain cls_token",
                    _zero_class_token),
        ),
    )
)  # fmt: skip


# 02.b: embed_backward(dout) -> dprojected, dcls_token, dpos_embed


def _draw_dout(rng: np.random.Generator, size: int) -> tuple:
    B, N, _, C = SHAPES[size]
    return (rng.standard_normal((B, N + 1, C)),)


_embed_backward = right.embed_backward


def _except(index, formula):
    """A wrong answer: the result with index `index` is formula(dout)."""

    def wrong(dout):
        results = list(_embed_backward(dout))
        results[index] = formula(dout)
        return tuple(results)

    return wrong


def _embed_loss(dout):
    B, T, C = dout.shape
    x, cls_token, pos_embed = np.zeros((B, T - 1, C)), np.zeros((1, 1, C)), np.zeros((1, T, C))

    def objective() -> float:
        tokens, _ = position_forward(class_token_forward(x, cls_token)[0], pos_embed)
        return float((dout * tokens).sum())

    return objective, {"dprojected": x, "dcls_token": cls_token, "dpos_embed": pos_embed}


add(
    Exercise(
        name="02.b",
        warm_up=True,
        hard=(
            Hard("for one image",
                 lambda rng: (rng.standard_normal((1, 4, 3)),)),
        ),
        answer=right.embed_backward,
        outputs=("dprojected", "dcls_token", "dpos_embed"),
        inputs=_draw_dout,
        forward=_embed_loss,
        mistakes=(
            Mistake("the patches' gradients were taken from the first N tokens; the class token "
                    "comes first, so they are the last N", _except(0, lambda d: d[:, :-1])),
            Mistake("the class token's gradient was subtracted from the patches'; a token's "
                    "gradient is passed on unchanged", _except(0, lambda d: d[:, 1:] - d[:, :1])),
            Mistake("the class token's gradient was averaged over the batch; every image used the "
                    "token, so its gradient is the sum",
                    _except(1, lambda d: d[:, :1].mean(0, keepdims=True))),
            Mistake("the class token's gradient was taken from the first image only; every image "
                    "used the token, so its gradient is the sum over the batch",
                    _except(1, lambda d: d[:1, :1])),
            Mistake("the class token's gradient was taken from the last token; the class token "
                    "comes first",
                    _except(1, lambda d: d[:, -1:].sum(0, keepdims=True))),
            Mistake("the class token's gradient was summed over all tokens, too; it comes from "
                    "token 0 only", _except(1, lambda d: d.sum((0, 1), keepdims=True))),
            Mistake("the positions' gradient was averaged over the batch; every image used the "
                    "positions, so their gradient is the sum",
                    _except(2, lambda d: d.mean(0, keepdims=True))),
            Mistake("the positions' gradient was taken from the first image only; every image used "
                    "the positions, so their gradient is the sum over the batch",
                    _except(2, lambda d: d[:1])),
            Mistake("the first row of the positions' gradient is missing: the class token has a "
                    "position too", _except(2, lambda d: np.concatenate(
                        [np.zeros_like(d[:1, :1]), d[:, 1:].sum(0, keepdims=True)], 1))),
        ),
    )
)  # fmt: skip


# 02.c: sincos(x, y, omega) -> table


def _draw_positions(rng: np.random.Generator, size: int) -> tuple:
    height, width, n = ((3, 4, 2), (5, 2, 3), (4, 6, 5))[size]
    y, x = np.divmod(np.arange(height * width), width)
    omega = rng.uniform(20, 200) ** -(np.arange(n) / (n - 1))
    return x.astype(float), y.astype(float), omega


def _parts(join):
    """A wrong answer computed from the angles of column and row, (N, n) each."""
    return lambda x, y, omega: join(x[:, None] * omega, y[:, None] * omega)


def _concatenate(*parts):
    return np.concatenate(parts, -1)


def _one_after_another(x, y):
    parts = np.stack([np.sin(x), np.cos(x), np.sin(y), np.cos(y)], -1)
    return parts.reshape(len(x), -1)


add(
    Exercise(
        name="02.c",
        grown=lambda rng, n: (*rng.standard_normal((2, 3 * n)), rng.random(n)),
        answer=right.sincos,
        outputs=("table",),
        inputs=_draw_positions,
        mistakes=(
            Mistake("row and column are swapped: the column x comes first",
                    _parts(lambda x, y: _concatenate(np.sin(y), np.cos(y), np.sin(x), np.cos(x)))),
            Mistake("the cosines come before the sines; here the sine is first",
                    _parts(lambda x, y: _concatenate(np.cos(x), np.sin(x), np.cos(y), np.sin(y)))),
            Mistake("both sines come first, then both cosines; the column's sine and cosine come "
                    "first, then the row's",
                    _parts(lambda x, y: _concatenate(np.sin(x), np.sin(y), np.cos(x), np.cos(y)))),
            Mistake("the four numbers of one frequency are side by side; here the n sines of the "
                    "column come first, then its n cosines, and so on", _parts(_one_after_another)),
            Mistake("the positions were divided by omega; with omega radians per position, the "
                    "angle at position x is x·omega",
                    lambda x, y, omega: _sincos_of(x, y, 1 / omega)),
            Mistake("the angles were multiplied by 2π; omega is an angle already, in radians",
                    lambda x, y, omega: _sincos_of(x, y, 2 * np.pi * omega)),
            Mistake("the angles were read as degrees and converted to radians; they are radians "
                    "already",
                    lambda x, y, omega: _sincos_of(x, y, np.pi / 180 * omega)),
            Mistake("the column was used twice; the last two parts belong to the row y",
                    lambda x, y, omega: _sincos_of(x, x, omega)),
        ),
    )
)  # fmt: skip


def _sincos_of(x, y, omega):
    join = lambda x, y: _concatenate(np.sin(x), np.cos(x), np.sin(y), np.cos(y))  # noqa: E731
    return _parts(join)(x, y, omega)


# 02.d: learned numbers of projection, class token, positions; Nano/4

C = 96
PROJECTION, POSITIONS = 4 * 4 * 3 * C + C, (8 * 8 + 1) * C

add(
    Exercise(
        name="02.d",
        answer=(PROJECTION, C, POSITIONS),
        outputs=("counts",),
        mistakes=(
            Mistake("the projection's bias was forgotten, one number for each of the C outputs",
                    (PROJECTION - C, C, POSITIONS)),
            Mistake("the class token was given no position: there are 65 places, not 64",
                    (PROJECTION, C, POSITIONS - C)),
            Mistake("the pixels of a patch were counted once instead of once for each of the three "
                    "colors",
                    (4 * 4 * C + C, C, POSITIONS)),
            Mistake("the bias was counted once per number of the patch; it has one number per "
                    "output", (4 * 4 * 3 * C + 4 * 4 * 3, C, POSITIONS)),
            Mistake("the projection was counted once per patch; all 64 share one",
                    (64 * PROJECTION, C, POSITIONS)),
        ),
    )
)  # fmt: skip
