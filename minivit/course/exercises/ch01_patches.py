"""Chapter 01: patches."""

import numpy as np

from minivit.course import right
from minivit.course.exercise import Exercise, Hard, Mistake, add
from minivit.functional import patchify_backward, patchify_forward

SHAPES = (((2, 3, 4, 6), 2), ((3, 2, 9, 6), 3), ((2, 5, 8, 12), 4))  # (B, C, H, W), P

# 01.a: patchify(images, P) -> patches


def _draw_images(rng: np.random.Generator, size: int) -> tuple:
    shape, P = SHAPES[size]
    return rng.standard_normal(shape), P


def _in_order(*axes):
    """A wrong answer that puts the six axes (B, C, H/P, P, W/P, P) in this order."""

    def wrong(images, P):
        B, C, H, W = images.shape
        grid = images.reshape(B, C, H // P, P, W // P, P).transpose(axes)
        return grid.reshape(B, (H // P) * (W // P), P * P * C)

    return wrong


def _combed(images, P):
    B, C, H, W = images.shape
    grid = images.reshape(B, C, P, H // P, P, W // P)
    return grid.transpose(0, 3, 5, 2, 4, 1).reshape(B, (H // P) * (W // P), P * P * C)


add(
    Exercise(
        name="01.a",
        warm_up=True,
        hard=(
            Hard("for one image that is wider than tall",
                 lambda rng: (rng.standard_normal((1, 1, 2, 8)), 2)),
        ),
        grown=lambda rng, n: (rng.standard_normal((2, 3, 2 * n, 4 * n)), 2),
        answer=right.patchify,
        outputs=("patches",),
        inputs=_draw_images,
        mistakes=(
            Mistake("there is no transpose: reshape alone keeps the numbers in their order, so a "
                    "'patch' is a piece of the image's rows and not a square",
                    _in_order(*range(6))),
            Mistake("within a patch the channels come first; the order is row, column, channel",
                    _in_order(0, 2, 4, 1, 3, 5)),
            Mistake("the patches are in column order; reading order goes along the rows, so the "
                    "axis H/P comes before W/P", _in_order(0, 4, 2, 3, 5, 1)),
            Mistake("within a patch the columns come before the rows: every patch is mirrored "
                    "along its diagonal", _in_order(0, 2, 4, 5, 3, 1)),
            Mistake("the axes inside the patch and those of the grid are mixed up: P was put in "
                    "front of H/P and W/P", _in_order(0, 3, 5, 2, 4, 1)),
            Mistake("H was split into (P, H/P) instead of (H/P, P): a patch has every (H/P)-th row "
                    "of the image and is not a square of neighboring pixels", _combed),
            Mistake("the six axes are in the order of backward, (0, 5, 1, 3, 2, 4)",
                    _in_order(0, 5, 1, 3, 2, 4)),
        ),
    )
)  # fmt: skip


# 01.b: patchify_backward(dpatches, shape, P) -> dimages


def _draw_dpatches(rng: np.random.Generator, size: int) -> tuple:
    shape, P = SHAPES[size]
    B, C, H, W = shape
    return rng.standard_normal((B, (H // P) * (W // P), P * P * C)), shape, P


def _back(*axes):
    """A wrong answer that puts the six axes (B, H/P, W/P, P, P, C) in this order."""

    def wrong(dpatches, shape, P):
        B, C, H, W = shape
        grid = dpatches.reshape(B, H // P, W // P, P, P, C)
        return grid.transpose(axes).reshape(shape)

    return wrong


def _channel_first_back(dpatches, shape, P):
    B, C, H, W = shape
    grid = dpatches.reshape(B, H // P, W // P, C, P, P)
    return grid.transpose(0, 3, 1, 4, 2, 5).reshape(shape)


def _columns_first_back(dpatches, shape, P):
    B, C, H, W = shape
    grid = dpatches.reshape(B, W // P, H // P, P, P, C)
    return grid.transpose(0, 5, 2, 3, 1, 4).reshape(shape)


def _averaged(dpatches, shape, P):
    return patchify_backward(dpatches, (shape, P)) / dpatches.shape[1]


def _patchify_loss(dpatches, shape, P):
    images = np.zeros(shape)
    return lambda: float((dpatches * patchify_forward(images, P)[0]).sum()), {"dimages": images}


add(
    Exercise(
        name="01.b",
        warm_up=True,
        hard=(
            Hard("for one image that is wider than tall",
                 lambda rng: (rng.standard_normal((1, 4, 4)), (1, 1, 2, 8), 2)),
        ),
        answer=right.patchify_backward,
        outputs=("dimages",),
        inputs=_draw_dpatches,
        forward=_patchify_loss,
        mistakes=(
            Mistake("there is no transpose: the gradients were not moved back to their pixels",
                    _back(*range(6))),
            Mistake("the transpose of forward, (0, 2, 4, 3, 5, 1), was applied again instead of "
                    "its inverse; np.argsort of the order gives the inverse",
                    _back(0, 2, 4, 3, 5, 1)),
            Mistake("the two axes of length P were mixed up: rows inside a patch belong to H/P, "
                    "columns to W/P",
                    _back(0, 5, 1, 4, 2, 3)),
            Mistake("rows and columns were swapped, in the grid and in the patch",
                    _back(0, 5, 2, 4, 1, 3)),
            Mistake("a patch's numbers were read as (channel, row, column); the order is row, "
                    "column, channel", _channel_first_back),
            Mistake("the patches were read in column order; they are in reading order",
                    _columns_first_back),
            Mistake("the gradient was divided by the number of patches; a pixel is in one patch "
                    "and gets that gradient unchanged", _averaged),
        ),
    )
)  # fmt: skip


# 01.c: shuffle_backward(dshuffled, order) -> dpatches


def _draw_shuffle(rng: np.random.Generator, size: int) -> tuple:
    B, N, K = ((2, 5, 3), (3, 7, 4), (2, 9, 5))[size]
    order = rng.permutation(N)
    while np.array_equal(order[order], np.arange(N)):  # its own inverse
        order = rng.permutation(N)
    return rng.standard_normal((B, N, K)), order


def _shuffle_loss(dshuffled, order):
    patches = np.zeros(dshuffled.shape)
    return lambda: float((dshuffled * patches[:, order]).sum()), {"dpatches": patches}


add(
    Exercise(
        name="01.c",
        answer=right.shuffle_backward,
        outputs=("dpatches",),
        inputs=_draw_shuffle,
        forward=_shuffle_loss,
        mistakes=(
            Mistake("the shuffle was applied again instead of undone",
                    lambda dshuffled, order: dshuffled[:, order]),
            Mistake("the gradients stayed where they were; they must return to the patches that "
                    "they belong to", lambda dshuffled, order: dshuffled),
            Mistake("order was read backward ([::-1]); its inverse says where each patch went",
                    lambda dshuffled, order: dshuffled[:, order[::-1]]),
            Mistake("the patches were put in the opposite order, whatever the shuffle was",
                    lambda dshuffled, order: dshuffled[:, ::-1]),
            Mistake("the gradient was sorted by its own numbers; use the argsort of order instead",
                    lambda dshuffled, order: np.sort(dshuffled, 1)),
        ),
    )
)  # fmt: skip


# 01.d: patches, numbers in each, pairs; of ViT-B/16 at 224 × 224

add(
    Exercise(
        name="01.d",
        warm_up=True,
        answer=(196, 768, 196**2),
        outputs=("counts",),
        mistakes=(
            Mistake("the patches of one row were counted, 14; there are 14 rows of them",
                    (14, 768, 14**2)),
            Mistake("the channels were left out: each pixel has three numbers",
                    (196, 256, 196**2)),
            Mistake("each pair was counted once and no token was paired with itself; attention "
                    "compares every token with every token, both ways", (196, 768, 196 * 195 // 2)),
            Mistake("no token was paired with itself; attention also does that",
                    (196, 768, 196 * 195)),
            Mistake("the image was divided by P instead of P²: a patch has P² pixels",
                    (224 * 224 // 16, 768, (224 * 224 // 16) ** 2)),
            Mistake("the class token of chapter 02 was counted; here only patches count",
                    (197, 768, 197**2)),
        ),
    )
)  # fmt: skip
