"""Figures of what a model attends to and of what it has learned; each function returns a matplotlib
Figure. Images are uint8 (channels, H, W).
"""

from collections.abc import Sequence

import numpy as np

from minivit.viz.style import (
    BLUE,
    GRAY,
    HEAT,
    ORANGE,
    SIGNED,
    Figure,
    bare,
    colorbar,
    headline,
    heat_bar,
    panels,
    percent,
    show_image,
    show_overlay,
)
from minivit.viz.weights import Filters


def overlay_figure(
    images: np.ndarray,
    maps: dict[str, np.ndarray],
    titles: Sequence[str],
    colors: Sequence[str] | None = None,
) -> Figure:
    """A row per image: the image, then the map of each method over it.

    Args:
        maps: method -> (N, rows, columns). titles: text next to each image. colors: of the titles;
        None for black.
    """
    N = len(images)
    height, width = images.shape[-2:]
    figure, axes = panels(N, 1 + len(maps), 1.35, 0.6, 1.7, height / width)
    for row, image, title, color in zip(axes, images, titles, colors or ["black"] * N, strict=True):
        show_image(row[0], image)
        row[0].set_ylabel(title, rotation=0, ha="right", va="center", fontsize=8, color=color)
    for column, (name, heatmaps) in zip(axes[:, 1:].T, maps.items(), strict=True):
        column[0].set_title(name, fontsize=9)
        for ax, image, heat in zip(column, images, heatmaps, strict=True):
            show_overlay(ax, image, heat)
    headline(figure, "What the prediction is based on, according to each method")
    heat_bar(figure, axes, "min")
    return figure


def heads_figure(maps: np.ndarray, grid: tuple[int, int], query: int, num_prefix: int) -> Figure:
    """What one token attends to, in every layer (row) and head (column).

    Args:
        maps: (L, H, T, T) of one image. query: the query token.
        num_prefix: number of tokens before the patches, which are not shown; token 0 is then the
        class token.
    """
    L, H = maps.shape[:2]
    figure, axes = panels(L, H, 1.1, top=0.5, right=1.0, shape=grid[0] / grid[1])
    attention = maps[:, :, query, num_prefix:].reshape(L, H, *grid)
    for layer, head in np.ndindex(L, H):
        ax = axes[layer, head]
        ax.imshow(attention[layer, head], cmap=HEAT, vmin=0)
        if query >= num_prefix:
            row, column = divmod(query - num_prefix, grid[1])
            ax.plot(column, row, "s", ms=5, mfc="none", mec="white", mew=1)
        if head == 0:
            ax.set_ylabel(f"layer {layer + 1}", fontsize=8)
        if layer == 0:
            ax.set_title(f"head {head + 1}", fontsize=8)
    query_name = "the marked patch" if query >= num_prefix else "the class token"
    headline(figure, f"What {query_name} attends to")
    heat_bar(figure, axes, "0")
    return figure


def rollout_figure(image: np.ndarray, steps: np.ndarray) -> Figure:
    """Rollout up to each layer. steps: (L, rows, columns)."""
    height, width = image.shape[-2:]
    figure, axes = panels(1, 1 + len(steps), 1.35, top=0.5, right=0.8, shape=height / width)
    show_image(axes[0, 0], image)
    axes[0, 0].set_title("image", fontsize=9)
    for layer, (ax, heat) in enumerate(zip(axes[0, 1:], steps, strict=True)):
        show_overlay(ax, image, heat)
        ax.set_title(f"to layer {layer + 1}", fontsize=9)
    headline(figure, "Attention through several layers (rollout)")
    heat_bar(figure, axes, "min")
    return figure


def distance_figure(distances: np.ndarray, chance: float) -> Figure:
    """Mean attention distance of each head against depth (paper, fig. 11).

    Args:
        distances: (L, H) in pixels. chance: the distance of uniform attention.
    """
    L, H = distances.shape
    figure = Figure(figsize=(4.8, 3.4), layout="constrained")
    axes = figure.subplots()
    depth = np.arange(1, L + 1)
    axes.axhline(chance, color=GRAY, ls="--", lw=1, label="uniform attention")
    axes.plot(np.repeat(depth, H), distances.ravel(), "o", color=BLUE, alpha=0.7, label="a head")
    axes.plot(depth, distances.mean(1), color=ORANGE, label="mean of the heads")
    axes.set_title("How far each head attends", fontsize=9)
    axes.set_xticks(depth)
    axes.set_ylim(0, 1.08 * max(chance, distances.max()))
    axes.set_xlabel("layer")
    axes.set_ylabel("mean attention distance (pixels)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=8)
    return figure


def position_figure(similarity: np.ndarray) -> Figure:
    """One map per patch: the similarity of position embeddings (paper, fig. 7).

    similarity: (rows, columns, rows, columns), from -1 to 1.
    """
    rows, columns = similarity.shape[:2]
    side = min(0.7 * columns, 7.0)
    figure, axes = panels(1, 1, side, top=0.5, right=1.2, shape=rows / columns)
    # one image: separate axes for hundreds of maps would take minutes
    image = axes[0, 0].imshow(_side_by_side(similarity), cmap=SIGNED, vmin=-1, vmax=1)
    colorbar(figure, image, axes, "cosine similarity")
    headline(figure, "Similarity of position embeddings: one map per patch")
    figure.supxlabel("column of the patch", fontsize=9)
    figure.supylabel("row of the patch", fontsize=9)
    return figure


def _side_by_side(maps: np.ndarray) -> np.ndarray:
    """(rows, columns, h, w) -> (rows·(h + 1) - 1, columns·(w + 1) - 1), with NaN between them."""
    rows, columns, h, w = maps.shape
    framed = np.full((rows, columns, h + 1, w + 1), np.nan)
    framed[:, :, :h, :w] = maps
    return framed.transpose(0, 2, 1, 3).reshape(rows * (h + 1), columns * (w + 1))[:-1, :-1]


def filters_figure(filters: Filters) -> Figure:
    """Principal components of the patch filters, each on its own scale (paper, fig. 7), with its
    fraction of their variance.
    """
    count = len(filters.components)
    columns = min(count, 7)
    rows = -(-count // columns)
    figure, axes = panels(rows, columns, 0.9, top=0.5 + 0.15 * rows)
    for i, ax in enumerate(axes.flat):
        if i >= count:
            continue
        pattern = filters.components[i]
        scaled = 0.5 + 0.5 * pattern / max(np.abs(pattern).max(), np.finfo(float).tiny)
        image = scaled.transpose(1, 2, 0)
        ax.imshow(image if image.shape[-1] == 3 else image[..., 0], cmap="gray", vmin=0, vmax=1)
        ax.set_title(percent(filters.explained_variance_ratio[i], 1), fontsize=7, pad=2)
    headline(
        figure, "Principal components of the patch filters, with their fraction of the variance"
    )
    return figure


def similarity_figure(similarity: np.ndarray) -> Figure:
    """Token-to-token similarity of one image, before each block and at the end.

    similarity: (L + 1, T, T), from -1 to 1.
    """
    T = similarity.shape[-1]
    figure, axes = panels(1, len(similarity), 1.5, top=0.7, right=1.0)
    for layer, (ax, values) in enumerate(zip(axes[0], similarity, strict=True)):
        image = ax.imshow(values, cmap=SIGNED, vmin=-1, vmax=1)
        last = layer == len(similarity) - 1
        ax.set_title("at the end" if last else f"before layer {layer + 1}", fontsize=9)
        bare(ax)
        ax.set_xlabel("token", fontsize=8)
    axes[0, 0].set_ylabel("token", fontsize=8)
    axes[0, 0].set_yticks([0, T - 1], ["1", str(T)], fontsize=7)
    for ax in axes[0]:
        ax.set_xticks([0, T - 1], ["1", str(T)], fontsize=7)
    headline(figure, "Similarity of the tokens of an image")
    colorbar(figure, image, axes, "cosine similarity")
    return figure
