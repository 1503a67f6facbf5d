"""The style of the figures: colors that color-blind readers can distinguish, bare axes, and fonts
for names in any script.
"""

import functools
import logging
import textwrap
import unicodedata
import warnings
from collections.abc import Iterator
from typing import Any

import matplotlib.figure
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter

# Okabe & Ito's colors
BLUE, ORANGE, GREEN, GRAY = "#0072B2", "#D55E00", "#009E73", "#999999"
CLASSES = (
    *(BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00", "#56B4E9", "#F0E442"),
    *("#332288", "#882255", "#8B5A2B"),
)
"""Colors of classes if several are drawn; any other class is gray."""
HEAT = "inferno"  # light means large, also in print and for color-blind readers
SIGNED = "RdBu_r"


class Figure(matplotlib.figure.Figure):
    """A figure that draws names literally: in any script that an installed font supports, and with
    dollar signs as dollar signs.
    """

    def draw(self, renderer: Any) -> None:
        """Draw. Warns, only once, about characters that no installed font has: they become
        boxes.
        """
        for axes in self.axes:  # ticks get their labels when they are accessed
            axes.get_xticklabels(), axes.get_yticklabels()
        texts = {text: text.get_text() for text in self.findobj(Text) if isinstance(text, Text)}
        families, missing = _fallbacks(frozenset("".join(texts.values())))
        for text, content in texts.items():
            text.set_parse_math("$\\mathdefault" in content)  # matplotlib's own powers of ten
            if families and not content.isascii():
                text.set_fontfamily([*matplotlib.rcParams["font.family"], *families])
        if missing and not _warned:
            _warned.append(missing)
            characters = missing if len(missing) <= 20 else f"{missing[:20]}…"
            warnings.warn(
                f"no installed font has {characters}: figures show boxes; install one that does, "
                "such as Noto Sans for that script",
                stacklevel=2,
            )
        with warnings.catch_warnings():
            # matplotlib's warnings: one for each character of each text, at each drawing.
            warnings.filterwarnings("ignore", "Glyph .* missing from|Matplotlib currently does not")
            super().draw(renderer)


_warned: list[str] = []


@functools.lru_cache(maxsize=16)
def _fallbacks(characters: frozenset[str]) -> tuple[tuple[str, ...], str]:
    """The font families with characters that the default font lacks, and the characters that no
    font has.
    """
    missing = {ord(c) for c in characters if c.isprintable() and not c.isspace()}
    missing -= _characters(font_manager.findfont(font_manager.FontProperties()))
    families = []
    for family, file in _installed() if missing else ():
        supported = missing & _characters(file)
        if supported:
            families.append(family)
            missing -= supported
        if not missing:
            break
    return tuple(families), "".join(map(chr, sorted(missing)))


def _installed() -> Iterator[tuple[str, str]]:
    """(family, the file that matplotlib uses) of every font, sans serif first."""
    normalized = {
        entry.name: entry.name.lower().replace(" ", "")
        for entry in font_manager.fontManager.ttflist
    }
    for name in sorted(normalized, key=lambda name: ("sans" not in normalized[name], name)):
        if "lastresort" not in normalized[name]:  # has a box for everything
            yield name, _file_of(name)


def _file_of(family: str) -> str:
    """The file that matplotlib uses; it logs each font without a normal weight."""
    logger = logging.getLogger("matplotlib.font_manager")
    was_disabled, logger.disabled = logger.disabled, True
    try:
        return font_manager.findfont(font_manager.FontProperties(family=[family]))
    finally:
        logger.disabled = was_disabled


def _characters(file: str) -> set[int]:
    """The characters of a font; none if it cannot be read or is a bitmap font, as emoji often
    are.
    """
    try:
        font = font_manager.get_font(file)
        return set(font.get_charmap()) if font.scalable else set()
    except (OSError, RuntimeError, ValueError):
        return set()


def width(text: str) -> int:
    """The width of a text in letters: two for a Chinese character, none for a combining accent."""
    return sum(
        0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF")
        for c in text
    )


def shortened(text: str, max_width: int, end: float = 0.5) -> str:
    """A text, shortened with "…" to at most this many letters.

    end: the fraction of the kept letters that come from its end.
    """
    if width(text) <= max_width:
        return text
    tail = _fitting(text[::-1], round((max_width - 1) * end))[::-1]
    return f"{_fitting(text, max_width - 1 - width(tail))}…{tail}"


def _fitting(text: str, max_width: int) -> str:
    """The longest prefix that is at most `most` letters wide."""
    widths = np.cumsum([width(c) for c in text])
    return text[: np.searchsorted(widths, max_width, side="right")]


def percent(fraction: float, digits: int = 0) -> str:
    """ "81 %", as in all figures, with `digits` decimal places."""
    return f"{100 * fraction:.{digits}f} %"


def prediction_text(
    name: str, prob: float, correct: bool | None = None, max_letters: int = 22
) -> str:
    """A prediction as text: "star 97 %", and if it is wrong "✗ ring 62 %".

    correct: None if unknown. max_letters: letters in all.
    """
    mark = "✗ " if correct is False else ""
    number = percent(prob)
    return f"{mark}{shortened(name, max(max_letters - len(mark + number) - 1, 2))} {number}"


def prediction_color(correct: bool | None) -> str:
    """The color of a prediction: blue if right, orange if wrong, black if unknown."""
    return "black" if correct is None else BLUE if correct else ORANGE


def heat_bar(figure: Figure, axes: Any, lowest: str) -> None:
    """The colorbar of maps that each have their own scale, from `lowest` to the map's maximum."""
    colors, names = ScalarMappable(Normalize(0, 1), HEAT), FixedFormatter([lowest, "max"])
    shrink = min(0.8, 2.0 / figure.get_figheight())
    label = "each map on its own scale" if shrink < 0.8 else "each map"
    colorbar(figure, colors, axes, label, ticks=[0, 1], format=names, shrink=shrink)


def headline(figure: Figure, text: str) -> None:
    """A title for a whole figure, in as many lines as it needs."""
    letters = int(15 * figure.get_figwidth())  # at 9 points, about 15 per inch
    figure.suptitle("\n".join(textwrap.wrap(text, letters)), fontsize=9)


def colorbar(figure: Figure, image: Any, axes: Any, label: str, **options: Any) -> None:
    """A colorbar next to the axes. options: for matplotlib's colorbar."""
    bar = figure.colorbar(image, ax=axes, **{"shrink": 0.7, **options})
    bar.set_label(label, fontsize=9)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)


def panels(
    rows: int,
    columns: int,
    side: float,
    top: float = 0.0,
    right: float = 0.0,
    shape: float = 1.0,
) -> tuple[Figure, Any]:
    """A figure of panels `side` inches wide, as (figure, axes (rows, columns)).

    top, right: inches to leave for titles and a colorbar. shape: height over width.
    """
    size = (columns * side + right, rows * side * shape + top)
    figure = Figure(figsize=size)
    figure.set_layout_engine("constrained", w_pad=0.03, h_pad=0.03, wspace=0.0, hspace=0.0)
    axes = figure.subplots(rows, columns, squeeze=False)
    for ax in axes.flat:
        bare(ax)
    return figure, axes


def bare(axes: Axes) -> None:
    """No ticks, no frame."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def show_image(axes: Axes, image: np.ndarray) -> None:
    """Draw a uint8 (channels, H, W) image; one channel is gray."""
    colors = image.transpose(1, 2, 0)
    axes.imshow(colors if colors.shape[-1] == 3 else colors[..., 0], cmap="gray", vmin=0, vmax=255)


def show_overlay(axes: Axes, image: np.ndarray, heat: np.ndarray) -> Any:
    """Draw a map (rows, columns) over its image, from transparent (its minimum) to light. Returns
    the map's image.
    """
    span = float(heat.max() - heat.min())
    fraction = (heat - heat.min()) / (span or 1.0)
    H, W = image.shape[1:]
    show_image(axes, (image.mean(0, keepdims=True) * 0.8).astype(np.uint8))
    extent = (-0.5, W - 0.5, H - 0.5, -0.5)
    return axes.imshow(
        fraction,
        cmap=HEAT,
        vmin=0,
        vmax=1,
        extent=extent,
        interpolation="bilinear",
        alpha=0.15 + 0.7 * fraction,
    )
