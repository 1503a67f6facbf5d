"""All figures and scores of a trained model's attention, for `minivit attention`."""

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.figure import Figure

from minivit.backend import to_device
from minivit.data import Split
from minivit.engine import DataParallel, Trained
from minivit.functional import softmax_forward
from minivit.viz.attention_figures import (
    distance_figure,
    filters_figure,
    heads_figure,
    overlay_figure,
    position_figure,
    rollout_figure,
    similarity_figure,
)
from minivit.viz.features import (
    Components,
    class_token_figure,
    components_figure,
    patch_components,
)
from minivit.viz.gallery import gallery_figure
from minivit.viz.knock_out import knock_out, knock_out_figure
from minivit.viz.lens import lens_figure, logit_lens
from minivit.viz.look import look
from minivit.viz.maps import (
    attention_distance,
    patch_distances,
    patch_map,
    rollout,
    token_similarity,
)
from minivit.viz.methods import WITHOUT_GRADIENTS, method
from minivit.viz.scores import score_methods
from minivit.viz.style import prediction_color, prediction_text
from minivit.viz.weights import ABSOLUTE, patch_filters, position_similarity

MAX_ROWS = 8
"""Maximum number of images in a figure with one column per layer."""


def attention_figures(
    trained: Trained,
    pixels: np.ndarray,
    labels: np.ndarray | None,
    methods: Sequence[str],
    query: int,
    knocked_out: bool = False,
) -> Iterator[tuple[str, Figure]]:
    """(file name, figure) of every view that this model supports.

    Args:
        pixels: uint8 (N, channels, H, W). labels: (N,), or None if unknown.
        methods: names of `METHODS`. query: the query token for the figure of all heads.
        knocked_out: whether to run the model without each head, which takes a forward pass per
        head.

    For a model without a head, only methods that need no class are used.
    """
    model, names = trained.model, trained.class_names
    config = model.config
    first = config.num_prefix
    images = to_device(trained.statistics.normalize(pixels), model.device)
    effect = knock_out(model, images) if knocked_out else None
    has_head = config.num_classes > 0
    seen = look(model, images, gradients=has_head)
    titles = [""] * len(pixels)
    correct: list[bool | None] = [None] * len(pixels)
    if has_head:
        probs, _ = softmax_forward(seen.logits)
        titles, correct = _predictions(probs, names, labels)
        yield "gallery", gallery_figure(pixels, probs, names, labels)
        lens = logit_lens(model, images[:MAX_ROWS])
        yield "lens", lens_figure(pixels[:MAX_ROWS], lens, names, labels)
    else:
        methods = [name for name in methods if name in WITHOUT_GRADIENTS] or WITHOUT_GRADIENTS
    if effect is not None:
        yield "knock_out", knock_out_figure(effect)
    maps = {name: method(name)(seen, config) for name in methods}
    colors = [prediction_color(right) for right in correct]
    yield "overlays", overlay_figure(pixels, maps, titles, colors)
    yield "heads", heads_figure(seen.maps[:, 0], config.grid, query, first)
    if config.num_class_tokens:
        last = seen.maps[-1, 0, :, 0, first:].reshape(-1, *config.grid)
        yield "class_token", class_token_figure(pixels[0], last)
    features = seen.tokens[-1][:, first:]
    parts = patch_components(features.reshape(len(pixels), *config.grid, -1))
    yield "components", components_figure(pixels[:8], Components(*(one[:8] for one in parts)))
    steps = [patch_map(step, config)[0] for step in rollout(seen.maps)]
    yield "rollout", rollout_figure(pixels[0], np.stack(steps))
    distances = attention_distance(seen.maps, config.grid, config.patch_size, first)
    chance = config.patch_size * float(patch_distances(config.grid).mean())
    yield "distance", distance_figure(distances, chance)
    yield "similarity", similarity_figure(token_similarity(seen.tokens[:, 0]))
    if config.pos_embed in ABSOLUTE:
        yield "positions", position_figure(position_similarity(model))
    if config.stem == "patch":
        yield "filters", filters_figure(patch_filters(model))


def _predictions(
    probs: np.ndarray, names: Sequence[str], labels: np.ndarray | None
) -> tuple[list[str], list[bool | None]]:
    """The prediction for each image, and whether it is right."""
    best = probs.argmax(-1)
    correct = [None] * len(best) if labels is None else (best == labels).tolist()
    predictions = zip(best, probs, correct, strict=True)
    return [prediction_text(names[k], p[k], right) for k, p, right in predictions], correct


SCORES = {
    "pointing": "pointing game",
    "iou": "best IoU",
    "energy": "energy inside",
    "deletion": "deletion ↓",
    "insertion": "insertion ↑",
    "shuffled": "after shuffling",
}


def score_table(
    trained: Trained, split: Split, methods: Sequence[str], threads: int | None = None
) -> str:
    """The scores of every method and of maps that ignore the image, as a Markdown table."""
    images = trained.statistics.normalize(split.pixels)
    with DataParallel(trained.model, threads) as workers:
        rows = score_methods(trained.model, images, split.masks, workers.logits, methods)
    keys = [key for key in SCORES if key in rows[0]]
    lines = [
        "| method | " + " | ".join(SCORES[key] for key in keys) + " |",
        "|---" * (len(keys) + 1) + "|",
    ]
    for row in rows:
        cells = ("" if row[key] is None else f"{row[key]:.2f}" for key in keys)
        lines.append(f"| {row['method']} | " + " | ".join(cells) + " |")
    caption = f"{len(split)} test images"
    if split.masks is not None:
        caption += f"; the figure covers {split.masks.mean():.2f} of the image"
    return "\n".join([*lines, "", caption])
