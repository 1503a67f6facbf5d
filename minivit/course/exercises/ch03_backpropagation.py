"""Chapter 03: the chain rule, finite differences, a skip connection."""

import numpy as np

from minivit.course import right
from minivit.course.exercise import Exercise, Hard, Mistake, add

# 03.a: L = (a·b + c)·a at a = 2, b = -3, c = 10; the answer is (da, db, dc)

add(
    Exercise(
        name="03.a",
        answer=(-2.0, 4.0, 2.0),
        mistakes=(
            Mistake("only the path from a straight to the loss was used, as a factor of v; the "
                    "path through u is missing", (4.0, 4.0, 2.0)),
            Mistake("only the path from a through u was used; a is also a factor of v",
                    (-6.0, 4.0, 2.0)),
            Mistake("the two paths from a were multiplied. Links of one chain multiply; parallel "
                    "paths add up", (-24.0, 4.0, 2.0)),
            Mistake("the gradients stop one box early: the upstream gradient, dv = a, was not "
                    "multiplied in", (1.0, 2.0, 1.0)),
        ),
    )
)  # fmt: skip


# 03.b: gradient(f, x, h) -> dx, by central differences


class _Function:
    """A smooth function of an array, with a printable name."""

    def __init__(self, weights: np.ndarray):
        self.weights = weights

    def __call__(self, x: np.ndarray) -> float:
        return float(np.sin(self.weights * x).sum() + np.exp(0.3 * x.sum()) + (x**3).mean())

    def __repr__(self) -> str:
        return "a function"


def _draw_function(rng: np.random.Generator, size: int) -> tuple:
    shape = ((4,), (2, 3), (3, 1, 2))[size]
    return _Function(rng.standard_normal(shape)), rng.standard_normal(shape), (0.1, 0.2, 0.05)[size]


def _moves(x, h):
    """For every element: its index, and the array that shifts it by h."""
    for index in np.ndindex(x.shape):
        move = np.zeros_like(x)
        move[index] = h
        yield index, move


def _differences(difference):
    """A gradient by difference(f, x, move, h) for every element."""

    def gradient(f, x, h):
        dx = np.zeros_like(x)
        for index, move in _moves(x, h):
            dx[index] = difference(f, x, move, h)
        return dx

    return gradient


def _never_put_back(f, x, h):
    moved, dx = x.copy(), np.zeros_like(x)
    for index, move in _moves(x, h):
        before = f(moved - move)
        moved += move
        dx[index] = (f(moved) - before) / (2 * h)
    return dx


add(
    Exercise(
        name="03.b",
        hard=(
            Hard("of an array of one number",
                 lambda rng: (_Function(rng.standard_normal(1)), rng.standard_normal(1), 0.07)),
        ),
        answer=_differences(lambda f, x, move, h: (f(x + move) - f(x - move)) / (2 * h)),
        outputs=("dx",),
        inputs=_draw_function,
        mistakes=(
            Mistake("the number was shifted forward only; shift it both ways, so that the "
                    "curvature cancels",
                    _differences(lambda f, x, move, h: (f(x + move) - f(x)) / h)),
            Mistake("the number was shifted backward only; shift it both ways, so that the "
                    "curvature cancels",
                    _differences(lambda f, x, move, h: (f(x) - f(x - move)) / h)),
            Mistake("the difference was divided by h: the distance from x - h to x + h is 2h",
                    _differences(lambda f, x, move, h: (f(x + move) - f(x - move)) / h)),
            Mistake("the difference was not divided by the step",
                    _differences(lambda f, x, move, h: f(x + move) - f(x - move))),
            Mistake("all numbers were shifted at once; a partial derivative shifts one and holds "
                    "the others fixed",
                    _differences(lambda f, x, move, h: (f(x + h) - f(x - h)) / (2 * h))),
            Mistake("a number was not restored before the next one was shifted",
                    _never_put_back),
        ),
    )
)  # fmt: skip


# 03.f: residual_backward(dy, x, weight, bias) -> dx, dweight, dbias, of y = x + tanh(x W + b)


def _draw_residual(rng: np.random.Generator, size: int) -> tuple:
    B, C = ((3, 4), (5, 2), (2, 6))[size]
    return tuple(rng.standard_normal(shape) for shape in ((B, C), (B, C), (C, C), (C,)))


def _residual(x, weight, bias):
    return x + np.tanh(x @ weight + bias)


def _residual_with(
    slope=lambda s: 1 - np.tanh(s) ** 2, skip=lambda dy, dx: dy + dx, transpose=np.transpose
):
    """A wrong answer: another derivative of tanh, another skip connection, or a weight that is not
    transposed.
    """

    def wrong(dy, x, weight, bias):
        ds = dy * slope(x @ weight + bias)
        return skip(dy, ds @ transpose(weight)), x.T @ ds, ds.sum(0)

    return wrong


def _residual_loss(dy, *arguments):
    x, weight, bias = (array.copy() for array in arguments)
    tensors = {"dx": x, "dweight": weight, "dbias": bias}
    return lambda: float((dy * _residual(x, weight, bias)).sum()), tensors


add(
    Exercise(
        name="03.f",
        answer=right.residual_backward,
        outputs=("dx", "dweight", "dbias"),
        inputs=_draw_residual,
        forward=_residual_loss,
        mistakes=(
            Mistake("the path around the layer is missing: x is used twice, and dy also goes "
                    "straight to it", _residual_with(skip=lambda dy, dx: dx)),
            Mistake("the path through the layer is missing: x is used twice",
                    _residual_with(skip=lambda dy, dx: dy)),
            Mistake("the two paths were multiplied; parallel paths add up",
                    _residual_with(skip=lambda dy, dx: dy * dx)),
            Mistake("weight was not transposed: here it is square, so the shapes do not reveal it",
                    _residual_with(transpose=lambda weight: weight)),
            Mistake("the derivative of tanh, 1 - tanh², is missing",
                    _residual_with(slope=np.ones_like)),
            Mistake("the derivative was taken as 1 - s² with s from before the tanh; it is 1 - "
                    "tanh(s)²",
                    _residual_with(slope=lambda s: 1 - s * s)),
        ),
    )
)  # fmt: skip
