"""tests/measure_live.py, with its smallest inputs."""

import numpy as np
import tiny
from measure_live import SETTLED, classes_in_javascript, measure

from minivit.models import ViT, ViTConfig


def test_the_model_runs_in_a_worker(browser):
    """Only in the worker: the page's main thread does no computation. Its response time is
    measured, not tested, because a busy machine delays everything."""
    expression = f"() => {SETTLED}.then(() => [typeof forward, typeof linear, typeof isIdle])"
    _, found, delays = measure(browser, "Nano/4", expression, keys=2)
    assert found.tolist() == ["undefined", "undefined", "function"]
    assert len(delays) == 2


def test_float16_finds_the_same_classes():
    sizes = {"image_size": 8, "num_classes": 10, "dim": 16, "depth": 2, "num_heads": 2}
    model = tiny.randomize(ViT(ViTConfig(**sizes, pool="mean")))
    images = 3 * np.random.default_rng(0).standard_normal((120, 3, 8, 8), np.float32)
    expected = model(images).argmax(-1)
    assert len(set(expected)) > 2, "one class for all would show no fault"
    assert (classes_in_javascript(model, images) == expected).mean() >= 0.99


def test_page_sizes_are_measured(browser):
    size, times, _ = measure(
        browser, "Nano/4", f"() => {SETTLED}.then(() => [shown.milliseconds])", 1
    )
    assert size < 1.2
    assert times[0] > 0
