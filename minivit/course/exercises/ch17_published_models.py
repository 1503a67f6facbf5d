"""Chapter 17: published models."""

import numpy as np

from minivit.course import right_further
from minivit.course.exercise import Exercise, Hard, Mistake, add, question

# 17.a: first_component(tokens, rows, columns) -> (rows, columns), negative at the border

GRIDS = ((5, 7, 6), (6, 4, 9), (8, 6, 5))  # rows, columns, C


def _draw_tokens(rng: np.random.Generator, size: int, away: float = 3.0) -> tuple:
    """Tokens of an object in the middle and of its surroundings."""
    rows, columns, C = GRIDS[size]
    inside = np.zeros((rows, columns, 1))
    inside[1:-1, 1:-1] = 1
    objects, background = rng.standard_normal((2, C))
    tokens = inside * away * objects + (1 - inside) * background
    tokens = tokens + 0.2 * rng.standard_normal((rows, columns, C)) + 2 * rng.standard_normal(C)
    return tokens.reshape(rows * columns, C), rows, columns


def _parts(tokens, center=True):
    tokens = tokens - tokens.mean(0) if center else tokens
    left, singular, directions = np.linalg.svd(tokens, full_matrices=False)
    return tokens, left, singular, directions


def _oriented(found):
    border = np.concatenate([found[0], found[-1], found[:, 0], found[:, -1]])
    return -found if border.mean() > 0 else found


def _along(k, center=True):
    def component(tokens, rows, columns):
        x, _, _, directions = _parts(tokens, center)
        return _oriented((x @ directions[k]).reshape(rows, columns))

    return component


def _unit(tokens, rows, columns):
    return _oriented(_parts(tokens)[1][:, 0].reshape(rows, columns))


def _product_not_centered(tokens, rows, columns):
    return _oriented((tokens @ _parts(tokens)[3][0]).reshape(rows, columns))


def _by_columns(tokens, rows, columns):
    x, _, _, directions = _parts(tokens)
    return _oriented((x @ directions[0]).reshape(columns, rows).T)


add(
    Exercise(
        name="17.a",
        warm_up=True,
        hard=(
            Hard("where the surroundings have the longer tokens",
                 lambda rng: _draw_tokens(rng, 0, away=0.2)),
        ),
        answer=right_further.first_component,
        outputs=("the map",),
        inputs=_draw_tokens,
        mistakes=(
            Mistake("the mean token was not subtracted; the first direction is then that of the "
                    "mean and separates nothing", _along(0, center=False)),
            Mistake("the directions are right, but the tokens were multiplied without subtracting "
                    "their mean", _product_not_centered),
            Mistake("the second component was used; the first has index 0", _along(1)),
            Mistake("the last component was used; components are sorted in descending order",
                    _along(-1)),
            Mistake("the column of U was used alone: multiply it by its singular value", _unit),
            Mistake("the sign is reversed: the surroundings should be negative",
                    lambda *a: -right_further.first_component(*a)),
            Mistake("the patches were laid out down the columns; they are numbered along the rows",
                    _by_columns),
        ),
    )
)  # fmt: skip


# 17.b: how many tokens a ViT-S/14 with four registers has for an image of 518 × 518 pixels

add(
    Exercise(
        name="17.b",
        answer=1374,
        mistakes=(
            Mistake("the registers were left out; they are tokens, too", 1370),
            Mistake("the class token was left out", 1373),
            Mistake("the class token and the registers were left out", 1369),
            Mistake("only the 37 patches of one row were counted; there are 37 rows", 42),
            Mistake("16 × 16 patches were counted, as in an image of 224 pixels", 261),
        ),
    )
)


# 17.c: nearest(features, labels, queries) -> labels of the queries


def _draw_features(rng: np.random.Generator, size: int) -> tuple:
    N, Q, C, K = ((12, 9, 4, 3), (20, 15, 3, 5), (30, 25, 6, 4))[size]
    features = rng.standard_normal((N, C)) * np.exp(rng.standard_normal((N, 1)))
    return features, rng.integers(K, size=N), rng.standard_normal((Q, C)) + 0.5


def _by(score):
    return lambda features, labels, queries: labels[score(features, queries).argmax(1)]


def _cosines(features, queries):
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    return queries / np.linalg.norm(queries, axis=1, keepdims=True) @ unit.T


def _by_means(features, labels, queries):
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    classes = np.unique(labels)
    means = np.stack([unit[labels == k].mean(0) for k in classes])
    return classes[_cosines(means, queries).argmax(1)]


add(
    Exercise(
        name="17.c",
        answer=right_further.nearest,
        outputs=("labels",),
        inputs=_draw_features,
        mistakes=(
            Mistake("the features were not divided by their lengths: the longest always wins",
                    _by(lambda f, q: q @ f.T)),
            Mistake("distances were compared instead of angles",
                    _by(lambda f, q: -((q[:, None] - f) ** 2).sum(-1))),
            Mistake("the smallest cosine was taken: the least similar",
                    _by(lambda f, q: -_cosines(f, q))),
            Mistake("the absolute value of the cosine was taken: the opposite direction is not "
                    "similar",
                    _by(lambda f, q: np.abs(_cosines(f, q)))),
            Mistake("the indices were returned instead of the labels at those indices",
                    lambda f, y, q: _cosines(f, q).argmax(1)),
            Mistake("the mean of each class was compared; use the nearest single example",
                    _by_means),
        ),
    )
)  # fmt: skip


question(
    "17.d", "b",
    a="22 million weights can be trained on any machine, just slowly",
    b="22 million numbers fit a hundred images in countless ways, most of which are wrong for the "
      "next image; a matrix of 384 × 10, kept small by λ, has far fewer. With thousands of labels "
      "it is the other way around; see chapter 14",
    c="the model's gradients are as exact as any other model's, in all layers (see the tests of "
      "interop)",
    d="the head that the model was trained with is not in the file, but the model can be given a "
      "new one",
)  # fmt: skip

question(
    "17.e", "b",
    a="the IoU starts high: the patch projection passes on how light a patch is, and here that "
      "shows the figure",
    b="the figure is lighter than everything else, so the pixels themselves find it, and so do the "
      "first blocks. In the middle blocks the tokens represent other things. What the last blocks "
      "know about objects was learned from photographs and holds for drawings, too. A task that "
      "pixels alone can solve is no test of a model: this is why section 3 has a control with "
      "pixels",
    c="the tokens of the middle blocks vary mostly along directions other than that of the object",
    d="that would hold if blocks only lost what the pixels show, but the last blocks find the "
      "object again",
)  # fmt: skip
