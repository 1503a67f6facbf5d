"""The animation at the top of the README: the live page of a run, driven by a mouse.

The model decides what is shown: an image whose prediction changes when a few patches are covered,
those patches, and the head whose removal changes the prediction most.
"""

import sys
import tempfile
from io import BytesIO
from pathlib import Path

import numpy as np
from browser import FLAGS, chromium, playwright
from PIL import Image

from minivit import viz
from minivit.engine import Run, Trained, load_model
from minivit.functional import softmax_forward
from minivit.models import ViT, cover_patches

SIZE = {"width": 1280, "height": 800}
IMAGES = 8
MAX_COVERED = 3
SETTLED = """() => new Promise((done) => {
  const see = () => isIdle() ? done() : setTimeout(see, 5);
  see();
})"""

CURSOR = """() => {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 12 18");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", "M1 1v13l3.2-3 2.2 5.2 2.2-1-2.2-5H11z");
  path.setAttribute("fill", "#000");
  path.setAttribute("stroke", "#fff");
  svg.append(path);
  svg.id = "cursor";
  Object.assign(svg.style, { position: "fixed", width: "20px", zIndex: 9, pointerEvents: "none" });
  document.body.append(svg);
}"""


def main(run: str, out: str = "docs/images/live-page.png") -> None:
    """Write the animation and print its size."""
    path = Path(run)
    pixels = Run.open(path).read_config().load_data().test.images[:IMAGES]
    frames = film(load_model(path), pixels)
    size = save(frames, Path(out))
    print(f"{out}: {len(frames)} frames, {size / 1e6:.2f} MB")


def film(trained: Trained, pixels: np.ndarray, size: dict[str, int] = SIZE) -> list:
    """The frames in order, as (image, milliseconds)."""
    images = trained.statistics.normalize(pixels)
    effects = viz.knock_out(trained.model, images)
    found = [covers(trained.model, image[None]) for image in images]
    index = min(range(len(found)), key=lambda i: (not found[i][1], effects[i].min()))
    layer, head = np.unravel_index(effects[index].argmin(), effects.shape[1:])
    page = viz.live_page(
        trained.model,
        pixels,
        statistics=trained.statistics,
        class_names=trained.class_names,
        names=[f"test image {i}" for i in range(len(pixels))],
        title=f"A Vision Transformer trained on {trained.data}",
    )
    with playwright.sync_playwright() as engine, tempfile.TemporaryDirectory() as folder:
        page.save(Path(folder) / "page.html")
        browser = engine.chromium.launch(executable_path=chromium(), args=FLAGS)
        tab = browser.new_page(viewport=size, color_scheme="light", reduced_motion="reduce")
        tab.goto(f"file://{folder}/page.html#image={index + 1}")
        camera = Camera(tab)
        tab.click(f"#images button >> nth={index}")
        play(camera, found[index][0], trained.model.config.grid, int(layer), int(head))
        browser.close()
    return camera.frames


def play(
    camera: "Camera", patches: list[int], grid: tuple[int, int], layer: int, head: int
) -> None:
    """The script: cover patches, turn a head off, remove the positions; each is undone again."""
    camera.shot(1500)
    camera.click("input[name=tool][value=cover]")
    for patch in patches:
        camera.click("#stage", patch, grid)
        camera.shot(900)
    camera.shot(1200)
    camera.click("#reset")
    camera.shot(800)
    camera.click(f'#maps [aria-label^="layer {layer + 1}, head {head + 1}"]')
    camera.shot(600)
    camera.click("#head-off")
    camera.shot(1800)
    if camera.tab.locator("#positions").is_visible():
        camera.click("#positions input[value=off]")
        camera.shot(1800)
    camera.click("#reset")
    camera.shot(1500)


class Camera:
    """Moves the mouse of a page, and takes screenshots."""

    def __init__(self, tab):
        self.tab, self.frames, self.position = tab, [], (640.0, 420.0)
        tab.evaluate(SETTLED)
        tab.evaluate(CURSOR)

    def shot(self, milliseconds: int) -> None:
        """One frame, once the model has run."""
        self.tab.evaluate(SETTLED)
        self.tab.evaluate(
            "([x, y]) => Object.assign($('cursor').style, { left: `${x}px`, top: `${y}px` })",
            list(self.position),
        )
        image = Image.open(BytesIO(self.tab.screenshot())).convert("RGB")
        self.frames.append((image, milliseconds))

    def click(self, where: str, patch: int | None = None, grid: tuple[int, int] = (1, 1)) -> None:
        """Move there in a few frames and click. patch: its place in the grid; None: the center."""
        rows, columns = grid
        row, column = divmod(patch or 0, columns)
        box = self.tab.locator(where).first.bounding_box()
        target = (
            box["x"] + (column + 0.5) * box["width"] / columns,
            box["y"] + (row + 0.5) * box["height"] / rows,
        )
        start = self.position
        for fraction in (0.35, 0.7, 0.92, 1.0):
            self.position = tuple(
                a + fraction * (b - a) for a, b in zip(start, target, strict=True)
            )
            self.shot(60)
        self.tab.mouse.click(*target)


def covers(model: ViT, image: np.ndarray) -> tuple[list[int], bool]:
    """Patches chosen greedily, each to lower the predicted class most, and whether the last one
    changes the predicted class."""
    N, P = model.config.num_tokens - model.config.num_prefix, model.config.patch_size
    predicted, chosen = int(model(image).argmax()), []
    for _ in range(min(MAX_COVERED, N)):
        others = [patch for patch in range(N) if patch not in chosen]
        candidates = [cover_patches(image, [*chosen, patch], P) for patch in others]
        probs, _ = softmax_forward(model(np.concatenate(candidates)))
        lowest = probs[:, predicted].argmin()
        chosen.append(others[lowest])
        if probs[lowest].argmax() != predicted:
            return chosen, True
    return chosen, False


def save(frames: list, path: Path) -> int:
    """Write an animated PNG that loops forever; return its size in bytes."""
    images, durations = zip(*frames, strict=True)
    images[0].save(
        path, save_all=True, append_images=images[1:], duration=durations, loop=0, optimize=True
    )
    return path.stat().st_size


if __name__ == "__main__":
    main(*sys.argv[1:])
