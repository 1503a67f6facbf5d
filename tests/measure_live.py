"""Size of the live page and time of one forward pass in Chromium, for sizes such as Nano/4.

The models are untrained, which changes neither; the first pass, in which the browser compiles, is
not counted.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from browser import FLAGS, chromium, playwright

from minivit.data import Statistics
from minivit.models import ViT, ViTConfig
from minivit.viz import live_page

PASSES = 60
RUN = f"""async () => {{
  const settled = () => new Promise((done) => {{
    const see = () => isIdle() ? done() : setTimeout(see, 5);
    see();
  }});
  const times = [];
  await settled();
  for (let i = 0; i < {PASSES}; i++) {{
    change({{ covered: [i % PATCHES] }});
    await settled();
    times.push(shown.milliseconds);
  }}
  return times;
}}"""


def main(names: list[str]) -> None:
    """A line for each model."""
    statistics = Statistics((0.5,) * 3, (0.2,) * 3)
    with playwright.sync_playwright() as engine, tempfile.TemporaryDirectory() as folder:
        browser = engine.chromium.launch(executable_path=chromium(), args=FLAGS)
        for name in names:
            model = ViT(ViTConfig.preset(name))
            images = np.zeros((8, 3, *model.config.image_hw), np.uint8)
            page = live_page(model, images, statistics=statistics)
            page.save(Path(folder) / "page.html")
            tab = browser.new_page()
            tab.goto(f"file://{folder}/page.html")
            times = np.array(tab.evaluate(RUN))
            low, middle, high = np.percentile(times, [0, 50, 90])
            size = len(page.html.encode()) / 1e6
            print(
                f"{name}: {size:.2f} MB, {middle:.0f} ms ({low:.0f} to {high:.0f}, 9 of 10)",
                flush=True,
            )
            tab.close()
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
