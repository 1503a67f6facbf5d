"""Accuracy, loss and confusion matrix of a split, computed by hand."""

import warnings

import numpy as np
import pytest
import tiny

from minivit.data import Split, Statistics
from minivit.engine import DataParallel
from minivit.engine.evaluation import Evaluation, evaluate, top_two
from minivit.models import ViT


@pytest.mark.parametrize("chunk", [5, 12, 1000])
def test_every_image_is_counted_once_for_any_chunk_size(monkeypatch, chunk):
    monkeypatch.setattr("minivit.engine.evaluation.CHUNK", chunk)
    part, model = tiny.split(12, 0), tiny.randomize(ViT(tiny.VIT))
    statistics = Statistics.of(part.images)
    with DataParallel(model, 2) as workers:
        found = evaluate(workers.logits, part, statistics, 4)

    mean, std = (np.reshape(v, (3, 1, 1)) for v in (statistics.mean, statistics.std))
    logits = model(((part.images / 255 - mean) / std).astype(np.float32)).astype(np.float64)
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    predicted = logits.argmax(-1)
    expected = np.zeros((4, 4), int)
    for label, prediction in zip(part.labels, predicted, strict=True):
        expected[label, prediction] += 1
    np.testing.assert_array_equal(found.confusion, expected)
    assert found.accuracy == pytest.approx((predicted == part.labels).mean())
    assert found.loss == pytest.approx(-log_probs[np.arange(12), part.labels].mean(), rel=1e-5)
    order = np.argsort(-logits, -1)[:, :2]
    np.testing.assert_array_equal(found.predictions.classes, order)
    probs = np.exp(np.take_along_axis(log_probs, order, -1))
    np.testing.assert_allclose(found.predictions.probs, probs, rtol=1e-5)


def test_confusion_rows_are_true_classes_and_columns_are_predictions():
    part = Split(np.zeros((3, 3, 8, 8), np.uint8), np.array([0, 0, 2]))
    statistics = Statistics((0.0,) * 3, (1.0,) * 3)
    always_one = np.array([0.0, 5.0, 0.0], np.float32)
    found = evaluate(lambda images: np.tile(always_one, (len(images), 1)), part, statistics, 3)
    np.testing.assert_array_equal(found.confusion, [[0, 2, 0], [0, 0, 0], [0, 1, 0]])
    assert found.accuracy == 0.0


def test_ties_are_resolved_in_favor_of_the_first_classes():
    found = top_two(np.array([[1.0, 5.0, 5.0], [2.0, 2.0, 2.0], [7.0, -9.0, 8.0]]))
    np.testing.assert_array_equal(found.classes, [[1, 2], [0, 1], [2, 0]])
    np.testing.assert_allclose(found.probs[1], [1 / 3, 1 / 3])
    assert found.probs[2].sum() == pytest.approx(1, abs=1e-6)
    single = top_two(np.array([[3.0]]))
    assert (single.classes.tolist(), single.probs.tolist()) == ([[0, 0]], [[1.0, 1.0]])


# Metrics per class


def make_evaluation(confusion):
    confusion = np.array(confusion)
    return Evaluation(float(np.trace(confusion) / confusion.sum()), 0.0, confusion)


def test_metrics_per_class_by_hand():
    """Three classes, one without images that is predicted once, and one that is never predicted."""
    found = make_evaluation(
        [
            [6, 2, 0, 0, 0],
            [1, 3, 0, 0, 0],
            [0, 0, 4, 1, 0],
            [0, 0, 0, 0, 0],
            [1, 1, 0, 0, 0],
        ]
    )
    nan = np.nan
    np.testing.assert_array_equal(found.counts, [8, 4, 5, 0, 2])
    np.testing.assert_allclose(found.recall, [6 / 8, 3 / 4, 4 / 5, nan, 0])
    np.testing.assert_allclose(found.precision, [6 / 8, 3 / 6, 1, 0, nan])
    np.testing.assert_allclose(found.f1, [6 / 8, 0.6, 8 / 9, 0, 0])
    assert found.balanced_accuracy == pytest.approx((0.75 + 0.75 + 0.8 + 0) / 4)
    nothing = make_evaluation([[1, 0], [0, 0]])
    for values in (nothing.recall, nothing.precision, nothing.f1):
        np.testing.assert_array_equal(values, [1, nan])


@pytest.mark.parametrize("seed", range(5))
def test_metrics_per_class_agree_with_scikit_learn(seed):
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(seed)
    K = 7
    truth = rng.integers(K - 1, size=60)  # no image of the last class
    predicted = rng.choice([0, 1, 2, 3, 5, 6], 60)  # the third last is never predicted
    confusion = np.zeros((K, K), int)
    np.add.at(confusion, (truth, predicted), 1)
    np.testing.assert_array_equal(
        confusion, metrics.confusion_matrix(truth, predicted, labels=np.arange(K))
    )
    found = make_evaluation(confusion)
    precision, recall, f1, counts = metrics.precision_recall_fscore_support(
        truth, predicted, labels=np.arange(K), zero_division=np.nan
    )
    np.testing.assert_array_equal(found.counts, counts)
    np.testing.assert_allclose(found.recall, recall)
    np.testing.assert_allclose(found.precision, precision)
    np.testing.assert_allclose(found.f1, f1)
    assert np.isnan(precision).any()
    assert np.isnan(recall).any()
    with warnings.catch_warnings():
        # scikit-learn warns about classes that are predicted but absent
        warnings.simplefilter("ignore")
        balanced = metrics.balanced_accuracy_score(truth, predicted)
    assert found.balanced_accuracy == pytest.approx(balanced)


def test_without_classes_there_are_no_metrics_per_class():
    with pytest.raises(ValueError, match="no confusion matrix"):
        _ = Evaluation(0.5, 1.0, None).recall
