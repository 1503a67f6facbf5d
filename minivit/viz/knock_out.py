"""The importance of each head: the probability of a class with the head switched off."""

import numpy as np

from minivit.backend import Array, to_host
from minivit.errors import UserError
from minivit.functional import softmax_forward
from minivit.models import ViT, intervene
from minivit.viz.look import require_attention
from minivit.viz.style import SIGNED, Figure, colorbar, headline

BATCH_SIZE = 32
"""Images per forward pass."""
MAX_NUMBERS = 200
"""With more cells than this in the figure, their numbers would not be readable."""


def knock_out(model: ViT, images: Array) -> np.ndarray:
    """How the probability of the predicted class changes when one head is switched off.

    Args:
        images: (N, channels, H, W), normalized, of the model's dtype and device.

    Returns:
        (N, L, H): the probability with the head off minus that with all heads; below 0 if the head
        supports the class.

    Raises:
        UserError: the model has no attention, or no head to classify with.
    """
    require_attention(model)
    config = model.config
    if not config.num_classes:
        raise UserError("num_classes is 0: the model predicts no class")
    before = _probabilities(model, images)
    predicted = before.argmax(-1)[:, None]
    effect = np.empty((len(images), config.depth, config.num_heads), before.dtype)
    for layer, head in np.ndindex(config.depth, config.num_heads):
        after = _probabilities(intervene(model, heads_off=[(layer, head)]), images)
        change = np.take_along_axis(after - before, predicted, -1)
        effect[:, layer, head] = change[:, 0]
    return effect


def _probabilities(model: ViT, images: Array) -> np.ndarray:
    parts = range(0, len(images), BATCH_SIZE)
    logits = [to_host(model(images[start : start + BATCH_SIZE])) for start in parts]
    return softmax_forward(np.concatenate(logits))[0]


def knock_out_figure(effect: np.ndarray) -> Figure:
    """The mean over images of the result of `knock_out`: a row per layer, a column per head."""
    N, L, H = effect.shape
    points = 100 * effect.mean(0)
    limit = max(float(np.abs(points).max()), 1e-6)
    figure = Figure(figsize=(1.8 + 0.6 * H, 1.4 + 0.5 * L), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(points, cmap=SIGNED, vmin=-limit, vmax=limit, aspect="auto")
    axes.set_xticks(range(H), [str(head + 1) for head in range(H)])
    axes.set_yticks(range(L), [str(layer + 1) for layer in range(L)])
    axes.tick_params(length=0, labelsize=8)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("head", fontsize=9)
    axes.set_ylabel("layer", fontsize=9)
    for layer, head in np.ndindex(L, H) if points.size <= MAX_NUMBERS else ():
        color = "white" if abs(points[layer, head]) > 0.6 * limit else "black"
        text = f"{points[layer, head].round(1) + 0.0:+.1f}".replace("-", "−")  # no "-0.0"
        axes.text(head, layer, text, ha="center", va="center", fontsize=8, color=color)
    count = "one image" if N == 1 else f"mean of {N} images"
    headline(figure, f"The predicted class with one head off, {count}")
    colorbar(figure, image, axes, "change in probability (percentage points)")
    return figure
