"""Chapter 00: pixels."""

import numpy as np

from minivit.course import right
from minivit.course.exercise import Exercise, Mistake, add

SHAPES = ((2, 5, 4), (4, 3, 6), (3, 6, 7))  # B, H, W


def _draw_images(rng: np.random.Generator, size: int) -> np.ndarray:
    B, H, W = SHAPES[size]
    return rng.uniform(0, 255, (B, 3, H, W))


# 00.a: gray(images, weights) -> gray


def _draw_gray(rng: np.random.Generator, size: int) -> tuple:
    return _draw_images(rng, size), rng.uniform(0.1, 1.0, 3)


_gray = right.gray


def _reshaped(images, weights):
    B, K, H, W = images.shape
    return images.reshape(B, H, W, K) @ weights


def _by_the_sum(images, weights):
    return _gray(images, weights / weights.sum())


add(
    Exercise(
        name="00.a",
        answer=right.gray,
        outputs=("gray",),
        inputs=_draw_gray,
        mistakes=(
            Mistake("reshape was used to move the channels last: it keeps the numbers in the same "
                    "order and only cuts them differently, so one pixel got three numbers of one "
                    "channel; transpose(0, 2, 3, 1) moves an axis", _reshaped),
            Mistake("the weights were left out: every channel counted as 1",
                    lambda images, weights: images.sum(1)),
            Mistake("the weights were left out and the channels averaged",
                    lambda images, weights: images.mean(1)),
            Mistake("the weighted channels were averaged; the answer is a weighted sum",
                    lambda images, weights: _gray(images, weights) / 3),
            Mistake("the weights are in the wrong order, blue first",
                    lambda images, weights: _gray(images, weights[::-1])),
            Mistake("the result was divided by the sum of the weights; use the weights as they are",
                    _by_the_sum),
            Mistake("only the first channel was used",
                    lambda images, weights: images[:, 0] * weights[0]),
        ),
    )
)  # fmt: skip


# 00.b: normalize(images, mean, std) -> normalized


def _draw_normalize(rng: np.random.Generator, size: int) -> tuple:
    return _draw_images(rng, size), rng.uniform(0.3, 0.6, 3), rng.uniform(0.1, 0.4, 3)


def _of_channel(a):
    """(3,) -> (3, 1, 1)"""
    return a[:, None, None]


_normalize = right.normalize


def _by_own_statistics(axes):
    """A wrong answer that normalizes by the mean and standard deviation of these images."""

    def wrong(images, mean, std):
        centered = images - images.mean(axes, keepdims=True)
        return centered / images.std(axes, keepdims=True)

    return wrong


add(
    Exercise(
        name="00.b",
        warm_up=True,
        answer=right.normalize,
        outputs=("normalized",),
        inputs=_draw_normalize,
        mistakes=(
            Mistake("the division by 255 is missing: mean and std are those of pixels scaled to "
                    "0…1",
                    lambda images, mean, std: _normalize(255 * images, mean, std)),
            Mistake("the pixels were divided by 256; the largest uint8 is 255",
                    lambda images, mean, std: _normalize(images * (255 / 256), mean, std)),
            Mistake("the mean was subtracted after the division by std, so the mean itself was not "
                    "divided by std",
                    lambda images, mean, std: (
                        images / 255 / _of_channel(std) - _of_channel(mean))),
            Mistake("the division by the standard deviation is missing",
                    lambda images, mean, std: images / 255 - _of_channel(mean)),
            Mistake("it was multiplied by the standard deviation instead of divided",
                    lambda images, mean, std: _normalize(images, mean, 1 / std)),
            Mistake("it was divided by the variance, the square of the standard deviation",
                    lambda images, mean, std: _normalize(images, mean, std**2)),
            Mistake("the mean was added; subtract it, so that the result is centered at 0",
                    lambda images, mean, std: _normalize(images, -mean, std)),
            Mistake("the mean and std of these images were used instead of the given ones, which "
                    "are those of the training images, so that every image is treated alike",
                    _by_own_statistics((0, 2, 3))),
            Mistake("each image was normalized by its own mean and std; use the given ones",
                    _by_own_statistics((2, 3))),
        ),
    )
)  # fmt: skip


# 00.c: bytes of a batch of 128 images in float32

NUMBERS = 128 * 3 * 32 * 32

add(
    Exercise(
        name="00.c",
        answer=4 * NUMBERS,
        outputs=("bytes",),
        mistakes=(
            Mistake("that is the number of values, or their bytes in uint8; a float32 has 32 bits, "
                    "or 4 bytes", NUMBERS),
            Mistake("those are bits; 8 of them make a byte", 32 * NUMBERS),
            Mistake("every pixel was counted as one number; it has three channels",
                    4 * NUMBERS // 3),
            Mistake("that is one image; the batch has 128", 4 * NUMBERS // 128),
            Mistake("that is float64, with 8 bytes per number", 8 * NUMBERS),
        ),
    )
)  # fmt: skip
