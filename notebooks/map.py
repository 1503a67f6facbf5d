"""Draw the map of the course: python notebooks/map.py writes docs/images/course.png.

Titles and minutes are read from the notebooks; each chapter has a small image of its subject.
"""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from minivit.data import shapes
from minivit.functional import gelu_forward, sincos_2d, softmax_forward
from minivit.viz import save_figure
from minivit.viz.maps import token_similarity
from minivit.viz.style import BLUE, GRAY, GREEN, HEAT, ORANGE, bare

HERE = Path(__file__).resolve().parent

ROWS = (
    {"From pixels to tokens": (0, 1, 2)},
    {"The parts, each with its gradient": (3, 4, 5, 6, 7)},
    {"Learning": (8, 9), "Looking inside": (10, 11, 12)},
    {"The paper's experiments, speed, and published models": (13, 14, 15, 16, 17)},
)
SHORT = {9: "Training", 12: "An explanation?"}
"""Shorter titles, where the title is too long for a card."""

WIDTH, CARD, GAP = 5, 1.55, 0.18  # cards in a row; inches
ROW = CARD + 0.78


def chapters() -> Iterator[tuple[int, str, str]]:
    """Yield (number, title, minutes of reading) for every notebook."""
    for path in sorted(HERE.glob("*.ipynb")):
        first = "".join(json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"])
        number, title = re.match(r"# (\d\d) · (.+)", first).groups()
        minutes = re.search(r"(\d+) minutes", first).group(1)
        yield int(number), SHORT.get(int(number), title), minutes


def main() -> None:
    """Draw the parts in rows, with one card per chapter, and save the figure."""
    cards = {number: (title, minutes) for number, title, minutes in chapters()}
    size = WIDTH * (CARD + GAP) + GAP, len(ROWS) * ROW + GAP
    figure = Figure(figsize=size)
    for i, row in enumerate(ROWS):
        column, y = 0, size[1] - (i + 1) * ROW
        for part, numbers in row.items():
            x = (GAP + column * (CARD + GAP)) / size[0]
            figure.text(x, (y + CARD + 0.36) / size[1], part, fontsize=11, weight="bold")
            for number in numbers:
                corner = GAP + column * (CARD + GAP), y
                draw_card(figure, corner, size, number, *cards[number])
                column += 1
    save_figure(figure, HERE.parent / "docs" / "images" / "course.png", dpi=110)


def draw_card(figure: Figure, corner, size, number: int, title: str, minutes: str) -> None:
    """Draw a card: an image, with the number, the title and the minutes below it."""
    (x, y), (W, H) = corner, size
    box = FancyBboxPatch(
        (x / W, y / H), CARD / W, (CARD + 0.22) / H, boxstyle="round,pad=0,rounding_size=0.006",
        transform=figure.transFigure, facecolor="#f7f7f5", edgecolor="#d8d8d4", lw=0.8,
        zorder=-1,
    )  # fmt: skip
    figure.patches.append(box)
    side = 0.98
    axes = figure.add_axes(((x + (CARD - side) / 2) / W, (y + 0.68) / H, side / W, side / H))
    bare(axes)
    axes.patch.set_alpha(0)
    IMAGES[number](axes)
    middle = (x + CARD / 2) / W
    figure.text(middle, (y + 0.5) / H, f"{number:02}", fontsize=8, color=GRAY, ha="center")
    lines = wrap(title)
    figure.text(middle, (y + 0.47) / H, lines, fontsize=8.5, ha="center", va="top",
                linespacing=1.15)  # fmt: skip
    figure.text(middle, (y + 0.06) / H, f"{minutes} min", fontsize=7, color=GRAY, ha="center")


def wrap(title: str, width: int = 21) -> str:
    """Break a title into at most two lines."""
    if len(title) <= width:
        return title
    cut = title.rfind(" ", 0, width)
    return f"{title[:cut]}\n{title[cut + 1 :]}"


# --- the small images

DATA = shapes.load(num_train=40, num_test=1).train
STAR = next(image for image, label in zip(DATA.images, DATA.labels, strict=True) if label == 3)
IMAGE = STAR.transpose(1, 2, 0)
rng = np.random.default_rng(4)


def pixels(axes: Axes) -> None:
    axes.imshow(IMAGE[8:20, 8:20])


def patches(axes: Axes) -> None:
    gap = np.full((39, 39, 4), 0.0)
    for r, c in np.ndindex(8, 8):
        gap[5 * r : 5 * r + 4, 5 * c : 5 * c + 4, :3] = IMAGE[4 * r : 4 * r + 4,
                                                               4 * c : 4 * c + 4] / 255  # fmt: skip
        gap[5 * r : 5 * r + 4, 5 * c : 5 * c + 4, 3] = 1
    axes.imshow(gap)


def positions(axes: Axes) -> None:
    similar = token_similarity(sincos_2d(8, 8, 96)).reshape(8, 8, 8, 8)[2, 4]
    axes.imshow(similar, cmap="viridis")


def graph(axes: Axes) -> None:
    nodes = {"x": (0, 0.8), "w": (0, 0.2), "×": (0.5, 0.5), "L": (1, 0.5)}
    for a, b in (("x", "×"), ("w", "×"), ("×", "L")):
        axes.annotate("", nodes[b], nodes[a], arrowprops={"arrowstyle": "->", "color": BLUE,
                                                         "shrinkA": 9, "shrinkB": 9})  # fmt: skip
        (x0, y0), (x1, y1) = nodes[b], nodes[a]
        axes.annotate("", (x1, y1 - 0.1), (x0, y0 - 0.1),
                      arrowprops={"arrowstyle": "->", "color": ORANGE, "shrinkA": 9, "shrinkB": 9,
                                  "ls": "--"})  # fmt: skip
    for name, (x, y) in nodes.items():
        axes.text(x, y, name, ha="center", va="center", fontsize=11)
    axes.set(xlim=(-0.2, 1.2), ylim=(-0.1, 1.1))


def gelu(axes: Axes) -> None:
    x = np.linspace(-3, 2.2, 80)
    axes.axhline(0, color=GRAY, lw=0.6)
    axes.plot(x, np.maximum(x, 0), color=GRAY, ls="--", lw=1)
    axes.plot(x, gelu_forward(x)[0], color=BLUE, lw=2)
    axes.set_ylim(-0.5, 2.4)


def head(axes: Axes) -> None:
    axes.imshow(softmax_forward(2 * rng.standard_normal((5, 5)))[0], cmap=HEAT)


def heads(axes: Axes) -> None:
    maps = softmax_forward(3 * rng.standard_normal((4, 6, 6)))[0]
    space = np.full((13, 13), np.nan)
    for i, (r, c) in enumerate(np.ndindex(2, 2)):
        space[7 * r : 7 * r + 6, 7 * c : 7 * c + 6] = maps[i]
    axes.imshow(space, cmap=HEAT)


def ladder(axes: Axes) -> None:
    widths, colors = (1.0, 0.62, 0.62, 0.62, 0.2), (GRAY, BLUE, BLUE, BLUE, ORANGE)
    for i, (width, color) in enumerate(zip(widths, colors, strict=True)):
        axes.barh(-i, width, 0.6, left=(1 - width) / 2, color=color)


def valley(axes: Axes) -> None:
    x, y = np.meshgrid(np.linspace(-1.4, 1.4, 60), np.linspace(-1.2, 1.2, 60))
    axes.contour(x, y, 0.3 * x**2 + 3 * y**2, levels=8, colors=GRAY, linewidths=0.6)
    point, path = np.array([-1.2, 0.9]), []
    for _ in range(14):
        path.append(point)
        point = point - 0.29 * np.array([0.6, 6.0]) * point
    axes.plot(*np.transpose(path), "o-", color=ORANGE, ms=2, lw=1)


def curves(axes: Axes) -> None:
    t = np.linspace(0, 1, 60)
    axes.plot(t, 0.3 + np.exp(-5 * t) + 0.03 * rng.standard_normal(60), color=BLUE, lw=1.4)
    axes.plot(t, 0.42 + 0.95 * np.exp(-5 * t), color=ORANGE, lw=1.4)
    axes.set_ylim(0, 1.5)


def overlay(axes: Axes) -> None:
    heat = shapes_mask().reshape(8, 4, 8, 4).mean((1, 3))
    axes.imshow(IMAGE.mean(-1), cmap="gray")
    axes.imshow(heat, cmap=HEAT, alpha=0.65, extent=(-0.5, 31.5, 31.5, -0.5),
                interpolation="bilinear")  # fmt: skip


def shapes_mask() -> np.ndarray:
    return DATA.masks[np.flatnonzero(DATA.labels == 3)[0]].astype(float)


def filters(axes: Axes) -> None:
    space = np.full((14, 14), np.nan)
    y, x = np.mgrid[-1:1:4j, -1:1:4j]
    for i, (r, c) in enumerate(np.ndindex(3, 3)):
        wave = np.cos((r + 0.3) * 1.6 * y + (c + 0.2) * 1.6 * x + i)
        space[5 * r : 5 * r + 4, 5 * c : 5 * c + 4] = wave
    axes.imshow(space, cmap="RdBu_r")


def deletion(axes: Axes) -> None:
    t = np.linspace(0, 1, 50)
    axes.plot(t, 1 / (1 + np.exp(14 * (t - 0.25))), color=BLUE, lw=1.8)
    axes.plot(t, 1 / (1 + np.exp(9 * (t - 0.6))), color=GRAY, lw=1.8)


def masked(axes: Axes) -> None:
    hidden = IMAGE.copy().reshape(8, 4, 8, 4, 3)
    for r, c in np.argwhere(rng.random((8, 8)) < 0.5):
        hidden[r, :, c] = 200
    axes.imshow(hidden.reshape(32, 32, 3))


def finer(axes: Axes) -> None:
    axes.imshow(IMAGE)
    for position in 32 * np.arange(1, 12) / 12 - 0.5:
        axes.axhline(position, color="white", lw=0.5)
        axes.axvline(position, color="white", lw=0.5)


def data(axes: Axes) -> None:
    t = np.linspace(0, 1, 6)
    for start, end, color in ((0.1, 0.9, BLUE), (0.25, 0.92, GREEN), (0.4, 0.8, ORANGE)):
        axes.plot(t, start + (end - start) * t**0.8, "o-", color=color, ms=2.5, lw=1.3)


def chip(axes: Axes) -> None:
    colors = np.full((8, 8), 0.25)
    colors[rng.random((8, 8)) < 0.7] = 0.8
    axes.pcolormesh(colors, cmap="Greens", vmin=0, vmax=1, edgecolors="white", lw=1.2)
    axes.set_aspect("equal")


def published(axes: Axes) -> None:
    """Roughly the first principal component of a figure's patches."""
    heat = shapes_mask().reshape(16, 2, 16, 2).mean((1, 3)) - 0.5
    axes.imshow(heat + 0.12 * rng.standard_normal(heat.shape), cmap="RdBu_r", vmin=-0.8, vmax=0.8)


IMAGES: dict[int, Callable[[Axes], None]] = dict(enumerate((
    pixels, patches, positions, graph, gelu, head, heads, ladder, valley, curves, overlay, filters,
    deletion, masked, finer, data, chip, published,
)))  # fmt: skip


if __name__ == "__main__":
    main()
