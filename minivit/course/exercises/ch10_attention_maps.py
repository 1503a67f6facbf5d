"""Chapter 10: attention maps."""

import math

import numpy as np

from minivit.course import right_further
from minivit.course.exercise import Exercise, Hard, Mistake, add, gradient_of
from minivit.functional import AttentionCache, attention_backward, softmax_backward, softmax_forward
from minivit.viz.maps import fuse_heads


def _maps(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Random attention maps: rows that sum to 1."""
    return softmax_forward(1.5 * rng.standard_normal(shape))[0]


# 10.a: class_maps(probs, rows, columns) -> (B, H, rows, columns)

GRIDS = ((2, 3, 4, 2), (3, 2, 2, 5), (1, 4, 3, 4))  # B, H, rows, columns


def _draw_grid(rng: np.random.Generator, size: int) -> tuple:
    B, H, rows, columns = GRIDS[size]
    T = 1 + rows * columns
    return _maps(rng, B, H, T, T), rows, columns


def _laid_out(cut):
    """An answer from the numbers of an image: cut(probs) -> (B, H, rows·columns)."""

    def answer(probs, rows, columns):
        return cut(probs).reshape(*probs.shape[:2], rows, columns)

    return answer


def _swapped_grid(probs, rows, columns):
    B, H = probs.shape[:2]
    return probs[:, :, 0, 1:].reshape(B, H, columns, rows).swapaxes(-1, -2)


def _to_sum_one(probs):
    row = probs[:, :, 0, 1:]
    return row / row.sum(-1, keepdims=True)


add(
    Exercise(
        name="10.a",
        answer=right_further.class_maps,
        outputs=("the maps",),
        inputs=_draw_grid,
        mistakes=(
            Mistake(
                "column 0 was taken: that is who asks the class token. What the class token asks "
                "stands in row 0",
                _laid_out(lambda probs: probs[:, :, 1:, 0]),
            ),
            Mistake(
                "the last token was left out and the class token kept: it is token 0, and has no "
                "place in the image",
                _laid_out(lambda probs: probs[:, :, 0, :-1]),
            ),
            Mistake(
                "the last row was taken, which is what the last patch asks; the class token is the "
                "first",
                _laid_out(lambda probs: probs[:, :, -1, 1:]),
            ),
            Mistake(
                "the mean of all rows was taken: so one does where there is no class token",
                _laid_out(lambda probs: probs[..., 1:].mean(2)),
            ),
            Mistake(
                "the patches were laid out down the columns; they are numbered along the rows",
                _swapped_grid,
            ),
            Mistake(
                "each map was made to sum to 1; then one no longer sees how much the class token "
                "kept for itself",
                _laid_out(_to_sum_one),
            ),
        ),
    )
)  # fmt: skip


# 10.b: fuse_max(probs) -> (B, T, T), rows that sum to 1

STACKS = ((2, 3, 5), (3, 4, 6), (1, 2, 7))  # B, H, T


def _draw_probs(rng: np.random.Generator, size: int) -> tuple:
    B, H, T = STACKS[size]
    return (_maps(rng, B, H, T, T),)


def _shares(fused, axis=-1):
    return fused / fused.sum(axis, keepdims=True)


add(
    Exercise(
        name="10.b",
        answer=right_further.fuse_max,
        outputs=("the fused map",),
        inputs=_draw_probs,
        mistakes=(
            Mistake("the rows do not sum to 1: the largest of several shares add up to more than 1",
                    lambda probs: probs.max(1)),
            Mistake("the mean of the heads was taken; here it is the largest",
                    lambda probs: probs.mean(1)),
            Mistake("the smallest of the heads was taken; here it is the largest",
                    lambda probs: _shares(probs.min(1))),
            Mistake("the columns were made to sum to 1; a token's shares are a row, axis=-1",
                    lambda probs: _shares(probs.max(1), -2)),
            Mistake("each map was divided by its whole sum; every row sums to 1 by itself",
                    lambda probs: _shares(probs.max(1), (-2, -1))),
            Mistake("each row was divided by its largest share and not by its sum",
                    lambda probs: probs.max(1) / probs.max(1).max(-1, keepdims=True)),
        ),
    )
)  # fmt: skip


# 10.c: rollout(maps) -> (N, T, T)

LAYERS = ((2, 3, 2, 4), (3, 2, 4, 5), (4, 1, 3, 6))  # L, N, H, T


def _draw_maps(rng: np.random.Generator, size: int) -> tuple:
    L, N, H, T = LAYERS[size]
    return (_maps(rng, L, N, H, T, T),)


def _rolled(maps, *, fuse="mean", own=1, axis=-1, upwards=True):
    """Rollout, right but for what is said."""
    steps = fuse_heads(maps, fuse) + own * np.eye(maps.shape[-1], dtype=maps.dtype)
    if axis is not None:
        steps = steps / steps.sum(axis, keepdims=True)
    total = steps[0]
    for step in steps[1:]:
        total = step @ total if upwards else total @ step
    return total


add(
    Exercise(
        name="10.c",
        warm_up=True,
        hard=(
            Hard("of one layer and one head",
                 lambda rng: (_maps(rng, 1, 2, 1, 3, 3),)),
        ),
        answer=right_further.rollout,
        outputs=("the rollout",),
        inputs=_draw_maps,
        mistakes=(
            Mistake("the identity was left out: through the residual connection a token also hands "
                    "on itself", lambda maps: _rolled(maps, own=0)),
            Mistake("the rows were not made to sum to 1 again after the identity was added",
                    lambda maps: _rolled(maps, axis=None)),
            Mistake("the columns were made to sum to 1; a token's shares are a row, axis=-1",
                    lambda maps: _rolled(maps, axis=-2)),
            Mistake("the layers were multiplied in the wrong order: a later layer asks for what "
                    "the earlier ones have mixed, so it stands on the left",
                    lambda maps: _rolled(maps, upwards=False)),
            Mistake("only the last layer was taken; rollout goes through all of them",
                    lambda maps: _rolled(maps[-1:])),
            Mistake("the largest of the heads was taken; here it is their mean",
                    lambda maps: _rolled(maps, fuse="max")),
        ),
    )
)  # fmt: skip


# 10.d: dprobs(dout, probs, v) -> dprobs, where out = probs @ v

HEADS = ((2, 3, 4, 5), (3, 2, 6, 3), (1, 4, 5, 2))  # B, H, T, D


def _draw_head(rng: np.random.Generator, size: int) -> tuple:
    B, H, T, D = HEADS[size]
    dout, v = rng.standard_normal((2, B, H, T, D))
    return dout, _maps(rng, B, H, T, T), v


def _dprobs(dout, probs, v):
    dprobs = np.empty_like(probs)
    nothing = np.zeros_like(v)  # queries and keys, which this gradient does not ask for
    attention_backward(dout, AttentionCache(nothing, nothing, v, probs, None), dprobs=dprobs)
    return dprobs


def _turned(x):
    return x.swapaxes(-1, -2)


add(
    Exercise(
        name="10.d",
        answer=right_further.dprobs,
        outputs=("dprobs",),
        inputs=_draw_head,
        forward=gradient_of(lambda probs, v: probs @ v, "dprobs"),
        mistakes=(
            Mistake("it is transposed: row i belongs to the token that asks, and dout[i] to row i",
                    lambda dout, probs, v: v @ _turned(dout)),
            Mistake("that is the gradient of the scores, on the other side of softmax; here it is "
                    "the map itself that moves",
                    lambda dout, probs, v: softmax_backward(dout @ _turned(v), probs)),
            Mistake("it was divided by √D, which belongs to the scores and not to the map",
                    lambda dout, probs, v: dout @ _turned(v) / math.sqrt(v.shape[-1])),
            Mistake("it was multiplied by the map: relevance does that, but it is no part of the "
                    "gradient", lambda dout, probs, v: probs * (dout @ _turned(v))),
            Mistake("dout was left out: the chain rule multiplies by what arrives from above",
                    lambda dout, probs, v: np.ones_like(dout) @ _turned(v)),
        ),
    )
)  # fmt: skip


# 10.e: relevance(maps, dmaps) -> (N, T, T)


def _draw_both(rng: np.random.Generator, size: int) -> tuple:
    (maps,) = _draw_maps(rng, size)
    return maps, rng.standard_normal(maps.shape)


def _related(weigh, *, keep=False, upwards=True, mix=True):
    """Relevance, right but for what is said. weigh(maps, dmaps) -> (L, N, T, T)."""

    def answer(maps, dmaps):
        weighted = weigh(maps, dmaps)
        identity = np.eye(maps.shape[-1], dtype=maps.dtype)
        total = np.broadcast_to(identity, weighted.shape[1:])
        for layer in weighted:
            added = (layer @ total if upwards else total @ layer) if mix else layer
            total = total + added
        return total if keep else total - identity

    return answer


def _positive(maps, dmaps):
    return np.maximum(maps * dmaps, 0).mean(2)


add(
    Exercise(
        name="10.e",
        answer=right_further.relevance,
        outputs=("the relevance",),
        inputs=_draw_both,
        mistakes=(
            Mistake("the mean over the heads was taken before the negative part was cut off: heads "
                    "that speak against the class then cancel those that speak for it",
                    _related(lambda p, dp: np.maximum((p * dp).mean(2), 0))),
            Mistake("the negative part was not cut off",
                    _related(lambda p, dp: (p * dp).mean(2))),
            Mistake("the size was taken (abs): what speaks against the class then counts for it",
                    _related(lambda p, dp: np.abs(p * dp).mean(2))),
            Mistake("the gradient was left out: that map is the same for every class",
                    _related(lambda p, dp: p.mean(2))),
            Mistake("the map was left out: a gradient counts by as much as is attended to",
                    _related(lambda p, dp: np.maximum(dp, 0).mean(2))),
            Mistake("the identity is still there; it is taken away at the end",
                    _related(_positive, keep=True)),
            Mistake("the new layer was multiplied from the right; a later layer asks for what the "
                    "earlier ones have gathered, so it stands on the left",
                    _related(_positive, upwards=False)),
            Mistake("the layers were added up without a product: what was gathered before must go "
                    "through the new layer", _related(_positive, mix=False)),
        ),
    )
)  # fmt: skip
