"""Chapter 12: is attention an explanation?"""

import numpy as np

from minivit.course import right_further
from minivit.course.exercise import Exercise, Mistake, add
from minivit.functional import patchify_forward, unpatchify_forward

SIZES = ((3, 4, 6), (4, 5, 3), (2, 8, 5))  # N, H, W


def _draw_masked(rng: np.random.Generator, size: int) -> tuple:
    """Maps that are somewhat larger where the mask is."""
    masks = rng.random(SIZES[size]) < 0.35
    masks[:, 0, :2] = True, False  # neither empty nor full
    return rng.random(SIZES[size]) + 0.5 * masks, masks


# 12.a: energy_inside(maps, masks) -> (N,)


def _inside(maps, masks):
    return (maps * masks).sum((1, 2))


_energy = right_further.energy


def _per_pixel(maps, masks):
    dtype = maps.dtype
    return _inside(maps, masks) / masks.sum((1, 2)).astype(dtype)


def _of_figure(maps, masks):
    """The figure's fraction of the image, whatever the map."""
    return masks.mean((1, 2), dtype=maps.dtype)


def _from_zero(maps, masks):
    low = maps.min((1, 2), keepdims=True)
    return _energy(maps - low, masks)


add(
    Exercise(
        name="12.a",
        answer=right_further.energy,
        outputs=("the shares",),
        inputs=_draw_masked,
        mistakes=(
            Mistake("that is the sum inside; divide it by the map's total sum", _inside),
            Mistake("it was divided by the number of pixels of the figure: that is the mean "
                    "inside, which ignores what is outside", _per_pixel),
            Mistake("it was divided by the number of all pixels instead of the map's sum",
                    lambda maps, masks: (maps * masks).mean((1, 2))),
            Mistake("that is the fraction outside the figure",
                    lambda maps, masks: 1 - _energy(maps, masks)),
            Mistake("that is the figure's fraction of the image: it does not depend on the map",
                    _of_figure),
            Mistake("one fraction was computed for all images together; each image has its own",
                    lambda maps, masks: _inside(maps, masks) / maps.sum()),
            Mistake("each map's minimum was subtracted first; use the map as it is",
                    _from_zero),
        ),
    )
)  # fmt: skip


# 12.b: iou(heat, mask, count) -> a number, of one image


def _draw_iou(rng: np.random.Generator, size: int) -> tuple:
    maps, masks = _draw_masked(rng, size)
    return maps[0], masks[0], int(0.3 * maps[0].size)


def _highest(maps, count, lowest=False):
    """Boolean masks of the `count` highest numbers of each map (N, …), in the shape of maps."""
    flat = maps.reshape(len(maps), -1)
    rank = np.argsort(np.argsort(flat if lowest else -flat, axis=-1), axis=-1)
    return (rank < count).reshape(maps.shape)


def _top(heat, count, lowest=False):
    return _highest(heat[None], count, lowest)[0]


def _iou(kept, mask):
    return float((kept & mask).sum() / (kept | mask).sum())


def _over(divisor):
    """The intersection divided by divisor(count, size of the mask) instead of the union."""

    def wrong(heat, mask, count):
        return float((_top(heat, count) & mask).sum() / divisor(count, mask.sum()))

    return wrong


add(
    Exercise(
        name="12.b",
        warm_up=True,
        answer=right_further.iou,
        outputs=("the IoU",),
        inputs=_draw_iou,
        mistakes=(
            Mistake("the lowest pixels were kept instead of the highest",
                    lambda heat, mask, count: _iou(_top(heat, count, True), mask)),
            Mistake("it was divided by the number of pixels kept: that is precision, and a single "
                    "pixel on the figure would be perfect", _over(lambda kept, mask: kept)),
            Mistake("it was divided by the number of pixels of the figure: that is recall, and "
                    "keeping the whole image would be perfect",
                    _over(lambda kept, mask: mask)),
            Mistake("it was divided by the sum of kept and figure pixels: the intersection was "
                    "counted twice; subtract it once", _over(lambda kept, mask: kept + mask)),
            Mistake("that is the Dice coefficient, 2·both / (kept + figure), which is related to "
                    "IoU",
                    _over(lambda kept, mask: (kept + mask) / 2)),
            Mistake("the pixels above half of the maximum were kept instead of the `count` highest",
                    lambda heat, mask, count: _iou(heat > heat.max() / 2, mask)),
        ),
    )
)  # fmt: skip


# 12.c: delete(images, maps, count, P) -> images without their `count` most important patches

IMAGES = ((2, 1, 2, 3, 2), (3, 2, 4, 2, 3), (2, 3, 3, 5, 2))  # N, channels, rows, columns, P


def _draw_images(rng: np.random.Generator, size: int) -> tuple:
    N, channels, rows, columns, P = IMAGES[size]
    images = rng.standard_normal((N, channels, rows * P, columns * P))
    return images, rng.random((N, rows, columns)), 2 + size, P


def _keep(images, maps, chosen, P):
    """images where chosen (N, rows, columns) is True, else 0."""
    cut, _ = patchify_forward(images, P)
    return unpatchify_forward(cut * chosen.reshape(len(maps), -1, 1), P, images.shape[2:])[0]


def _same_for_all(images, maps, count, P):
    one = _highest(maps.mean(0, keepdims=True), count)
    return _keep(images, maps, np.repeat(~one, len(maps), axis=0), P)


def _grayed(images, maps, count, P):
    gone = _keep(np.ones_like(images), maps, _highest(maps, count), P)
    mean = images.mean((2, 3), keepdims=True)
    return images * (1 - gone) + mean * gone


def _down_columns(images, maps, count, P):
    wrong = maps.swapaxes(1, 2).reshape(maps.shape)
    return _keep(images, maps, ~_highest(wrong, count), P)


add(
    Exercise(
        name="12.c",
        answer=right_further.deletion,
        outputs=("the images",),
        inputs=_draw_images,
        mistakes=(
            Mistake("the least important patches were deleted; begin with the most important",
                    lambda x, m, count, P: _keep(x, m, ~_highest(m, count, True), P)),
            Mistake("only the most important patches are left: that is insertion",
                    lambda x, m, count, P: _keep(x, m, _highest(m, count), P)),
            Mistake("one patch too few was deleted",
                    lambda x, m, count, P: _keep(x, m, ~_highest(m, count - 1), P)),
            Mistake("one patch too many was deleted",
                    lambda x, m, count, P: _keep(x, m, ~_highest(m, count + 1), P)),
            Mistake("the same patches were deleted from every image; each has its own map",
                    _same_for_all),
            Mistake("the patches were replaced by the mean color of the image; use 0, which in "
                    "normalized images is the mean color of the data set", _grayed),
            Mistake("the map was read down the columns; patches are numbered along the rows",
                    _down_columns),
        ),
    )
)  # fmt: skip


# 12.d: rank_correlation(a, b) -> a number, of one pair of maps


def _draw_pair(rng: np.random.Generator, size: int) -> tuple:
    shape = ((2, 5), (3, 3), (4, 6))[size]
    a = rng.standard_normal(shape)
    return np.exp(2 * a), np.exp(a + rng.standard_normal(shape))


def _order(heat):
    return np.argsort(heat.ravel()).astype(float)


def _ranks(heat):
    return np.argsort(_order(heat)).astype(float)


def _centered(x):
    return x - x.mean()


def _cosine(x, y):
    return float((x * y).sum() / np.sqrt((x * x).sum() * (y * y).sum()))


def _correlation(x, y):
    return _cosine(_centered(x), _centered(y))


add(
    Exercise(
        name="12.d",
        warm_up=True,
        answer=right_further.rank_correlation,
        outputs=("the correlation",),
        inputs=_draw_pair,
        mistakes=(
            Mistake("that is the correlation of the values; compute their ranks first",
                    _correlation),
            Mistake("argsort was used once: it says which number is smallest, second smallest, and "
                    "so on; the rank of each number is the argsort of that argsort",
                    lambda a, b: _correlation(_order(a), _order(b))),
            Mistake("the mean rank was not subtracted: two unrelated maps then seem similar",
                    lambda a, b: _cosine(_ranks(a) + 1, _ranks(b) + 1)),
            Mistake("the ranks count from 0, and their mean was not subtracted: two unrelated maps "
                    "then seem similar",
                    lambda a, b: _cosine(_ranks(a), _ranks(b))),
            Mistake("that is a covariance; divide by both standard deviations",
                    lambda a, b: float((_centered(_ranks(a)) * _centered(_ranks(b))).mean())),
            Mistake("one map was ranked in ascending order and the other in descending order: the "
                    "sign is reversed",
                    lambda a, b: -_correlation(_ranks(a), _ranks(b))),
        ),
    )
)  # fmt: skip
