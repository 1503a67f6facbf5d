"""Chapter 15: convolution, and how much data."""

import numpy as np

from minivit.course import right_further
from minivit.course.exercise import Exercise, Mistake, add, gradient_of
from minivit.functional import conv2d_forward
from minivit.functional.conv2d import windows

# 15.a: output_size(height, width, kernel, stride, padding) -> rows, columns

SIDES = ((10, 16, 5, 2, 4), (17, 14, 5, 3, 2), (11, 8, 4, 3, 1))


def _sides(along):
    """(height, width, kernel, stride, padding) -> `along` of each side."""

    def sizes(height, width, kernel, stride, padding):
        return along(height, kernel, stride, padding), along(width, kernel, stride, padding)

    return sizes


add(
    Exercise(
        name="15.a",
        answer=right_further.output_size,
        outputs=("rows", "columns"),
        inputs=lambda rng, size: SIDES[size],
        mistakes=(
            Mistake("the + 1 is missing: the window at place 0 counts, too",
                    _sides(lambda n, k, s, p: (n + 2 * p - k) // s)),
            Mistake("the padding was counted once; it is on both sides, 2p",
                    _sides(lambda n, k, s, p: (n + p - k) // s + 1)),
            Mistake("the padding was left out",
                    _sides(lambda n, k, s, p: (n - k) // s + 1)),
            Mistake("it was rounded up: a window that extends beyond the edge does not count",
                    _sides(lambda n, k, s, p: -(-(n + 2 * p - k) // s) + 1)),
            Mistake("the stride was left out",
                    _sides(lambda n, k, s, p: n + 2 * p - k + 1)),
            Mistake("the whole side was divided by the stride; the last window begins k pixels "
                    "before the end",
                    _sides(lambda n, k, s, p: (n + 2 * p) // s)),
        ),
    )
)  # fmt: skip


# 15.b: im2col(x, k, stride) -> rows

IMAGES = ((2, 5, 7, 3), (3, 8, 6, 2), (2, 9, 7, 4))  # B, H, W, I
KERNELS = ((3, 1), (2, 2), (3, 2))  # k, stride


def _draw_im2col(rng: np.random.Generator, size: int) -> tuple:
    return rng.standard_normal(IMAGES[size]), *KERNELS[size]


def _rows(*order):
    """im2col with the axes (image, row, column, i, j, channel) permuted first."""

    def im2col(x, k, stride):
        view = windows(x, (k, k), stride).transpose(order)
        positions = np.prod(windows(x, (k, k), stride).shape[:3])
        return view.reshape(positions, -1)

    return im2col


def _one_pixel_apart(x, k, stride):
    """The right number of windows, but one pixel apart."""
    rows, columns = ((side - k) // stride + 1 for side in x.shape[1:3])
    view = windows(x, (k, k), 1)[:, :rows, :columns]
    return view.reshape(-1, k * k * x.shape[-1])


def _mirrored(x, k, stride):
    view = windows(x, (k, k), stride)[:, :, :, ::-1, ::-1]
    return view.reshape(-1, k * k * x.shape[-1])


add(
    Exercise(
        name="15.b",
        grown=lambda rng, n: (rng.standard_normal((1, 3 + n, 3 + n, 2)), 2, 1),
        answer=_rows(0, 1, 2, 3, 4, 5),
        outputs=("the rows",),
        inputs=_draw_im2col,
        mistakes=(
            Mistake("in each row the channels come first, then the positions in the window; the "
                    "weight (k, k, I, O) has channels last", _rows(0, 1, 2, 5, 3, 4)),
            Mistake("each window was read column by column; reading order is row by row",
                    _rows(0, 1, 2, 4, 3, 5)),
            Mistake("the windows were taken column by column; reading order is row by row",
                    _rows(0, 2, 1, 3, 4, 5)),
            Mistake("the image axis comes last: all windows of the first image come before those "
                    "of the second", _rows(1, 2, 0, 3, 4, 5)),
            Mistake("the windows are one pixel apart; they should be `stride` pixels apart",
                    _one_pixel_apart),
            Mistake("each window is rotated by 180°, as in a mathematical convolution; here the "
                    "kernel is not flipped", _mirrored),
            Mistake("the offsets of the window are in axes 0 and 1: reshape does not move them "
                    "behind the position; it keeps the order of the numbers",
                    _rows(3, 4, 0, 1, 2, 5)),
        ),
    )
)  # fmt: skip


# 15.c: conv2d_backward(dy, x, weight) -> dx, dweight


CONVOLUTIONS = (((2, 5, 6, 3), 3, 4), ((3, 4, 7, 2), 2, 5), ((2, 6, 5, 4), 3, 2))  # x, k, O


def _draw_backward(rng: np.random.Generator, size: int) -> tuple:
    shape, k, fan_out = CONVOLUTIONS[size]
    x, weight = rng.standard_normal(shape), rng.standard_normal((k, k, shape[-1], fan_out))
    return rng.standard_normal(conv2d_forward(x, weight)[0].shape), x, weight


_backward = right_further.conv2d_backward


def _overwritten(dy, x, weight):
    """dx in which the last window overwrites the others."""
    dx, (rows, columns) = np.zeros_like(x), dy.shape[1:3]
    for i, j in np.ndindex(weight.shape[:2]):
        dx[:, i : i + rows, j : j + columns] = dy @ weight[i, j].T
    return dx, _backward(dy, x, weight)[1]


def _with(dx=None, dweight=None):
    """The right answer, with dx or dweight replaced by a function of (dy, x, weight)."""

    def wrong(dy, x, weight):
        right = _backward(dy, x, weight)
        return (
            right[0] if dx is None else dx(dy, x, weight),
            right[1] if dweight is None else dweight(dy, x, weight),
        )

    return wrong


def _flipped(dy, x, weight):
    return _backward(dy, x, weight[::-1, ::-1])[0]


def _mean_of_windows(dy, x, weight):
    """dx divided by the number of windows that each pixel is in."""
    ones = np.ones_like(weight[..., :1])
    counts = _backward(np.ones_like(dy[..., :1]), x, ones)[0]
    return _backward(dy, x, weight)[0] / counts


add(
    Exercise(
        name="15.c",
        warm_up=True,
        answer=right_further.conv2d_backward,
        outputs=("dx", "dweight"),
        inputs=_draw_backward,
        forward=gradient_of(lambda x, weight: conv2d_forward(x, weight)[0], "x", "weight"),
        mistakes=(
            Mistake("a later window overwrites an earlier one (= instead of +=): a pixel gets the "
                    "sum of the gradients of all windows that it is in", _overwritten),
            Mistake("the kernel was rotated by 180° and then applied as in forward; with slices "
                    "dx[i:…, j:…] += dy @ w[i, j].T nothing is rotated", _with(_flipped)),
            Mistake("the gradients of the windows that a pixel is in were averaged; they add up",
                    _with(_mean_of_windows)),
            Mistake("only the first image of the batch was counted; all images used the same "
                    "kernel",
                    _with(dweight=lambda dy, x, w: _backward(dy[:1], x[:1], w)[1])),
            Mistake("dweight was averaged over the images; every image used the kernel, so their "
                    "gradients are summed",
                    _with(dweight=lambda dy, x, w: _backward(dy, x, w)[1] / len(x))),
            Mistake("dweight was averaged over the positions of an image; every position used the "
                    "kernel, so their gradients are summed",
                    _with(dweight=lambda dy, x, w: _backward(dy, x, w)[1]
                          / (dy.shape[1] * dy.shape[2]))),
            Mistake("i and j are swapped: the kernel is transposed",
                    _with(lambda dy, x, w: _backward(dy, x, w.swapaxes(0, 1))[0],
                          lambda dy, x, w: _backward(dy, x, w)[1].swapaxes(0, 1))),
        ),
    )
)  # fmt: skip


# 15.d: standardize(weight, eps) -> what

WEIGHTS = ((3, 3, 2, 5), (1, 1, 6, 4), (2, 2, 3, 7))  # k, k, I, O


def _draw_standardize(rng: np.random.Generator, size: int) -> tuple:
    shape = WEIGHTS[size]
    return 0.5 * rng.standard_normal(shape) + rng.standard_normal(shape[-1]), 0.05


def _over(axis, **options):
    def wrong(weight, eps):
        mean = weight.mean(axis, keepdims=True)
        variance = weight.var(axis, keepdims=True, **options)
        return (weight - mean) / np.sqrt(variance + eps)

    return wrong


def _spread_only(weight, eps):
    return weight / np.sqrt(weight.var((0, 1, 2)) + eps)


def _no_root(weight, eps):
    return (weight - weight.mean((0, 1, 2))) / (weight.var((0, 1, 2)) + eps)


def _eps_outside(weight, eps):
    return (weight - weight.mean((0, 1, 2))) / (weight.std((0, 1, 2)) + eps)


add(
    Exercise(
        name="15.d",
        warm_up=True,
        answer=right_further.standardize,
        outputs=("the result",),
        inputs=_draw_standardize,
        mistakes=(
            Mistake("mean and variance were taken over the output channels (the last axis); each "
                    "output channel has its own, over the axes 0, 1 and 2", _over(-1)),
            Mistake("mean and variance were taken over all weights together; each output channel "
                    "has its own, over the axes 0, 1 and 2", _over((0, 1, 2, 3))),
            Mistake("each input channel was standardized separately; the axes are 0, 1 and 2",
                    _over((0, 1))),
            Mistake("each position of the kernel was standardized separately; the axes are 0, 1 "
                    "and 2",
                    _over(2)),
            Mistake("the mean was not subtracted: the weights of an output must sum to zero",
                    _spread_only),
            Mistake("it was divided by the variance; the square root is missing", _no_root),
            Mistake("eps was added to the standard deviation; it belongs under the square root",
                    _eps_outside),
            Mistake("the variance was divided by the number of weights minus one (ddof=1)",
                    _over((0, 1, 2), ddof=1)),
        ),
    )
)  # fmt: skip


# 15.e: the shift that the last map follows

add(
    Exercise(
        name="15.e",
        answer=4,
        mistakes=(
            Mistake("there was only one halving: the second halves the result of the first again",
                    2),
            Mistake("that assumes stride 1 in every layer: with stride 2 a shift by one pixel puts "
                    "other pixels under the window", 1),
            Mistake("the image was halved three times: with three stages there are two halvings",
                    8),
            Mistake("that requires an unchanged map; the map may be shifted by one place", 32),
        ),
    )
)  # fmt: skip
