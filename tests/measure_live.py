"""Measures the live page.

For sizes such as Nano/4: the page's size, the time of a forward pass in Chromium, and how long the
page takes to respond to a key meanwhile. The models are untrained, which makes no difference here;
the first pass, in which the browser compiles, is not counted.

For a run, with --same RUN: on how many of 1,000 test images the page, whose weights are float16,
predicts the same class as Python.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from browser import FLAGS, chromium, playwright
from javascript import run_javascript

from minivit.commands.images import test_split
from minivit.commands.weights import load_any
from minivit.data import Statistics
from minivit.models import ViT, ViTConfig
from minivit.viz import live_page
from minivit.viz.live import WORKER
from minivit.viz.packed import packed

PASSES = 60
SETTLED = """new Promise((done) => {
  const see = () => isIdle() ? done() : setTimeout(see, 5);
  see();
})"""
RUN = f"""async () => {{
  const times = [];
  await {SETTLED};
  for (let i = 0; i < {PASSES}; i++) {{
    change({{ covered: [i % PATCHES] }});
    await {SETTLED};
    times.push(shown.milliseconds);
  }}
  return times;
}}"""
WATCH = """() => {
  window.answered = [];
  new PerformanceObserver((list) => {
    for (const { name, startTime, processingEnd } of list.getEntries())
      if (name === "keydown") answered.push(processingEnd - startTime);
  }).observe({ type: "event", durationThreshold: 16 });
}"""


def main(names: list[str]) -> None:
    """Print a line for each model."""
    if names[:1] == ["--same"]:
        same_class(Path(names[1]))
        return
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=chromium(), args=FLAGS)
        for name in names:
            size, times, latencies = measure(browser, name)
            low, middle, high = np.percentile(times, [0, 50, 90])
            print(
                f"{name}: {size:.2f} MB, {middle:.0f} ms ({low:.0f} to {high:.0f}, 9 of 10); a key "
                f"answered in {np.median(latencies):.0f} ms ({max(latencies):.0f} at most)",
                flush=True,
            )
        browser.close()


def measure(browser, name: str, passes: str = RUN, keys: int = 40) -> tuple:
    """Megabytes, milliseconds of each pass, and response time to each key in milliseconds."""
    model = ViT(ViTConfig.preset(name))
    images = np.zeros((8, 3, *model.config.image_hw), np.uint8)
    page = live_page(model, images, statistics=Statistics((0.5,) * 3, (0.2,) * 3))
    with tempfile.TemporaryDirectory() as folder:
        page.save(Path(folder) / "page.html")
        tab = browser.new_page()
        tab.goto(f"file://{folder}/page.html")
        times = np.array(tab.evaluate(passes))
        latencies = measure_latencies(tab, keys)
        tab.close()
    return len(page.html.encode()) / 1e6, times, latencies


def measure_latencies(tab, keys: int) -> list[float]:
    """Press keys while the model runs; a response within one frame counts as 16 ms."""
    tab.evaluate(WATCH)
    tab.focus("#maps button[aria-pressed=true]")
    for i in range(keys):
        tab.evaluate(f"change({{ covered: [{i} % PATCHES] }})")
        tab.keyboard.press(("ArrowLeft", "ArrowRight")[i % 2])
    tab.evaluate(SETTLED)
    tab.wait_for_timeout(200)
    found = tab.evaluate("answered")
    return [*found, *[16.0] * (keys - len(found))]


def same_class(run: Path, count: int = 1_000) -> None:
    """Print how many of the test images get the same class."""
    trained = load_any(run)
    pixels = test_split(run, None)[:count].images
    inputs = trained.statistics.normalize(pixels)
    expected = np.concatenate([trained.model(part).argmax(-1) for part in chunks(inputs)])
    found = classes_in_javascript(trained.model, inputs)
    same = int((found == expected).sum())
    print(
        f"{same} of {len(pixels)} test images get the same class: {100 * same / len(pixels):.2f} %"
    )


def chunks(inputs: np.ndarray) -> list[np.ndarray]:
    """Yield a hundred images at a time."""
    return [inputs[start : start + 100] for start in range(0, len(inputs), 100)]


def classes_in_javascript(model: ViT, inputs: np.ndarray) -> np.ndarray:
    """The class that the page's model predicts for each image; inputs (N, channels, H, W),
    normalized."""
    expression = """((model) => argument.images.map((image) => {
      const { logits } = forward(model, Float32Array.from(image));
      return logits.indexOf(Math.max(...logits));
    }))(unpackAll(argument.model))"""
    found = []
    for part in chunks(inputs):
        images = part.reshape(len(part), -1).tolist()
        found += run_javascript(WORKER[:-1], expression, {"model": packed(model), "images": images})
    return np.array(found)


if __name__ == "__main__":
    main(sys.argv[1:])
