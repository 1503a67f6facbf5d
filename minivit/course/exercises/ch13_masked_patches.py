"""Chapter 13: masked patch prediction."""

import numpy as np

from minivit.course import right_further
from minivit.course.exercise import Exercise, Hard, Mistake, add
from minivit.functional import (
    corrupt_forward,
    take_tokens_forward,
)

# 13.a: how many of 64 patches become the mask, on average

add(
    Exercise(
        name="13.a",
        answer=25.6,
        mistakes=(
            Mistake(
                "that is 80 % of all patches; 80 % of the corrupted patches become the mask", 51.2
            ),
            Mistake("that is how many are corrupted; not all of them become the mask", 32),
            Mistake("the patches that are replaced by another patch were counted, too", 28.8),
            Mistake("that is how many are replaced by another patch", 3.2),
        ),
    )
)


# 13.b: colors(pixels, P) -> the class of each patch's mean color

SIZES = ((2, 4, 6, 2), (3, 8, 4, 4), (2, 6, 9, 3))  # B, H, W, P


def _draw_pixels(rng: np.random.Generator, size: int) -> tuple:
    B, H, W, P = SIZES[size]
    coarse = rng.random((B, 3, H // P, W // P)).repeat(P, axis=2).repeat(P, axis=3)
    pixels = np.clip(coarse + 0.3 * rng.standard_normal((B, 3, H, W)), 0.0, 1.0)
    pixels[:, :, :P, :P] = 1.0  # a white patch: the highest level of each channel
    return pixels, P


def _means(pixels, P):
    B, C, H, W = pixels.shape
    return pixels.reshape(B, C, H // P, P, W // P, P).mean((3, 5))


def _number(steps, weights=(64, 8, 1)):
    """steps (B, 3, rows, columns) -> (B, N)"""
    number = sum(weight * steps[:, c] for c, weight in enumerate(weights))
    return number.reshape(len(number), -1).astype(np.int64)


def _steps(pixels, P):
    return np.minimum(np.floor(8 * _means(pixels, P)), 7)


def _steps_first(pixels, P):
    return _number(np.floor(_means(np.minimum(np.floor(8 * pixels), 7), P)))


add(
    Exercise(
        name="13.b",
        warm_up=True,
        grown=lambda rng, n: (rng.random((n, 3, 2 * n, 2 * n)), 2),
        answer=right_further.colors,
        outputs=("colors",),
        inputs=_draw_pixels,
        mistakes=(
            Mistake("a mean of exactly 1 gives level 8; there are only 0 to 7",
                    lambda x, P: _number(np.floor(8 * _means(x, P)))),
            Mistake("the mean was multiplied by 7 and truncated: then only pure white reaches "
                    "level 7",
                    lambda x, P: _number(np.floor(7 * _means(x, P)))),
            Mistake("the levels were rounded; truncate them, so that all eight are equally wide",
                    lambda x, P: _number(np.minimum(np.rint(8 * _means(x, P)), 7))),
            Mistake("blue counts 64 and red 1; red comes first",
                    lambda x, P: _number(_steps(x, P), (1, 8, 64))),
            Mistake("the three levels were added without place values: many colors then have the "
                    "same number",
                    lambda x, P: _number(_steps(x, P), (1, 1, 1))),
            Mistake("the place values are 100 and 10; with eight levels they are 64 and 8",
                    lambda x, P: _number(_steps(x, P), (100, 10, 1))),
            Mistake("each pixel was reduced to three bits before averaging; average first",
                    _steps_first),
            Mistake("the patches are in column order; reading order is row by row",
                    lambda x, P: _number(_steps(x, P).swapaxes(2, 3))),
        ),
    )
)  # fmt: skip


# 13.c: corrupt_backward(dy, selection, masked) -> dx, dmask_token

TOKENS = ((2, 5, 3), (3, 7, 4), (4, 6, 5))  # B, N, C


def _draw_corrupted(rng: np.random.Generator, size: int) -> tuple:
    B, N, C = TOKENS[size]
    masked = (rng.random((B, N)) < 0.4).astype(float)
    masked[:, :3] = (1.0, 0.0, 0.0)
    source = np.where(rng.random((B, N)) < 0.6, rng.integers(N, size=(B, N)), np.arange(N))
    source[:, 1:3] = (0, 0)  # one token in two places
    selection = np.eye(N)[source] * (1.0 - masked)[..., None]
    return rng.standard_normal((B, N, C)), selection, masked


_corrupted = right_further.corrupt_backward


def _with_dx(formula):
    def wrong(dy, selection, masked):
        return formula(dy, selection, masked), _corrupted(dy, selection, masked)[1]

    return wrong


def _with_dmask(formula):
    def wrong(dy, selection, masked):
        dmask = formula(dy, masked[..., None]).astype(dy.dtype)
        return _corrupted(dy, selection, masked)[0], dmask

    return wrong


def _corrupt_loss(dy, selection, masked):
    x, mask_token = np.zeros_like(dy), np.zeros((1, 1, dy.shape[-1]))

    def objective() -> float:
        return float((dy * corrupt_forward(x, mask_token, selection, masked)[0]).sum())

    return objective, {"dx": x, "dmask_token": mask_token}


add(
    Exercise(
        name="13.c",
        grown=lambda rng, n: (
            rng.standard_normal((n, 2 * n, 3)), rng.random((n, 2 * n, 2 * n)),
            rng.random((n, 2 * n))),
        answer=right_further.corrupt_backward,
        outputs=("dx", "dmask_token"),
        inputs=_draw_corrupted,
        forward=_corrupt_loss,
        mistakes=(
            Mistake("S was not transposed: forward moves token j to place i, so backward moves i's "
                    "gradient to j", _with_dx(lambda dy, S, m: S @ dy)),
            Mistake("dy was passed on unchanged: a hidden token was not used and gets zero; a "
                    "token that replaced another one gets the gradient of that place",
                    _with_dx(lambda dy, S, m: dy)),
            Mistake("dy was only set to zero at masked places; tokens that replaced others were "
                    "forgotten", _with_dx(lambda dy, S, m: dy * (1 - m)[..., None])),
            Mistake("the mask token's gradient went to the hidden tokens as well",
                    _with_dx(lambda dy, S, m: S.swapaxes(1, 2) @ dy + m[..., None] * dy)),
            Mistake("dmask_token was averaged; the token was used in many places, so its gradient "
                    "is the sum over them",
                    _with_dmask(lambda dy, m: (dy * m).sum((0, 1), keepdims=True) / m.sum())),
            Mistake("dmask_token is the sum over all places; only masked places count",
                    _with_dmask(lambda dy, m: dy.sum((0, 1), keepdims=True))),
            Mistake("dmask_token is the sum over the places that were not masked",
                    _with_dmask(lambda dy, m: (dy * (1 - m)).sum((0, 1), keepdims=True))),
            Mistake("dmask_token was summed over the first image only",
                    _with_dmask(lambda dy, m: (dy * m)[:1].sum((0, 1), keepdims=True))),
        ),
    )
)  # fmt: skip


# 13.d: take_tokens_backward(dy, rows, T) -> dx


def _draw_taken(rng: np.random.Generator, size: int) -> tuple:
    B, T, C = TOKENS[size]
    M = T // 2 + size
    M = min(M, T - 1)
    rows = np.sort(np.stack([rng.permutation(T)[:M] for _ in range(B)]), axis=1)
    rows[0], rows[1] = np.arange(M) + 1, np.arange(M)  # not the same in each image
    return rng.standard_normal((B, M, C)), rows, T


_scatter = right_further.take_backward


def _first_rows(dy, rows, T):
    return _scatter(dy, np.repeat(rows[:1], len(rows), 0), T)


def _at_the_front(dy, rows, T):
    return _scatter(dy, np.tile(np.arange(rows.shape[1]), (len(rows), 1)), T)


def _reversed_rows(dy, rows, T):
    return _scatter(dy, rows[:, ::-1], T)


def _mixed_images(dy, rows, T):
    dx = np.zeros((len(dy), T, dy.shape[-1]), dy.dtype)
    for b in range(len(dy)):
        dx[:, rows[b]] += dy[b]
    return dx


def _take_loss(dy, rows, T):
    x = np.zeros((len(dy), T, dy.shape[-1]))
    return lambda: float((dy * take_tokens_forward(x, rows)[0]).sum()), {"dx": x}


add(
    Exercise(
        name="13.d",
        hard=(
            Hard("for rows that are not sorted",
                 lambda rng: (rng.standard_normal((2, 3, 2)), np.array([[4, 0, 2], [1, 3, 0]]), 5)),
        ),
        answer=right_further.take_backward,
        outputs=("dx",),
        inputs=_draw_taken,
        forward=_take_loss,
        mistakes=(
            Mistake('the rows were sorted; gradient m belongs to rows[m], in any order',
                    lambda dy, rows, T: _scatter(dy, np.sort(rows, 1), T)),
            Mistake("the first image's rows were used for all; each image has its own rows",
                    _first_rows),
            Mistake("the gradients were put at the first M places; they belong where their tokens "
                    "came from", _at_the_front),
            Mistake("the rows are off by one: was the class token counted twice?",
                    lambda dy, rows, T: _scatter(dy, (rows + 1) % T, T)),
            Mistake("the rows were used in reverse order", _reversed_rows),
            Mistake("dx[:, rows] combines every image with every row; pair them: "
                    "dx[np.arange(B)[:, None], rows]", _mixed_images),
            Mistake("tokens that were not taken got a gradient, too: they do not affect the loss, "
                    "so their gradient is zero",
                    lambda dy, rows, T: _scatter(dy, rows, T) + dy.mean(1, keepdims=True)),
        ),
    )
)  # fmt: skip
