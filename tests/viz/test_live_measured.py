"""What tests/measure_live.py measures, in its smallest form."""

import numpy as np
import tiny
from measure_live import SETTLED, classes_in_javascript, measure

from minivit.models import ViT, ViTConfig

PASSES = f"""async () => {{
  const times = [];
  await {SETTLED};
  for (let i = 0; i < 4; i++) {{
    change({{ covered: [i] }});
    await {SETTLED};
    times.push(shown.milliseconds);
  }}
  return times;
}}"""


def test_the_page_answers_keys_while_the_model_runs(browser):
    _, times, answers = measure(browser, "Micro/4", PASSES, keys=12)
    assert np.median(answers) < max(50, np.median(times) / 2), "a busy machine delays both"


def test_float16_finds_the_same_classes():
    sizes = {"image_size": 8, "num_classes": 10, "dim": 16, "depth": 2, "num_heads": 2}
    model = tiny.lively(ViT(ViTConfig(**sizes, pool="mean")))
    images = 3 * np.random.default_rng(0).standard_normal((120, 3, 8, 8), np.float32)
    expected = model(images).argmax(-1)
    assert len(set(expected)) > 2, "one class for all would show no fault"
    assert (classes_in_javascript(model, images) == expected).mean() >= 0.99


def test_the_sizes_of_pages(browser):
    size, times, _ = measure(
        browser, "Nano/4", f"() => {SETTLED}.then(() => [shown.milliseconds])", 1
    )
    assert size < 1.2
    assert times[0] > 0
