"""Chapter 11: what was learned."""

import math

import numpy as np

from minivit.course import right_further
from minivit.course.exercise import Exercise, Mistake, add
from minivit.functional import softmax_forward
from minivit.viz.maps import entropy, patch_distances

# 11.a: cosine_similarity(x) -> (B, T, T)

SHAPES = ((2, 4, 5), (3, 5, 4), (1, 6, 3))  # B, T, C


def _draw_tokens(rng: np.random.Generator, size: int) -> tuple:
    return (rng.standard_normal(SHAPES[size]) + 0.5,)


def _products(x):
    return x @ x.swapaxes(-1, -2)


def _over_length(power):
    """Dot products divided by the product of the squared lengths, to a power."""

    def wrong(x):
        squares = (x * x).sum(-1)
        return _products(x) / (squares[:, :, None] * squares[:, None]) ** power

    return wrong


def _unit(x, axis):
    return x / np.linalg.norm(x, axis=axis, keepdims=True)


def _correlation(x):
    return _products(_unit(x - x.mean(-1, keepdims=True), -1))


add(
    Exercise(
        name="11.a",
        grown=lambda rng, n: (rng.standard_normal((n, 2 * n, 3)),),
        answer=right_further.cosines,
        outputs=("the similarity",),
        inputs=_draw_tokens,
        mistakes=(
            Mistake("those are the dot products: a long token would then be similar to everything",
                    _products),
            Mistake("it was divided by the squared lengths; the square root is missing",
                    _over_length(1.0)),
            Mistake("only one of the two tokens was divided by its length: the diagonal is not 1",
                    lambda x: _unit(x, -1) @ x.swapaxes(-1, -2)),
            Mistake("the length was taken over the tokens (axis 1) instead of over one token's "
                    "numbers, axis=-1", lambda x: _products(_unit(x, 1))),
            Mistake("the mean was subtracted first: that is a correlation",
                    _correlation),
            Mistake("it was divided by C: that gives the mean of the products, not a cosine",
                    lambda x: _products(x) / x.shape[-1]),
        ),
    )
)  # fmt: skip


# 11.b: explained_variance_ratio(points) -> (k,), the fractions of variance, largest first

CLOUDS = ((9, 4), (12, 5), (20, 3))  # points, numbers of each


def _draw_cloud(rng: np.random.Generator, size: int) -> tuple:
    points, width = CLOUDS[size]
    mixed = rng.standard_normal((points, width)) @ rng.standard_normal((width, width))
    return (mixed + rng.standard_normal(width),)


def _singular(points):
    return np.linalg.svd(points - points.mean(0), compute_uv=False)


def _fractions(x):
    return x / x.sum()


add(
    Exercise(
        name="11.b",
        answer=right_further.explained_variance_ratio,
        outputs=("the shares",),
        inputs=_draw_cloud,
        mistakes=(
            Mistake("the mean point was not subtracted: the first direction then points toward the "
                    "cloud instead of along it",
                    lambda points: _fractions(np.linalg.svd(points, compute_uv=False) ** 2)),
            Mistake("the singular values were not squared: they are proportional to standard "
                    "deviations, and variance is the square",
                    lambda points: _fractions(_singular(points))),
            Mistake("they are sorted in ascending order; the largest comes first",
                    lambda points: _fractions(_singular(points) ** 2)[::-1]),
            Mistake("those are cumulative sums: what the first k directions explain together",
                    lambda points: _fractions(_singular(points) ** 2).cumsum()),
            Mistake("those are the variances; divide them by their sum",
                    lambda points: _singular(points) ** 2 / len(points)),
            Mistake("those are the variances along the given axes, not along the principal "
                    "directions",
                    lambda points: np.sort(_fractions(points.var(0)))[::-1]),
        ),
    )
)  # fmt: skip


# 11.c: mean_distance(probs, rows, columns, P) -> (H,)

GRIDS = ((2, 3, 2, 3, 4), (3, 2, 4, 2, 8), (1, 4, 3, 4, 16))  # B, H, rows, columns, P


def _draw_grid(rng: np.random.Generator, size: int) -> tuple:
    B, H, rows, columns, P = GRIDS[size]
    T = 1 + rows * columns
    return softmax_forward(1.5 * rng.standard_normal((B, H, T, T)))[0], rows, columns, P


_distance = right_further.distance


def _from(probs, distances, *, renormalize=True):
    """(B, H, T, T) and (N, N) -> (H,)."""
    patches = probs[..., 1:, 1:]
    far = (patches * distances.astype(probs.dtype)).sum(-1)
    if renormalize:
        far = far / patches.sum(-1)
    return far.mean((0, 2))


def _steps(rows, columns):
    row, column = np.divmod(np.arange(rows * columns), columns)
    return abs(row[:, None] - row), abs(column[:, None] - column)


def _by_columns(probs, rows, columns, P):
    index = np.arange(rows * columns)
    row, column = index % rows, index // rows
    return _from(probs, P * np.hypot(row[:, None] - row, column[:, None] - column))


def _farthest(probs, rows, columns, P):
    distances = (P * patch_distances((rows, columns))).astype(probs.dtype)
    best = probs[..., 1:, 1:].argmax(-1)
    return distances[np.arange(rows * columns), best].mean((0, 2))


add(
    Exercise(
        name="11.c",
        answer=right_further.distance,
        outputs=("the distances",),
        inputs=_draw_grid,
        mistakes=(
            Mistake("the distances are in patches; multiply by P for pixels",
                    lambda p, rows, columns, P: _distance(p, rows, columns, 1)),
            Mistake("the weights of a row no longer sum to 1 once the class token is left out; "
                    "divide by their sum",
                    lambda p, rows, columns, P: _from(p, P * patch_distances((rows, columns)),
                                                      renormalize=False)),
            Mistake("the distances in rows and in columns were added (Manhattan distance); the "
                    "distance is the root of the sum of squares",
                    lambda p, rows, columns, P: _from(p, P * sum(_steps(rows, columns)))),
            Mistake("the square root is missing: those are squared distances",
                    lambda p, rows, columns, P: _from(p, (P * patch_distances((rows, columns)))
                                                      ** 2)),
            Mistake("the patches were laid out down the columns; they are numbered along the rows",
                    _by_columns),
            Mistake("the distance to the patch with the largest weight was taken; average over all "
                    "patches by their weights",
                    _farthest),
        ),
    )
)  # fmt: skip


# 11.d: entropy(probs) -> (B, H, T), in bits


def _draw_probs(rng: np.random.Generator, size: int) -> tuple:
    B, H, T = ((2, 3, 5), (3, 2, 6), (1, 4, 9))[size]
    scores = 1.5 * rng.standard_normal((B, H, T, T))
    scores[..., 1] -= 1000.0 * (rng.random((B, H, T)) < 0.5)  # weights of exactly zero
    return (softmax_forward(scores)[0],)


def _logs(probs, log=np.log2):
    return log(np.where(probs > 0, probs, 1))


add(
    Exercise(
        name="11.d",
        answer=right_further.entropy,
        outputs=("the entropy",),
        inputs=_draw_probs,
        mistakes=(
            Mistake("that is in nats; for bits use the logarithm to base 2",
                    lambda probs: -(probs * _logs(probs, np.log)).sum(-1)),
            Mistake("the minus sign is missing: logarithms of weights are negative, and entropy is "
                    "not",
                    lambda probs: (probs * _logs(probs)).sum(-1)),
            Mistake("the sum was taken over the queries (axis -2); a token's weights are a row, "
                    "axis=-1", lambda probs: -(probs * _logs(probs)).sum(-2)),
            Mistake("the mean over the tokens was taken instead of the sum",
                    lambda probs: -(probs * _logs(probs)).mean(-1)),
            Mistake("the logarithms were not multiplied by the weights",
                    lambda probs: -_logs(probs).sum(-1)),
            Mistake("it was divided by its maximum, log2 T: that is a fraction, not bits",
                    lambda probs: entropy(probs) / math.log2(probs.shape[-1])),
        ),
    )
)  # fmt: skip


# 11.e: a number: chance in a row of three patches of 16 pixels

add(
    Exercise(
        name="11.e",
        warm_up=True,
        answer=128 / 9,
        mistakes=(
            Mistake("the patch itself was left out: it also gets a third, at distance 0",
                    128 / 6),
            Mistake("only the patch in the middle was used; take the mean of all three", 32 / 3),
            Mistake("only a patch at the end was used; take the mean of all three", 16.0),
            Mistake("it is in patches instead of pixels", 8 / 9),
        ),
    )
)  # fmt: skip
