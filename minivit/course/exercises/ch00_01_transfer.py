"""Chapters 00 and 01, beyond the text: pooled statistics, overlapping patches."""

import numpy as np

from minivit.course import right_transfer
from minivit.course.exercise import Exercise, Hard, Mistake, add

# 00.d: pooled(means, stds, sizes) -> mean, std


def _draw_files(rng: np.random.Generator, size: int) -> tuple:
    files, C = ((2, 3), (4, 3), (3, 1))[size]
    return (rng.uniform(0.2, 0.8, (files, C)), rng.uniform(0.05, 0.3, (files, C)),
            rng.integers(2, 90, files))  # fmt: skip


def _pooled_by(mean, variance):
    """A wrong answer: mean(means, weights), variance(means, stds, weights, mean)."""

    def wrong(means, stds, sizes):
        weights = sizes / sizes.sum()
        found = mean(means, weights)
        return found, np.sqrt(variance(means, stds, weights, found))

    return wrong


def _right_mean(means, weights):
    return weights @ means


add(
    Exercise(
        name="00.d",
        answer=right_transfer.pooled,
        outputs=("mean", "std"),
        inputs=_draw_files,
        hard=(
            Hard("for a single file",
                 lambda rng: (rng.random((1, 3)), rng.random((1, 3)), np.array([7]))),
            Hard("for two files whose images are all gray, a different gray in each",
                 lambda rng: (np.array([[0.1, 0.2], [0.7, 0.9]]), np.zeros((2, 2)),
                              np.array([30, 10]))),
        ),
        mistakes=(
            Mistake("the standard deviations were averaged. If the means of two files are far "
                    "apart, their joint standard deviation is larger than both. Average the "
                    "variances, and add the squared distance of each file's mean from the overall "
                    "mean",
                    _pooled_by(_right_mean, lambda m, s, weights, mean: (weights @ s) ** 2)),
            Mistake("the variances were averaged, but the spread of the files' means is missing",
                    _pooled_by(_right_mean, lambda m, s, weights, mean: weights @ s**2)),
            Mistake("every file has the same weight, whatever its size",
                    lambda m, s, sizes: right_transfer.pooled(m, s, np.ones_like(sizes))),
            Mistake("the mean is weighted by the sizes, but in the variance every file has the "
                    "same weight",
                    _pooled_by(_right_mean, lambda m, s, weights, mean: (
                        s**2 + (m - mean) ** 2).mean(0))),
            Mistake("the square root is missing: the variance was returned",
                    lambda m, s, sizes: (right_transfer.pooled(m, s, sizes)[0],
                                         right_transfer.pooled(m, s, sizes)[1] ** 2)),
            Mistake("the square of the mean was not subtracted from the mean of the squares",
                    _pooled_by(_right_mean, lambda m, s, weights, mean: weights @ (s**2 + m**2))),
        ),
    )
)  # fmt: skip


# 01.e: overlapping(images, P, S) -> patches; 01.f: its backward

WINDOWS = (((2, 3, 7, 5), 3, 2), ((3, 2, 6, 8), 4, 2), ((1, 2, 7, 9), 3, 1))  # (B, C, H, W), P, S


def _draw_windows(rng: np.random.Generator, size: int) -> tuple:
    shape, P, S = WINDOWS[size]
    return rng.standard_normal(shape), P, S


def _draw_dwindows(rng: np.random.Generator, size: int) -> tuple:
    return _dwindows(rng, *WINDOWS[size])


def _dwindows(rng, shape, P, S):
    B, C, H, W = shape
    N = ((H - P) // S + 1) * ((W - P) // S + 1)
    return rng.standard_normal((B, N, P * P * C)), shape, P, S


def _ordered(*axes):
    """A wrong answer: the axes (B, C, row of patches, column, row inside, column) in this order."""

    def wrong(images, P, S):
        B, C = images.shape[:2]
        windows = np.lib.stride_tricks.sliding_window_view(images, (P, P), (2, 3))
        return windows[:, :, ::S, ::S].transpose(axes).reshape(B, -1, P * P * C)

    return wrong


def _only(count):
    """A wrong answer: count(length, P, S) patches along each direction."""

    def wrong(images, P, S):
        H, W = images.shape[2:]
        rows, columns = count(H, P, S), count(W, P, S)
        cut = images[:, :, : (rows - 1) * S + P, : (columns - 1) * S + P]
        return right_transfer.overlapping(cut, P, S)

    return wrong


def _back_by(put):
    """A wrong answer: put(whole, part, window, how often each pixel is used)."""

    def wrong(dpatches, shape, P, S):
        B, C, H, W = shape
        rows, columns = (H - P) // S + 1, (W - P) // S + 1
        grid = dpatches.reshape(B, rows, columns, P, P, C).transpose(0, 5, 1, 2, 3, 4)
        counts = right_transfer.overlapping_backward(np.ones_like(dpatches), shape, P, S)
        dimages = np.zeros(shape, dpatches.dtype)
        for row, column in np.ndindex(rows, columns):
            window = (..., slice(row * S, row * S + P), slice(column * S, column * S + P))
            put(dimages, window, grid[:, :, row, column], counts)
        return dimages

    return wrong


def _overwrite(dimages, window, part, counts):
    dimages[window] = part


def _average(dimages, window, part, counts):
    dimages[window] += part / counts[window]


def _windows_as(order):
    """A wrong answer: a patch's numbers are assumed to be in another order."""

    def wrong(dpatches, shape, P, S):
        return right_transfer.overlapping_backward(order(dpatches, P, shape[1]), shape, P, S)

    return wrong


def _channels_first(dpatches, P, C):
    B, N, _ = dpatches.shape
    return dpatches.reshape(B, N, C, P, P).transpose(0, 1, 3, 4, 2).reshape(dpatches.shape)


def _mirrored(dpatches, P, C):
    B, N, _ = dpatches.shape
    return dpatches.reshape(B, N, P, P, C).swapaxes(2, 3).reshape(dpatches.shape)


def _windows_loss(dpatches, shape, P, S):
    images = np.zeros(shape)

    def objective() -> float:
        return float((dpatches * right_transfer.overlapping(images, P, S)).sum())

    return objective, {"dimages": images}


add(
    Exercise(
        name="01.e",
        answer=right_transfer.overlapping,
        outputs=("patches",),
        inputs=_draw_windows,
        hard=(
            Hard("where the last rows and columns do not fill another patch",
                 lambda rng: (rng.standard_normal((2, 1, 8, 6)), 3, 2)),
            Hard("where patches do not overlap (S = P)",
                 lambda rng: (rng.standard_normal((1, 3, 4, 6)), 2, 2)),
        ),
        mistakes=(
            Mistake("the last patch of each row and column is missing: there are "
                    "(H - P) // S + 1 of them, as the first begins at 0",
                    _only(lambda length, P, S: max((length - P) // S, 1))),
            Mistake("within a patch the channels come first; the order is row, column, channel",
                    _ordered(0, 2, 3, 1, 4, 5)),
            Mistake("the patches are in column order; reading order goes along the rows",
                    _ordered(0, 3, 2, 4, 5, 1)),
            Mistake("within a patch the columns come before the rows",
                    _ordered(0, 2, 3, 5, 4, 1)),
            Mistake("the stride was not used: a patch begins at every pixel",
                    lambda images, P, S: right_transfer.overlapping(images, P, 1)),
            Mistake("the patches are P pixels apart and do not overlap; the next one begins S "
                    "pixels further", lambda images, P, S: right_transfer.overlapping(
                        images, P, P)),
        ),
    ),
    Exercise(
        name="01.f",
        answer=right_transfer.overlapping_backward,
        outputs=("dimages",),
        inputs=_draw_dwindows,
        forward=_windows_loss,
        hard=(
            Hard("where the last rows and columns are in no patch, and get no gradient",
                 lambda rng: _dwindows(rng, (2, 1, 8, 6), 3, 2)),
            Hard("where patches do not overlap (S = P)",
                 lambda rng: _dwindows(rng, (1, 3, 4, 6), 2, 2)),
        ),
        mistakes=(
            Mistake("where patches overlap, a patch's gradient overwrote that of the patch before "
                    "it; gradients add up: +=", _back_by(_overwrite)),
            Mistake("the gradients of a pixel were averaged over the patches that it is in; a "
                    "number that is used several times gets the sum of its gradients",
                    _back_by(_average)),
            Mistake("a patch's numbers were read as (channel, row, column); the order is row, "
                    "column, channel", _windows_as(_channels_first)),
            Mistake("rows and columns within a patch were swapped", _windows_as(_mirrored)),
        ),
    ),
)  # fmt: skip
