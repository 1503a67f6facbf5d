"""Ridge regression on frozen features, against its definition and against explicit
leave-one-out."""

import numpy as np
import pytest

from minivit.engine import few_shot
from minivit.engine.few_shot import neighbor_votes, ridge_regression
from minivit.errors import UserError


def data(N=30, C=5, K=3, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(K, size=N)
    return rng.normal(size=(N, C)) + 0.7 * np.eye(K, C)[labels], labels


def fit(x, y, ridge):
    """By definition, for centered data: (XᵀX + λI) W = XᵀY."""
    xc, yc = x - x.mean(0), y - y.mean(0)
    weight = np.linalg.solve(xc.T @ xc + ridge * np.eye(x.shape[1]), xc.T @ yc)
    return weight, y.mean(0) - x.mean(0) @ weight


@pytest.mark.parametrize("ridge", [1e-3, 1.0, 30.0])
@pytest.mark.parametrize("N", [30, 4])  # more images than features, and fewer
def test_ridge_regression_solves_the_normal_equations(monkeypatch, ridge, N):
    x, labels = data(N)
    y = 2.0 * np.eye(3)[labels] - 1.0
    variance = np.mean(np.linalg.svd(x - x.mean(0), compute_uv=False) ** 2)
    monkeypatch.setattr(few_shot, "RIDGES", np.array([ridge]))
    weight, bias = ridge_regression(x, labels, 3)
    expected = fit(x, y, ridge * variance)
    np.testing.assert_allclose(weight, expected[0], atol=1e-9)
    np.testing.assert_allclose(bias, expected[1], atol=1e-9)


def test_the_chosen_ridge_is_best_in_leave_one_out():
    x, labels = data(25, 12)
    y = 2.0 * np.eye(3)[labels] - 1.0
    variance = np.mean(np.linalg.svd(x - x.mean(0), compute_uv=False) ** 2)
    errors = []
    for ridge in few_shot.RIDGES:
        total = 0.0
        for i in range(len(x)):
            others = np.arange(len(x)) != i
            weight, bias = fit(x[others], y[others], ridge * variance)
            total += ((y[i] - x[i] @ weight - bias) ** 2).sum()
        errors.append(total)
    best = few_shot.RIDGES[np.argmin(errors)]
    assert few_shot.RIDGES[0] < best < few_shot.RIDGES[-1]
    expected = fit(x, y, best * variance)
    np.testing.assert_allclose(ridge_regression(x, labels, 3)[0], expected[0], atol=1e-8)


def test_well_separated_classes_are_classified_correctly():
    x, labels = data(60)
    x += 10 * np.eye(3, 5)[labels]
    weight, bias = ridge_regression(x, labels, 3)
    assert ((x @ weight + bias).argmax(1) == labels).all()


def test_one_image_is_too_few():
    with pytest.raises(UserError, match="at least 2"):
        ridge_regression(np.ones((1, 3)), np.array([0]), 2)


def test_neighbor_votes_agree_with_a_loop():
    rng = np.random.default_rng(0)
    features, queries = rng.normal(size=(30, 5)), rng.normal(size=(7, 5))
    labels = rng.integers(0, 3, 30)
    found = neighbor_votes(features, labels, queries, 4, num_neighbors=6, temperature=0.1)
    for query, votes in zip(queries, found, strict=True):
        neighbors = [
            (float(query @ f / np.linalg.norm(query) / np.linalg.norm(f)), k)
            for f, k in zip(features, labels, strict=True)
        ]
        expected = np.zeros(4)
        for cosine, k in sorted(neighbors, reverse=True)[:6]:
            expected[k] += np.exp(cosine / 0.1)
        np.testing.assert_allclose(votes, expected, rtol=1e-12)


def test_with_one_neighbor_each_image_finds_itself():
    rng = np.random.default_rng(1)
    features, labels = rng.normal(size=(20, 8)).astype("float32"), rng.integers(0, 5, 20)
    votes = neighbor_votes(features, labels, 3 * features, 5, num_neighbors=1)
    assert votes.dtype == np.float32
    np.testing.assert_array_equal(votes.argmax(1), labels)
    all_votes = neighbor_votes(features, labels, features, 5, num_neighbors=100)
    assert (all_votes > 0).sum() == 20 * len(set(labels.tolist()))
