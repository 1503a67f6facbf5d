"""Patch features without labels (Oquab et al., 2023, section 7): the object and its parts as
colors, and patches in other images that are similar to a given patch.
"""

from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from minivit.viz.style import HEAT, headline, heat_bar, panels, show_image


class Components(NamedTuple):
    """Principal components of patch features.

    colors: (N, rows, columns, 3) from 0 to 1, black in the background. foreground: bool (N, rows,
    columns).
    """

    colors: np.ndarray
    foreground: np.ndarray


def patch_components(features: np.ndarray, background: bool = True) -> Components:
    """The first three principal components of the patches of all images, as red, green and blue.

    The first component over all patches separates object from background; the images' edges decide
    which side is the background. If an image would be all object or all background, no background
    is separated. The colors are components of the object only, so that the same part has the same
    color in every image.

    Args:
        features: (N, rows, columns, C), one or several images. background: whether to separate it;
        otherwise all patches are colored.
    """
    N, rows, columns, _ = features.shape
    foreground = np.ones((N, rows, columns), bool)
    if background:
        first = project(features.reshape(N * rows * columns, -1), 1).reshape(foreground.shape)
        edge = np.ones((rows, columns), bool)
        edge[1:-1, 1:-1] = False
        positive = first > 0
        positive_at_edge = positive[:, edge].mean() > positive.mean()
        foreground = ~positive if positive_at_edge else positive
        fractions = foreground.reshape(N, -1).mean(1)
        if fractions.min() == 0 or fractions.max() == 1:  # it distinguishes images, not their parts
            foreground[...] = True
    colors = np.zeros((N, rows, columns, 3))
    if foreground.any():
        projected = project(features[foreground], 3)
        low, high = np.quantile(projected, (0.02, 0.98), axis=0)
        span = np.maximum(high - low, np.finfo(float).tiny)
        colors[foreground] = np.clip((projected - low) / span, 0, 1)
    return Components(colors, foreground)


def project(rows: np.ndarray, count: int) -> np.ndarray:
    """(n, C) -> (n, count): the projection of each row onto the first principal components of all
    rows; zeros if there are fewer components. Each component's sign makes its largest weight
    positive.
    """
    centered = rows.astype(np.float64) - rows.mean(0)
    _, _, axes = np.linalg.svd(centered, full_matrices=False)
    axes = axes[:count]
    largest = np.abs(axes).argmax(1)
    axes *= np.sign(axes[np.arange(len(axes)), largest])[:, None]
    out = np.zeros((len(rows), count))
    out[:, : len(axes)] = centered @ axes.T
    return out


def patch_similarity(features: np.ndarray, image: int, patch: tuple[int, int]) -> np.ndarray:
    """Cosine similarity between one patch and all patches of all images.

    Args:
        features: (N, rows, columns, C). image: index of the image. patch: row and column of the
        patch.

    Returns:
        (N, rows, columns), from -1 to 1; 1 at the patch itself.
    """
    N, rows, columns, C = features.shape
    query = features[image, patch[0], patch[1]]
    flat = features.reshape(-1, C)
    norms = np.maximum(np.linalg.norm(flat, axis=1), np.finfo(flat.dtype).tiny)
    return (flat @ query / norms / max(np.linalg.norm(query), 1e-30)).reshape(N, rows, columns)


def components_figure(images: np.ndarray, components: Components) -> Figure:
    """Images above, their patches as colors below. images: uint8 (N, channels, H, W)."""
    H, W = images.shape[2:]
    figure, axes = panels(2, len(images), 2.0, top=0.3, shape=H / W)
    for column, image, colors in zip(axes.T, images, components.colors, strict=True):
        show_image(column[0], image)
        column[1].imshow(colors)
    black = "" if components.foreground.all() else "; background black"
    headline(figure, f"Principal components of the patches' features as colors{black}")
    return figure


def class_token_figure(image: np.ndarray, maps: np.ndarray) -> Figure:
    """An image, and what each head of the last block attends to (Caron et al., 2021, figure 1).

    Args:
        image: uint8 (channels, H, W). maps: (H, rows, columns), what the class token attends to.
    """
    H, W = image.shape[1:]
    count = 1 + len(maps)
    columns = min(count, 7)
    rows = -(-count // columns)
    figure, axes = panels(rows, columns, 2.0, top=0.3 + 0.25 * rows, right=0.8, shape=H / W)
    show_image(axes.flat[0], image)
    for i, (ax, heat) in enumerate(zip(axes.flat[1:], maps, strict=False), 1):
        ax.imshow(heat, cmap=HEAT, vmin=0, interpolation="bilinear")
        ax.set_title(f"head {i}", fontsize=8, pad=2)
    headline(figure, "What the class token attends to in the last layer")
    heat_bar(figure, axes, "0")
    return figure
