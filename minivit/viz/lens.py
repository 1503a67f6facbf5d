"""The logit lens: what the head would predict from the tokens between layers (nostalgebraist, 2020;
Vilas et al., 2023, for Vision Transformers).

The final norm and the head, which were trained for the last layer's tokens, are applied early. If
their prediction from an early layer is wrong, the layer may still contain the information, in
another form.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.patches import Patch

from minivit.backend import Array, get_xp, to_host
from minivit.errors import UserError
from minivit.functional import softmax_forward
from minivit.models import ViT
from minivit.viz.style import (
    CLASSES,
    GRAY,
    Figure,
    headline,
    panels,
    prediction_text,
    shortened,
    show_image,
)

PAPER = np.array([0.95, 0.95, 0.95])
"""The color of a patch with probability 0."""


class Lens(NamedTuple):
    """Probabilities of the K classes, before the first of L layers and after each layer.

    pooled: (L + 1, N, K), from what the model classifies by: the class token, or the mean of the
    patches. patches: (L + 1, N, rows, columns, K), from each patch's token alone.
    """

    pooled: np.ndarray
    patches: np.ndarray


def logit_lens(model: ViT, images: Array) -> Lens:
    """Apply the final norm and the head to the tokens of every stage.

    Args:
        images: (N, channels, H, W), normalized, of the model's dtype and device.

    Raises:
        UserError: the model has no head.
    """
    config = model.config
    if not config.num_classes:
        raise UserError("num_classes is 0: the model has no head to apply to its layers")
    pooled, patches = [], []
    for tokens in model.stages(images):
        pooled.append(_probabilities(model, tokens))
        single = tokens[:, config.num_prefix :].reshape(-1, 1, tokens.shape[-1])
        # any pooling of one token gives that token
        single = get_xp(single).repeat(single, config.num_prefix + 1, axis=1)
        patches.append(_probabilities(model, single).reshape(len(images), *config.grid, -1))
    return Lens(np.stack(pooled), np.stack(patches))


def _probabilities(model: ViT, tokens: Array) -> np.ndarray:
    return softmax_forward(to_host(model.classify(tokens)))[0]


def lens_figure(
    images: np.ndarray,
    lens: Lens,
    class_names: Sequence[str],
    labels: Sequence[int] | np.ndarray | None = None,
) -> Figure:
    """A row per image: what the head predicts after each layer; for the whole image as text, for
    each patch as a color, which is more saturated if the class is more probable.

    Args:
        images: uint8 (N, channels, H, W). labels: (N,), or None if unknown.
    """
    stages, N = lens.pooled.shape[:2]
    height, width = images.shape[-2:]
    shown = _shown_classes(lens)
    figure, axes = panels(N, 1 + stages, 1.2, 1.0 + 0.2 * N, shape=height / width)
    for i, row in enumerate(axes):
        show_image(row[0], images[i])
        if labels is not None:
            row[0].set_title(shortened(class_names[labels[i]], 16), fontsize=8, pad=3)
        for stage, ax in enumerate(row[1:]):
            _show_classes(ax, lens.patches[stage, i], shown)
            best = lens.pooled[stage, i].argmax()
            correct = None if labels is None else bool(best == labels[i])
            text = prediction_text(
                class_names[best], lens.pooled[stage, i, best], correct, max_letters=16
            )
            ax.set_title(text, fontsize=7, pad=3)
    for stage, ax in enumerate(axes[-1, 1:]):
        ax.set_xlabel(f"after layer {stage}" if stage else "before layer 1", fontsize=8)
    axes[-1, 0].set_xlabel("image" if labels is None else "image, its class", fontsize=8)
    headline(
        figure,
        "Predictions of the final norm and the head after each layer: for the image, "
        "and for each patch",
    )
    _legend(figure, shown, class_names)
    return figure


def _shown_classes(lens: Lens) -> list[int]:
    """The classes shown, those of the last layer first, then those of the most patches."""
    K = lens.pooled.shape[-1]
    last = np.bincount(lens.pooled[-1].argmax(-1), minlength=K)
    patches = np.bincount(lens.patches.argmax(-1).ravel(), minlength=K)
    order = np.argsort(-(last * patches.sum() + patches), kind="stable")
    return [int(k) for k in order if last[k] or patches[k]]


def _show_classes(axes: Any, probs: np.ndarray, shown: list[int]) -> None:
    """Patches (rows, columns, K) in the color of their class, blended with the background."""
    best, max_prob = probs.argmax(-1), probs.max(-1)[..., None]
    colors = np.full((*best.shape, 3), to_rgb(GRAY))
    for k, color in zip(shown, CLASSES, strict=False):
        colors[best == k] = to_rgb(color)
    axes.imshow(max_prob * colors + (1 - max_prob) * PAPER)


def _legend(figure: Figure, shown: list[int], class_names: Sequence[str]) -> None:
    handles = [
        Patch(color=color, label=shortened(class_names[k], 20))
        for k, color in zip(shown, CLASSES, strict=False)
    ]
    if len(shown) > len(CLASSES):
        handles.append(Patch(color=GRAY, label="another"))
    figure.legend(
        handles=handles, loc="outside lower center", ncols=6, frameon=False, fontsize=8,
        handlelength=1.0, columnspacing=1.2,
    )  # fmt: skip
