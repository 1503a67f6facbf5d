"""Few-shot classifiers on frozen features, without training steps: a linear one in closed form
(paper, section 4.1), and nearest neighbors.
"""

from typing import Any

import numpy as np

from minivit.backend.random import Purpose, generator
from minivit.engine.evaluation import chunks
from minivit.engine.parallel import DataParallel
from minivit.engine.trainer import Trainer
from minivit.errors import UserError

DRAWS = 5  # how many times the images are drawn
RIDGES = 2.0 ** np.arange(-20, 11, 2)  # candidates for λ, times the features' mean variance


def ridge_regression(
    features: np.ndarray, labels: np.ndarray, num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    r"""Least squares from features to targets of -1 and 1, with weight decay.

    .. math:: W = (X^\top X + \lambda I)^{-1} X^\top Y, \qquad Y_{ik} = \begin{cases}
              1 & \text{image } i \text{ is of class } k \\ -1 & \text{otherwise} \end{cases}

    X and Y are centered; the bias restores the means. λ is the candidate with the smallest
    leave-one-out error, which needs no second fit: with the singular values of X, the residual of a
    left-out image is :math:`r_i / (1 - h_{ii})`.

    Args:
        features: (N, C). labels: (N,), below num_classes.

    Returns:
        weight (C, K), bias (K,), in float64: scores are `features @ weight + bias`.

    Raises:
        UserError: fewer than two images.
    """
    if len(labels) < 2:
        raise UserError(f"{len(labels)} image to fit a classifier to; expected at least 2")
    x, y = features.astype(np.float64), 2.0 * np.eye(num_classes)[labels] - 1.0
    x_mean, y_mean = x.mean(0), y.mean(0)
    u, s, vt = np.linalg.svd(x - x_mean, full_matrices=False)
    projected = u.T @ (y - y_mean)
    variance = max((s * s).mean(), np.finfo(float).tiny)

    def leave_one_out_error(ridge: float) -> float:
        shrink = s * s / (s * s + ridge * variance)
        residual = (y - y_mean) - u @ (shrink[:, None] * projected)
        leverage = (u * u) @ shrink + 1.0 / len(y)  # the mean, too, depends on each image
        return float(np.square(residual / np.maximum(1.0 - leverage, 1e-9)[:, None]).sum())

    ridge = min(RIDGES, key=leave_one_out_error) * variance
    weight = vt.T @ ((s / (s * s + ridge))[:, None] * projected)
    return weight, y_mean - x_mean @ weight


def neighbor_votes(
    features: np.ndarray,
    labels: np.ndarray,
    queries: np.ndarray,
    num_classes: int,
    num_neighbors: int = 20,
    temperature: float = 0.07,
) -> np.ndarray:
    r"""The votes of the k nearest images for each query, by class.

    .. math:: v_{qc} = \sum_{i \in \mathcal N_k(q)} [y_i = c]\, e^{\cos(f_q, f_i) / \tau}

    Args:
        features: (N, C). labels: (N,), below num_classes. queries: (Q, C). num_neighbors: k; all
        images if there are fewer. temperature: τ.

    Returns:
        (Q, num_classes).

    Source: Wu et al. (2018), section 3.3; k and τ as in Caron et al. (2021), DINO.
    """
    unit_features, unit_queries = (
        a / np.linalg.norm(a, axis=1, keepdims=True) for a in (features, queries)
    )
    cosine = unit_queries @ unit_features.T
    nearest = np.argsort(-cosine, axis=1, kind="stable")[:, :num_neighbors]
    weight = np.exp(np.take_along_axis(cosine, nearest, 1) / temperature)
    votes = np.zeros((len(queries), num_classes), weight.dtype)
    np.add.at(votes, (np.arange(len(queries))[:, None], labels[nearest]), weight)
    return votes


def few_shot_curve(trainer: Trainer, shots: tuple[int, ...]) -> list[dict[str, Any]]:
    """Test accuracy by number of images per class, with features of the trainer's model; nothing is
    trained. Prints one line per number of shots.

    Returns:
        one dict per number of shots: "shots"; "accuracy", of the linear classifier, a list with one
        number per draw; "neighbours", the same for nearest neighbors.

    Raises:
        UserError: a class has fewer images.
    """
    train, test = trainer.batches.split, trainer.dataset.test
    _require_shots(shots, train.labels, trainer.dataset.class_names)
    with DataParallel(trainer.model, trainer.config.threads) as workers:
        features, test_features = (
            np.concatenate([workers.features(x) for *_, x in chunks(part, trainer.statistics)])
            for part in (train, test)
        )
    K, rows = trainer.dataset.num_classes, []
    print(f"{trainer.dataset.name}, {len(test)} test images, {DRAWS} draws each")
    for count in shots:
        found: dict[str, list[float]] = {"accuracy": [], "neighbours": []}
        for draw in range(DRAWS):
            rng = generator(trainer.config.seed, Purpose.SAMPLE, count, draw)
            chosen = _sample_shots(train.labels, count, K, rng)
            weight, bias = ridge_regression(features[chosen], train.labels[chosen], K)
            votes = neighbor_votes(features[chosen], train.labels[chosen], test_features, K)
            for name, scores in (
                ("accuracy", test_features @ weight + bias),
                ("neighbours", votes),
            ):
                found[name].append(float((scores.argmax(-1) == test.labels).mean()))
        rows.append({"shots": count, **found})
        linear, nearest = (f"{np.mean(a):.2%} ± {np.std(a):.2%}" for a in found.values())
        print(f"{count:6} per class: {linear}; nearest neighbors {nearest}")
    return rows


def _require_shots(
    shots: tuple[int, ...], labels: np.ndarray, class_names: tuple[str, ...]
) -> None:
    """Raise UserError if a class has too few images: a curve must not show more than was used."""
    counts = np.bincount(labels, minlength=len(class_names))
    smallest = int(counts.argmin())
    if max(shots) > counts[smallest]:
        raise UserError(
            f"few_shot is {max(shots)}; expected at most {counts[smallest]} images per class: "
            f"class {class_names[smallest]} has no more training images"
        )


def _sample_shots(labels: np.ndarray, count: int, K: int, rng: np.random.Generator) -> np.ndarray:
    """Indices of `count` images of each class."""
    order = rng.permutation(len(labels))
    return np.concatenate([order[labels[order] == k][:count] for k in range(K)])
