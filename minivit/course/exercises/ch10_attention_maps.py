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
    """An answer from the numbers of each image: cut(probs) -> (B, H, rows·columns)."""

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
                "column 0 was used, which says how much each token attends to the class token. "
                "What the class token attends to is in row 0",
                _laid_out(lambda probs: probs[:, :, 1:, 0]),
            ),
            Mistake(
                "the last token was left out and the class token kept: the class token is token 0 "
                "and has no place in the image",
                _laid_out(lambda probs: probs[:, :, 0, :-1]),
            ),
            Mistake(
                "the last row was used, which is the last patch's query; the class token comes "
                "first",
                _laid_out(lambda probs: probs[:, :, -1, 1:]),
            ),
            Mistake(
                "the mean of all rows was used, as for a model without a class token",
                _laid_out(lambda probs: probs[..., 1:].mean(2)),
            ),
            Mistake(
                "the patches were laid out down the columns; they are numbered along the rows",
                _swapped_grid,
            ),
            Mistake(
                "each map was normalized to sum to 1, which hides how much the class token "
                "attends to itself",
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


def _normalized(fused, axis=-1):
    return fused / fused.sum(axis, keepdims=True)


add(
    Exercise(
        name="10.b",
        answer=right_further.fuse_max,
        outputs=("the fused map",),
        inputs=_draw_probs,
        mistakes=(
            Mistake("the rows do not sum to 1: maxima over several heads sum to more than 1",
                    lambda probs: probs.max(1)),
            Mistake("the mean of the heads was taken instead of the maximum",
                    lambda probs: probs.mean(1)),
            Mistake("the minimum of the heads was taken instead of the maximum",
                    lambda probs: _normalized(probs.min(1))),
            Mistake("the columns were normalized to sum to 1; a token's weights are a row, axis=-1",
                    lambda probs: _normalized(probs.max(1), -2)),
            Mistake("each map was divided by its total sum; each row should sum to 1",
                    lambda probs: _normalized(probs.max(1), (-2, -1))),
            Mistake("each row was divided by its largest weight instead of its sum",
                    lambda probs: probs.max(1) / probs.max(1).max(-1, keepdims=True)),
        ),
    )
)  # fmt: skip


# 10.c: rollout(maps) -> (N, T, T)

LAYERS = ((2, 3, 2, 4), (3, 2, 4, 5), (4, 1, 3, 6))  # L, N, H, T


def _draw_maps(rng: np.random.Generator, size: int) -> tuple:
    L, N, H, T = LAYERS[size]
    return (_maps(rng, L, N, H, T, T),)


def _rolled(maps, *, fuse="mean", identity=1, axis=-1, upwards=True):
    """Rollout, right except for the given change."""
    steps = fuse_heads(maps, fuse) + identity * np.eye(maps.shape[-1], dtype=maps.dtype)
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
            Hard("for one layer and one head",
                 lambda rng: (_maps(rng, 1, 2, 1, 3, 3),)),
        ),
        answer=right_further.rollout,
        outputs=("the rollout",),
        inputs=_draw_maps,
        mistakes=(
            Mistake("the identity was left out: through the residual connection a token also "
                    "passes on itself", lambda maps: _rolled(maps, identity=0)),
            Mistake("the rows were not renormalized to sum to 1 after adding the identity",
                    lambda maps: _rolled(maps, axis=None)),
            Mistake("the columns were normalized to sum to 1; a token's weights are a row, axis=-1",
                    lambda maps: _rolled(maps, axis=-2)),
            Mistake("the layers were multiplied in the wrong order: a later layer attends to what "
                    "the earlier ones have mixed, so it goes on the left",
                    lambda maps: _rolled(maps, upwards=False)),
            Mistake("only the last layer was used; rollout multiplies all of them",
                    lambda maps: _rolled(maps[-1:])),
            Mistake("the maximum of the heads was taken instead of their mean",
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
    nothing = np.zeros_like(v)  # queries and keys, which this gradient does not need
    attention_backward(dout, AttentionCache(nothing, nothing, v, probs, None), dprobs=dprobs)
    return dprobs


def _transposed(x):
    return x.swapaxes(-1, -2)


add(
    Exercise(
        name="10.d",
        answer=right_further.dprobs,
        outputs=("dprobs",),
        inputs=_draw_head,
        forward=gradient_of(lambda probs, v: probs @ v, "dprobs"),
        mistakes=(
            Mistake("it is transposed: row i belongs to query i, and dout[i] to row i",
                    lambda dout, probs, v: v @ _transposed(dout)),
            Mistake("that is the gradient of the scores, before softmax; here the gradient is with "
                    "respect to the map itself",
                    lambda dout, probs, v: softmax_backward(dout @ _transposed(v), probs)),
            Mistake("it was divided by √D, which belongs to the scores, not to the map",
                    lambda dout, probs, v: dout @ _transposed(v) / math.sqrt(v.shape[-1])),
            Mistake("it was multiplied by the map: relevance does that, but it is not part of the "
                    "gradient", lambda dout, probs, v: probs * (dout @ _transposed(v))),
            Mistake("dout was left out: the chain rule multiplies by the upstream gradient",
                    lambda dout, probs, v: np.ones_like(dout) @ _transposed(v)),
        ),
    )
)  # fmt: skip


# 10.e: relevance(maps, dmaps) -> (N, T, T)


def _draw_both(rng: np.random.Generator, size: int) -> tuple:
    (maps,) = _draw_maps(rng, size)
    return maps, rng.standard_normal(maps.shape)


def _related(weigh, *, keep=False, upwards=True, mix=True):
    """Relevance, right except for the given change. weigh(maps, dmaps) -> (L, N, T, T)."""

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
            Mistake("the mean over the heads was taken before clipping the negative part: heads "
                    "that oppose the class then cancel those that support it",
                    _related(lambda p, dp: np.maximum((p * dp).mean(2), 0))),
            Mistake("the negative part was not clipped",
                    _related(lambda p, dp: (p * dp).mean(2))),
            Mistake("the absolute value was taken: what opposes the class then counts for it",
                    _related(lambda p, dp: np.abs(p * dp).mean(2))),
            Mistake("the gradient was left out: that map is the same for every class",
                    _related(lambda p, dp: p.mean(2))),
            Mistake("the map was left out: weight the gradient by the attention",
                    _related(lambda p, dp: np.maximum(dp, 0).mean(2))),
            Mistake("the identity is still there; subtract it at the end",
                    _related(_positive, keep=True)),
            Mistake("the new layer was multiplied from the right; a later layer attends to what "
                    "the earlier ones have gathered, so it goes on the left",
                    _related(_positive, upwards=False)),
            Mistake("the layers were added without a product: what was gathered before must pass "
                    "through the new layer", _related(_positive, mix=False)),
        ),
    )
)  # fmt: skip
