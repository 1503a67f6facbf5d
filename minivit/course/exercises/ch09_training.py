"""Chapter 09: training."""

import math

import numpy as np

from minivit.course import right, right_further
from minivit.course.exercise import Exercise, Hard, Mistake, add
from minivit.course.nano import grade_training
from minivit.course.whole import vit_backward

# 09.a: the first loss, 100 classes and label smoothing 0.1

add(
    Exercise(
        name="09.a",
        answer=math.log(100),
        mistakes=(
            Mistake("that is for ten classes; here there are a hundred", math.log(10)),
            Mistake(
                "only the true class's part of the target, 0.9, was counted; the other 0.1 is "
                "spread over classes with the same logarithm",
                0.9 * math.log(100),
            ),
            Mistake("the logarithm is to base 10; cross-entropy uses the natural one", 2.0),
            Mistake("the logarithm is to base 2; that counts bits", math.log2(100)),
            Mistake("that is the probability of each class; the loss is minus its logarithm", 0.01),
        ),
    )
)


# 09.b: how many images until the accuracy's standard error is one point, at 80 %

add(
    Exercise(
        name="09.b",
        answer=1600,
        mistakes=(
            Mistake("the standard error was not squared when solving for n", 16),
            Mistake(
                "the square root of p(1 - p) was kept; when solving for n, both sides are squared",
                40,
            ),
            Mistake("p = 0.5 was used, the worst case; here p is 0.8", 2500),
            Mistake("1 - p was left out", 8000),
            Mistake("p was left out", 2000),
        ),
    )
)


# 09.c: confusion(labels, predictions, K) -> counts

CASES = ((12, 3), (40, 5), (25, 7))  # images, classes


def _draw_answers(rng: np.random.Generator, size: int) -> tuple:
    N, K = CASES[size]
    labels = rng.integers(K, size=N)
    predictions = np.where(rng.random(N) < 0.5, labels, rng.integers(K, size=N))
    labels[:3], predictions[:3] = (0, 0, 1), (1, 1, 0)  # one confusion twice, its reverse once
    return labels, predictions, K


def _confusion(labels, predictions, K):
    counts = np.zeros((K, K), np.int64)
    np.add.at(counts, (labels, predictions), 1)
    return counts


def _once(labels, predictions, K):
    counts = np.zeros((K, K), np.int64)
    counts[labels, predictions] += 1
    return counts


def _mistakes_alone(labels, predictions, K):
    counts = _confusion(labels, predictions, K)
    return counts - np.diag(np.diag(counts))


def _fractions(axis):
    def wrong(labels, predictions, K):
        counts = _confusion(labels, predictions, K)
        return counts / np.maximum(counts.sum(axis, keepdims=True), 1)

    return wrong


def _of_seen(labels, predictions, K):
    seen = int(max(labels.max(), predictions.max())) + 1
    return _confusion(labels, predictions, seen)


add(
    Exercise(
        name="09.c",
        warm_up=True,
        hard=(
            Hard("where the last classes do not occur",
                 lambda rng: (np.array([0, 1, 1]), np.array([1, 1, 0]), 5)),
        ),
        answer=_confusion,
        outputs=("counts",),
        inputs=_draw_answers,
        mistakes=(
            Mistake('the table has as many rows as there are classes in this batch instead of K',
                    _of_seen),
            Mistake("rows and columns are swapped: the row is the true class, the column what was "
                    "predicted", lambda y, p, K: _confusion(p, y, K)),
            Mistake("counts[labels, predictions] += 1 adds once even if a pair occurs several "
                    "times; np.add.at adds each time", _once),
            Mistake("the correct predictions are left out: they belong on the diagonal",
                    _mistakes_alone),
            Mistake("only the correct predictions were counted",
                    lambda y, p, K: np.diag(np.diag(_confusion(y, p, K)))),
            Mistake("each row was divided by its sum; return counts", _fractions(1)),
            Mistake("each column was divided by its sum; return counts", _fractions(0)),
        ),
    )
)  # fmt: skip


# 09.d: combine(gradients, losses, sizes) -> gradient and loss of the whole batch

PIECES = (((4, 4, 1), 2, 3), ((5, 2), 4, 3), ((3, 1, 6, 2), 3, 5))  # sizes, I, O


def _draw_pieces(rng: np.random.Generator, size: int) -> tuple:
    sizes, inputs, outputs = PIECES[size]
    M = len(sizes)
    gradients = rng.standard_normal((M, inputs, outputs))
    return gradients, rng.uniform(0.5, 2.5, M), np.array(sizes, float)


def _weighted(weights):
    """Both results as sums over the pieces, weighted by weights(sizes)."""

    def combine(gradients, losses, sizes):
        w = weights(sizes).astype(gradients.dtype)
        return np.tensordot(w, gradients, 1), w @ losses

    return combine


def _last_dropped(sizes):
    remaining = sizes.copy()
    remaining[-1] = 0
    return remaining / remaining.sum()


def _last_alone(sizes):
    return (np.arange(len(sizes)) == len(sizes) - 1) * 1.0


add(
    Exercise(
        name="09.d",
        answer=right_further.combine,
        outputs=("dweight", "loss"),
        inputs=_draw_pieces,
        mistakes=(
            Mistake("every piece has the same weight: a mean of means is the overall mean only if "
                    "the pieces are equally large", _weighted(lambda n: np.ones_like(n) / len(n))),
            Mistake("the pieces were summed: each is already a mean, so the sum grows with their "
                    "number", _weighted(np.ones_like)),
            Mistake("the division by the whole batch is missing: that is the sum over all "
                    "images, not their mean", _weighted(lambda n: n)),
            Mistake("the sum over all images was divided by the number of pieces, not by the "
                    "number of images", _weighted(lambda n: n / len(n))),
            Mistake("the last piece was left out", _weighted(_last_dropped)),
            Mistake("each piece overwrote the one before (=), so only the last is left; add them "
                    "(+=)", _weighted(_last_alone)),
        ),
    )
)  # fmt: skip


# 09.e: normalize(training, others) -> others, as the model must see them

SPLITS = ((6, 2, 4, 3), (5, 3, 2, 4), (7, 4, 3, 5))  # N, M, H, W


def _draw_splits(rng: np.random.Generator, size: int) -> tuple:
    N, M, H, W = SPLITS[size]
    shift = np.array([0.1, 0.3, 0.0])[:, None, None]
    spread = np.array([0.3, 0.5, 0.8])[:, None, None]
    training = shift + spread * rng.random((N, 3, H, W))
    return training, 0.2 + 0.5 * rng.random((M, 3, H, W))


def _by(source, axis, power=1):
    """others normalized by mean and std**power of source(training, others) over `axis`."""

    def normalize(training, others):
        seen = source(training, others)
        mean, std = seen.mean(axis, keepdims=True), seen.std(axis, keepdims=True)
        return (others - mean) / std**power

    return normalize


def _training(training, others):
    return training


def _others(training, others):
    return others


add(
    Exercise(
        name="09.e",
        answer=right_further.normalize,
        outputs=("the result",),
        inputs=_draw_splits,
        mistakes=(
            Mistake("the images were normalized by their own mean and standard deviation; the "
                    "model was trained on images normalized by those of the training set",
                    _by(_others, (0, 2, 3))),
            Mistake("each image was normalized by its own mean and standard deviation, which hides "
                    "whether it was light or dark",
                    _by(_others, (2, 3))),
            Mistake("mean and standard deviation were taken over both sets together: nothing may "
                    "be learned from the validation images",
                    _by(lambda t, o: np.concatenate([t, o]), (0, 2, 3))),
            Mistake("one mean and one standard deviation were used for all three channels; each "
                    "channel has its own",
                    _by(_training, None)),
            Mistake("every pixel got its own mean and standard deviation (axis 0 only); take them "
                    "over images, rows and columns", _by(_training, 0)),
            Mistake("it was divided by the variance; the square root is missing",
                    _by(_training, (0, 2, 3), 2)),
            Mistake("the division by the standard deviation is missing",
                    _by(_training, (0, 2, 3), 0)),
        ),
    )
)  # fmt: skip


# 09.f: (my_vit_backward, my_adam), used to train Nano; graded by accuracy


def _doubled(dlogits, s, w):
    return {
        n: 2 * g if n.endswith("dscores") else g for n, g in vit_backward(dlogits, s, w).items()
    }


def _uphill(dlogits, s, w):
    return vit_backward(-dlogits, s, w)


def _uncorrected(theta, grad, m, v, t, lr, betas, eps):
    _, m, v = right.adam(theta, grad, m, v, t, lr, betas, eps)
    return theta - lr * m / (np.sqrt(v) + eps), m, v


add(
    Exercise(
        name="09.f",
        answer=(vit_backward, right.adam),
        parts=("07.g", "08.c"),
        grade=grade_training,
        mistakes=(
            Mistake("the first wrong one is blocks.1.attn.dscores: It looks as if it is 2 times "
                    "what it should be", (_doubled, right.adam)),
            Mistake("the first one, head.dx, is already wrong: It looks as if the sign is reversed",
                    (_uphill, right.adam)),
            Mistake("both bias corrections are missing", (vit_backward, _uncorrected)),
        ),
    )
)  # fmt: skip
