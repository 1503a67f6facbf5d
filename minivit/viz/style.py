"""What the figures share: colours that colour-blind readers can tell apart, and bare axes."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe & Ito's colours
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#999999"
HEAT = "inferno"  # light is much, to every eye and in print
SIGNED = "RdBu_r"


def panels(
    rows: int,
    columns: int,
    side: float,
    above: float = 0.0,
    beside: float = 0.0,
    shape: float = 1.0,
) -> tuple[Figure, Any]:
    """A figure of panels `side` inches wide, as (figure, axes (rows, columns)).

    above, beside: inches to leave for titles and a colour bar. shape: height over width.
    """
    size = (columns * side + beside, rows * side * shape + above)
    figure = Figure(figsize=size)
    figure.set_layout_engine("constrained", w_pad=0.03, h_pad=0.03, wspace=0.0, hspace=0.0)
    axes = figure.subplots(rows, columns, squeeze=False)
    for one in axes.flat:
        bare(one)
    return figure, axes


def bare(axes: Axes) -> None:
    """No ticks, no frame."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def show_picture(axes: Axes, picture: np.ndarray) -> None:
    """A uint8 (channels, H, W) picture; one channel is grey."""
    image = picture.transpose(1, 2, 0)
    axes.imshow(image if image.shape[-1] == 3 else image[..., 0], cmap="gray", vmin=0, vmax=255)


def show_overlay(axes: Axes, picture: np.ndarray, heat: np.ndarray) -> None:
    """A map (rows, columns) over its picture, from clear (its smallest number) to light."""
    span = float(heat.max() - heat.min())
    share = (heat - heat.min()) / (span or 1.0)
    H, W = picture.shape[1:]
    show_picture(axes, (picture.mean(0, keepdims=True) * 0.8).astype(np.uint8))
    extent = (-0.5, W - 0.5, H - 0.5, -0.5)
    axes.imshow(
        share,
        cmap=HEAT,
        vmin=0,
        vmax=1,
        extent=extent,
        interpolation="bilinear",
        alpha=0.15 + 0.7 * share,
    )
