"""Chapter 08: a schedule and clipping."""

import math

import numpy as np

from minivit.course import right
from minivit.course.exercise import Exercise, Hard, Mistake, add
from minivit.optim import Schedule

# 08.e: rate(step, peak, warmup, total, final) -> the learning rate: warm-up, then half a cosine


def _draw_step(rng: np.random.Generator, size: int) -> tuple:
    return (3, 37, 150)[size], 0.5, 8, 100, 0.05  # rising, falling, over


_rate = right.cosine_rate


def _cosine_decay(progress, peak, final):
    return final + (peak - final) * 0.5 * (1 + math.cos(math.pi * progress))


def _after_warmup(decay):
    """A wrong answer that is right during the warm-up, then decay(step, peak, warmup, total,
    final).
    """

    def wrong(step, *arguments):
        return _rate(step, *arguments) if step < arguments[1] else decay(step, *arguments)

    return wrong


def _from_zero(step, peak, warmup, total, final):
    return peak * step / warmup if step < warmup else _rate(step, peak, warmup, total, final)


def _no_warmup(step, peak, warmup, total, final):
    return _rate(step, peak, 0, total, final)


def _from_start(step, peak, warmup, total, final):
    return _cosine_decay(min(step / total, 1), peak, final)


def _final_ignored(step, peak, warmup, total, final):
    return _cosine_decay(min((step - warmup) / (total - warmup), 1), peak, 0)


def _final_added(step, peak, warmup, total, final):
    return final + _cosine_decay(min((step - warmup) / (total - warmup), 1), peak, 0)


def _unbounded(step, peak, warmup, total, final):
    return _cosine_decay((step - warmup) / (total - warmup), peak, final)


def _straight(step, peak, warmup, total, final):
    return Schedule("linear", peak, warmup, total, final)(step)


add(
    Exercise(
        name="08.e",
        hard=(
            Hard("in the first step",
                 lambda rng: (0, 0.3, 5, 60, 0.02)),
            Hard("shortly after the warm-up",
                 lambda rng: (11, 1.7, 9, 50, 0.3)),
            Hard("in the middle of the warm-up",
                 lambda rng: (5, 0.9, 11, 70, 0.1)),
            Hard("in the last step",
                 lambda rng: (60, 0.4, 6, 60, 0.07)),
        ),
        answer=right.cosine_rate,
        outputs=("rate",),
        inputs=_draw_step,
        mistakes=(
            Mistake("the warm-up begins at zero, so the first step does nothing; use (step + "
                    "1)/warmup", _from_zero),
            Mistake("the decay was counted from step 0: the rate jumps after the warm-up. Its "
                    "progress is (step - warmup)/(total - warmup)",
                    _after_warmup(_from_start)),
            Mistake("the warm-up is missing", _no_warmup),
            Mistake("the rate decays to 0 instead of final", _after_warmup(_final_ignored)),
            Mistake("final was added to a decay from peak to 0; it should decay from peak to final",
                    _after_warmup(_final_added)),
            Mistake("progress was not clamped at 1: after step total, the cosine rises again",
                    _after_warmup(_unbounded)),
            Mistake("the rate decays linearly; it should follow a cosine", _straight),
        ),
    )
)  # fmt: skip


# 08.f: clip(dweight, dbias, max_norm) -> dweight, dbias


def _draw_gradients(rng: np.random.Generator, size: int) -> tuple:
    C, K = ((4, 3), (2, 5), (6, 4))[size]
    dweight, dbias = rng.standard_normal((C, K)), rng.standard_normal(K)
    return dweight, dbias, (1.5, 50.0, 1.0)[size]  # the second is short enough


def _flat(dweight, dbias):
    return np.concatenate([dweight.ravel(), dbias])


def _scaled(factor):
    """Both gradients times factor(the flat gradient, max_norm)."""

    def clip(dweight, dbias, max_norm):
        scale = float(factor(_flat(dweight, dbias), max_norm))
        return scale * dweight, scale * dbias

    return clip


def _each(dweight, dbias, max_norm):
    return tuple(g * min(1.0, max_norm / float(np.linalg.norm(g))) for g in (dweight, dbias))


def _by_weight(dweight, dbias, max_norm):
    scale = min(1.0, max_norm / float(np.linalg.norm(dweight)))
    return scale * dweight, scale * dbias


add(
    Exercise(
        name="08.f",
        hard=(
            Hard("for gradients whose norm is exactly max_norm",
                 lambda rng: (np.array([[3.0]]), np.array([4.0]), 5.0)),
            Hard("for a bias gradient much longer than that of the weight",
                 lambda rng: (rng.standard_normal((2, 3)), 20 * rng.standard_normal(3), 2.5)),
        ),
        answer=right.clip,
        outputs=("dweight", "dbias"),
        inputs=_draw_gradients,
        mistakes=(
            Mistake("the norm is that of the weight alone; use one norm for both",
                    _by_weight),
            Mistake("each gradient was clipped by its own norm. Use the norm of all numbers "
                    "together, so that the direction is preserved", _each),
            Mistake("every number was clipped separately, which changes the direction; scale all "
                    "numbers by one factor",
                    lambda dweight, dbias, c: (dweight.clip(-c, c), dbias.clip(-c, c))),
            Mistake("a gradient that is short enough was stretched; leave it unchanged",
                    _scaled(lambda g, c: c / np.linalg.norm(g))),
            Mistake("the square root is missing: the norm is the root of the sum of squares",
                    _scaled(lambda g, c: min(1, c / (g @ g)))),
            Mistake("the norm was computed from the mean of squares instead of their sum",
                    _scaled(lambda g, c: min(1, c / np.sqrt((g * g).mean())))),
            Mistake("the gradient was divided by its norm: its length is 1 instead of max_norm",
                    _scaled(lambda g, c: min(1, 1 / np.linalg.norm(g)))),
        ),
    )
)  # fmt: skip
