"""Chapter 02, beyond the text: registers, mean pooling."""

import numpy as np

from minivit.course import right_transfer
from minivit.course.exercise import Exercise, Hard, Mistake, add

# 02.e: with_registers(projected, cls_token, registers, pos_embed) -> tokens


def _draw_registers(rng: np.random.Generator, size: int) -> tuple:
    return _registers(rng, *((2, 3, 2, 4), (4, 5, 1, 6), (3, 2, 4, 5))[size])


def _registers(rng, B, N, R, C):
    shapes = (B, N, C), (1, 1, C), (1, R, C), (1, N + 1, C)
    return tuple(rng.standard_normal(shape) for shape in shapes)


def _in_order(*order):
    """A wrong answer: class token (0), registers (1) and patches (2) in this order."""

    def wrong(projected, cls_token, registers, pos_embed):
        tokens = right_transfer.with_registers(projected, cls_token, registers, pos_embed)
        R = registers.shape[1]
        parts = tokens[:, :1], tokens[:, 1 : 1 + R], tokens[:, 1 + R :]
        return np.concatenate([parts[i] for i in order], 1)

    return wrong


def _first_positions(projected, cls_token, registers, pos_embed):
    R = registers.shape[1]
    tokens = right_transfer.with_registers(projected, cls_token, registers, 0 * pos_embed)
    tokens[:, : pos_embed.shape[1]] += pos_embed
    return tokens if R else tokens + pos_embed


def _no_class_position(projected, cls_token, registers, pos_embed):
    return right_transfer.with_registers(
        projected, cls_token - pos_embed[:, :1], registers, pos_embed
    )


def _class_position_for_all(projected, cls_token, registers, pos_embed):
    return right_transfer.with_registers(
        projected, cls_token, registers + pos_embed[:, :1], pos_embed
    )


add(
    Exercise(
        name="02.e",
        answer=right_transfer.with_registers,
        outputs=("tokens",),
        inputs=_draw_registers,
        hard=(
            Hard("for one image", lambda rng: _registers(rng, 1, 4, 2, 3)),
            Hard("without registers", lambda rng: _registers(rng, 2, 3, 0, 4)),
        ),
        mistakes=(
            Mistake("the registers are after the patches; they come right after the class token",
                    _in_order(0, 2, 1)),
            Mistake("the registers come before the class token; the head expects the class token "
                    "first", _in_order(1, 0, 2)),
            Mistake("the positions were added to the first N + 1 tokens, including registers: a "
                    "register has no position, and each patch has its own", _first_positions),
            Mistake("the class token has no position; it gets the first row of pos_embed",
                    _no_class_position),
            Mistake("the registers got the class token's position; they have none",
                    _class_position_for_all),
        ),
    )
)  # fmt: skip


# 02.f: mean_pool_backward(dpooled, T, prefix) -> dx


def _draw_pooled(rng: np.random.Generator, size: int) -> tuple:
    B, T, C, prefix = ((2, 5, 3, 1), (4, 7, 2, 3), (3, 4, 5, 0))[size]
    return rng.standard_normal((B, C)), T, prefix


def _mean_pool(x, prefix):
    return x[:, prefix:].mean(1)


def _pool_loss(dpooled, T, prefix):
    x = np.zeros((len(dpooled), T, dpooled.shape[1]))
    return lambda: float((dpooled * _mean_pool(x, prefix)).sum()), {"dx": x}


def _scaled(change):
    """A wrong answer: the right one times change(T, prefix)."""
    return lambda d, T, prefix: right_transfer.mean_pool_backward(d, T, prefix) * change(T, prefix)


add(
    Exercise(
        name="02.f",
        answer=right_transfer.mean_pool_backward,
        outputs=("dx",),
        inputs=_draw_pooled,
        forward=_pool_loss,
        hard=(
            Hard("for one token", lambda rng: (rng.standard_normal((1, 3)), 1, 0)),
            Hard("where all tokens but one are prefix tokens",
                 lambda rng: (rng.standard_normal((2, 3)), 4, 3)),
        ),
        mistakes=(
            Mistake("every token was given the whole gradient: in a mean of n tokens each has the "
                    "weight 1/n, so it gets 1/n of the gradient",
                    _scaled(lambda T, prefix: T - prefix)),
            Mistake("it was divided by T; the mean is over T - prefix tokens",
                    _scaled(lambda T, prefix: (T - prefix) / T)),
            Mistake("the prefix tokens got a gradient, too; they are not part of the mean",
                    lambda d, T, prefix: np.repeat(d[:, None] / (T - prefix), T, 1)),
            Mistake("all T tokens share the gradient, as if the mean were over all tokens",
                    lambda d, T, prefix: np.repeat(d[:, None] / T, T, 1)),
            Mistake("the gradient went to the first token only, as for a class token",
                    lambda d, T, prefix: np.pad(d[:, None], ((0, 0), (0, T - 1), (0, 0)))),
        ),
    )
)  # fmt: skip
