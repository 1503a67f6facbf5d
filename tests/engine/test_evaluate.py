"""Accuracy, loss and confusion over a split, counted by hand."""

import numpy as np
import pytest
import tiny

from minivit.data import Split, Statistics
from minivit.engine import DataParallel
from minivit.engine.evaluation import evaluate
from minivit.models import ViT


@pytest.mark.parametrize("chunk", [5, 12, 1000])
def test_every_image_is_counted_once_whatever_the_chunks(monkeypatch, chunk):
    monkeypatch.setattr("minivit.engine.evaluation.CHUNK", chunk)
    part, model = tiny.split(12, 0), tiny.lively(ViT(tiny.VIT))
    statistics = Statistics.of(part.images)
    with DataParallel(model, 2) as workers:
        found = evaluate(workers.logits, part, statistics, 4)

    mean, std = (np.reshape(v, (3, 1, 1)) for v in (statistics.mean, statistics.std))
    logits = model(((part.images / 255 - mean) / std).astype(np.float32)).astype(np.float64)
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    told = logits.argmax(-1)
    expected = np.zeros((4, 4), int)
    for label, answer in zip(part.labels, told, strict=True):
        expected[label, answer] += 1
    np.testing.assert_array_equal(found.confusion, expected)
    assert found.accuracy == pytest.approx((told == part.labels).mean())
    assert found.loss == pytest.approx(-log_probs[np.arange(12), part.labels].mean(), rel=1e-5)


def test_rows_of_the_confusion_are_the_truth_and_columns_what_was_told():
    part = Split(np.zeros((3, 3, 8, 8), np.uint8), np.array([0, 0, 2]))
    statistics = Statistics((0.0,) * 3, (1.0,) * 3)
    always_one = np.array([0.0, 5.0, 0.0], np.float32)
    found = evaluate(lambda images: np.tile(always_one, (len(images), 1)), part, statistics, 3)
    np.testing.assert_array_equal(found.confusion, [[0, 2, 0], [0, 0, 0], [0, 1, 0]])
    assert found.accuracy == 0.0
