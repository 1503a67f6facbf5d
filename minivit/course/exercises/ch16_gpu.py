"""Chapter 16: bytes, flops and bits."""

import numpy as np

from minivit.course import right_further
from minivit.course.exercise import Exercise, Hard, Mistake, add

# 16.a: bfloat16(x) -> x rounded, float32

SHAPES = ((3, 40), (70,), (4, 5, 6))


def _draw_numbers(rng: np.random.Generator, size: int) -> tuple:
    """Numbers of both signs, some exactly halfway between two neighbors; all are float32."""
    shape = SHAPES[size]
    x = rng.choice([-1.0, 1.0], shape) * rng.uniform(0.5, 4.0, shape)
    x = x.astype(np.float32)
    halfway = (x.view(np.uint32) & np.uint32(0xFFFF0000)) | np.uint32(0x8000)
    return (np.where(rng.random(shape) < 0.3, halfway.view(np.float32), x),)


def _rounded(bits_added, mask=0xFFFF0000):
    """A wrong answer that adds bits_added(bits) to the bits, then truncates them."""

    def wrong(x):
        bits = x.astype(np.float32).view(np.uint32)
        return ((bits + np.uint32(bits_added(bits))) & np.uint32(mask)).view(np.float32)

    return wrong


def _even(bits):
    return np.uint32(0x7FFF) + ((bits >> 16) & 1)


def _even_of_ten(bits):
    return np.uint32(0x0FFF) + ((bits >> 13) & 1)


def _decimal(x):
    return np.round(x, 2).astype(np.float32)


add(
    Exercise(
        name="16.a",
        warm_up=True,
        answer=_rounded(_even),
        outputs=("the rounded numbers",),
        inputs=_draw_numbers,
        mistakes=(
            Mistake("the lower bits were truncated without rounding: all numbers move toward zero",
                    _rounded(lambda bits: 0)),
            Mistake("an exact half is always rounded up (away from zero); round ties to even: add "
                    "0x7FFF and the lowest bit that is kept",
                    _rounded(lambda bits: 0x8000)),
            Mistake("an exact half is always rounded down; round ties to even: add 0x7FFF and the "
                    "lowest bit that is kept",
                    _rounded(lambda bits: 0x7FFF)),
            Mistake("every number that is not already a bfloat16 is rounded away from zero: 0xFFFF "
                    "was added, a whole unit instead of half", _rounded(lambda bits: 0xFFFF)),
            Mistake("ten bits of fraction were kept, as in TF32 and float16; bfloat16 has seven",
                    _rounded(_even_of_ten, 0xFFFFE000)),
            Mistake("the numbers were rounded to decimal places: a floating-point number keeps "
                    "significant digits, not decimal places", _decimal),
        ),
    )
)  # fmt: skip


# 16.b: intensity(rows, fan_in, fan_out, size) -> flops / byte

SIZES = ((20, 6, 11, 4), (9, 15, 7, 2), (33, 5, 8, 4))


def _flops(rows, fan_in, fan_out):
    return 2 * rows * fan_in * fan_out + rows * fan_out


def _numbers(rows, fan_in, fan_out):
    return rows * fan_in + fan_in * fan_out + fan_out + rows * fan_out


add(
    Exercise(
        name="16.b",
        answer=right_further.intensity,
        outputs=("the intensity",),
        inputs=lambda rng, size: SIZES[size],
        mistakes=(
            Mistake("a multiply-add was counted as one flop; it is two",
                    lambda r, i, o, s: (r * i * o + r * o) / (s * _numbers(r, i, o))),
            Mistake("numbers were counted instead of bytes: each has `size` bytes",
                    lambda r, i, o, s: _flops(r, i, o) / _numbers(r, i, o)),
            Mistake("y is missing from the bytes: the output must be written",
                    lambda r, i, o, s: _flops(r, i, o)
                    / (s * (_numbers(r, i, o) - r * o))),
            Mistake("the weight is missing from the bytes: it must be read, too",
                    lambda r, i, o, s: _flops(r, i, o)
                    / (s * (_numbers(r, i, o) - i * o))),
            Mistake("the bias was left out of the flops and the bytes",
                    lambda r, i, o, s: 2 * r * i * o / (s * (_numbers(r, i, o) - o))),
            Mistake("the bias is missing from the flops: one addition per number of y",
                    lambda r, i, o, s: 2 * r * i * o / (s * _numbers(r, i, o))),
            Mistake("the bias was counted as a separate pass: y was written, read and written "
                    "again. Fused, it is written once",
                    lambda r, i, o, s: _flops(r, i, o)
                    / (s * (_numbers(r, i, o) + 2 * r * o))),
            Mistake("bytes were divided by flops; intensity is flops per byte",
                    lambda r, i, o, s: s * _numbers(r, i, o) / _flops(r, i, o)),
        ),
    )
)  # fmt: skip


# 16.c: time(flops, moved, peak, bandwidth, launch) -> seconds


def _draw_operations(rng: np.random.Generator, size: int) -> tuple:
    count = (5, 8, 11)[size]
    return rng.uniform(1, 20, count), rng.uniform(1, 20, count), 3.0, 4.0, 2.0


add(
    Exercise(
        name="16.c",
        hard=(
            Hard("where memory traffic takes longer",
                 lambda rng: (rng.uniform(1, 5, 4), rng.uniform(30, 60, 4), 7.0, 3.0, 1.0)),
            Hard("for one operation",
                 lambda rng: (np.array([9.0]), np.array([5.0]), 2.0, 4.0, 0.5)),
        ),
        answer=right_further.time,
        outputs=("the time",),
        inputs=_draw_operations,
        mistakes=(
            Mistake("arithmetic and memory time were added within an operation; they overlap, and "
                    "the slower one counts",
                    lambda f, m, p, b, t: (t + f / p + m / b).sum()),
            Mistake("the maximum of the two sums was taken: each operation waits for its own "
                    "slower part, so take the maximum for each operation, then sum",
                    lambda f, m, p, b, t: len(f) * t + max((f / p).sum(), (m / b).sum())),
            Mistake("only one launch was counted; every operation has one",
                    lambda f, m, p, b, t: t + np.maximum(f / p, m / b).sum()),
            Mistake("the launches are missing",
                    lambda f, m, p, b, t: np.maximum(f / p, m / b).sum()),
            Mistake("the launch was overlapped, too: it comes before the work and is added",
                    lambda f, m, p, b, t: np.maximum(np.maximum(f / p, m / b), t).sum()),
            Mistake("the faster of the two was counted (minimum) instead of the slower",
                    lambda f, m, p, b, t: (t + np.minimum(f / p, m / b)).sum()),
            Mistake("peak and bandwidth are swapped: divide flops by peak and bytes by bandwidth",
                    lambda f, m, p, b, t: (t + np.maximum(f / b, m / p)).sum()),
        ),
    )
)  # fmt: skip


# 16.d, 16.e: numbers

PARAMETERS = 311_338  # of Nano/4

add(
    Exercise(
        name="16.d",
        answer=7 * 4 * PARAMETERS,
        mistakes=(
            Mistake("only reads were counted: weight and moments are also written back",
                    4 * 4 * PARAMETERS),
            Mistake("three numbers per parameter were counted: there are four to read (weight, "
                    "gradient, both moments) and three to write", 3 * 4 * PARAMETERS),
            Mistake("the gradient, too, was written back: AdamW only reads it", 8 * 4 * PARAMETERS),
            Mistake("six numbers per parameter were counted: the gradient is read, and both "
                    "moments and the weight are read and written: seven in all",
                    6 * 4 * PARAMETERS),
            Mistake("numbers were counted instead of bytes: a float32 has four", 7 * PARAMETERS),
            Mistake("two bytes per number were counted, as in bfloat16; a float32 has four",
                    7 * 2 * PARAMETERS),
        ),
    ),
    Exercise(
        name="16.e",
        answer=2048,
        mistakes=(
            Mistake("the leading 1 was forgotten: it is a digit, too", 1024),
            Mistake("that is for bfloat16, which has 7 bits of fraction; float16 has 10", 256),
            Mistake("that is the largest float16; digits run out long before that", 65_504),
            Mistake("that is where neighbors are 4 apart; adding 1 is already lost where they are "
                    "2 apart", 4096),
        ),
    ),
)  # fmt: skip
