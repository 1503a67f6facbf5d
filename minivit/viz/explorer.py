"""The explorer: one HTML file that shows every attention map of a few images, offline.

A weight p is stored as the byte round(255·√p), accurate to 0.004, and much better for small
weights; a token's features are stored as bytes scaled to ±127, which keeps their direction, and a
cosine depends on nothing else.
"""

from collections.abc import Sequence

import numpy as np

from minivit.backend import to_device
from minivit.data import Statistics
from minivit.errors import UserError
from minivit.functional import softmax_forward
from minivit.models import ViT
from minivit.viz.look import look, require_attention
from minivit.viz.pages import (
    MAX_BYTES,
    Page,
    assemble,
    encoded,
    known_labels,
    palette,
    prefix_names,
)

WARN_BYTES = 5_000_000
TOP = 10  # number of classes shown
SMALLER = "show fewer images or fewer layers (--test, --layers) for a smaller page"
STYLES = "common.css", "explorer.css"
SCRIPTS = "common.js", "explorer_numbers.js", "explorer_view.js", "explorer.js"


def explore(
    model: ViT,
    images: np.ndarray,
    *,
    statistics: Statistics | None = None,
    labels: Sequence[int | None] | np.ndarray | None = None,
    class_names: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    layers: Sequence[int] | None = None,
    title: str = "What a Vision Transformer attends to",
) -> Page:
    """A page with every attention map of these images, and the similarity of patches.

    Args:
        images: (N, 1 or 3 channels, H, W). uint8 pixels, which `statistics` normalize; or floats
        for the model, which are displayed scaled from each image's minimum to its maximum. labels:
        the true class of each image, or None if unknown. class_names: names of the classes;
        None for their numbers. names: names of the images. layers: which to show, from 0; None for
        all. Rollout needs all.

    Raises:
        UserError: uint8 without statistics; wrong channels or sizes; maps or logits that are not
        finite; a page over 20 MB.
    """
    pixels, inputs = _pixels_and_inputs(images, statistics)
    require_attention(model)
    config = model.config
    layers = list(range(config.depth)) if layers is None else list(layers)
    if not layers or not all(0 <= layer < config.depth for layer in layers):
        raise UserError(f"layers are {layers}; expected some of 0 to {config.depth - 1}")
    N, K = len(pixels), config.num_classes
    T = config.num_tokens
    _check_size((len(layers) * config.num_heads * T**2 + T * config.dim) * N * 4 // 3)
    known = known_labels(labels, N)
    content = {
        "title": title,
        "classes": [str(k) for k in range(K)] if class_names is None else list(class_names),
        "grid": config.grid,
        "prefix": prefix_names(config),
        "layers": layers,
        "whole": layers == list(range(config.depth)),
        "heads": config.num_heads,
        "palette": palette(),
        "images": [
            _one_image(
                model,
                pixels[i],
                inputs[i],
                known[i],
                f"image {i + 1}" if names is None else str(names[i]),
                layers,
            )
            for i in range(N)
        ],
    }
    page = assemble("explorer.html", STYLES, SCRIPTS, content)
    size = len(page.encode())
    _check_size(size)
    return Page(page, f"the page is {size / 1e6:.1f} MB; {SMALLER}" if size > WARN_BYTES else None)


def _one_image(
    model: ViT,
    pixels: np.ndarray,
    image: np.ndarray,
    label: int | None,
    name: str,
    layers: list[int],
) -> dict:
    """Process one image at a time, so that memory does not grow with their number."""
    seen = look(model, to_device(image[None].astype(model.dtype, copy=False), model.device))
    features = seen.tokens[-1, 0]
    if not all(np.isfinite(found).all() for found in (seen.logits, seen.maps, features)):
        raise UserError(
            f"{name}: the model's outputs are not finite; its weights or the image are damaged"
        )
    probs = softmax_forward(seen.logits)[0][0] if model.config.num_classes else np.zeros(0)
    return {
        "name": name,
        "label": label,
        "height": pixels.shape[1],
        "width": pixels.shape[2],
        "pixels": encoded(np.ascontiguousarray(pixels.transpose(1, 2, 0))),
        "answers": [[int(k), round(float(probs[k]), 5)] for k in np.argsort(-probs)[:TOP]],
        "maps": encoded(np.stack([companded(seen.maps[layer, 0]) for layer in layers])),
        "features": encoded(directions(features)),
    }


def companded(weights: np.ndarray) -> np.ndarray:
    """Weights from 0 to 1 as bytes: round(255·√p)."""
    return np.rint(255.0 * np.sqrt(np.clip(weights, 0.0, 1.0))).astype(np.uint8)


def directions(features: np.ndarray) -> np.ndarray:
    """(T, C) -> int8 (T, C): each row scaled until its largest number is ±127, and rounded."""
    largest = np.abs(features).max(-1, keepdims=True)
    scaled = features / np.maximum(largest, np.finfo(features.dtype).tiny)
    return np.rint(127 * scaled).astype(np.int8)


def _pixels_and_inputs(
    images: np.ndarray, statistics: Statistics | None
) -> tuple[np.ndarray, np.ndarray]:
    """uint8 RGB (N, 3, H, W) to display, and the model's input."""
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[1] not in (1, 3) or not len(images):
        raise UserError(
            f"images are {images.shape}; expected (N, channels, H, W) with 1 or 3 channels, N ≥ 1"
        )
    if images.dtype == np.uint8:
        if statistics is None:
            raise UserError(
                "uint8 images need statistics=, those that the model was trained with "
                "(minivit.engine.load_model(RUN).statistics)"
            )
        pixels, inputs = images, statistics.normalize(images)
    else:
        low = images.min((1, 2, 3), keepdims=True)
        span = np.maximum(images.max((1, 2, 3), keepdims=True) - low, np.finfo(np.float32).tiny)
        pixels, inputs = np.rint(255.0 * (images - low) / span).astype(np.uint8), images
    return np.repeat(pixels, 3 // pixels.shape[1], axis=1), inputs


def _check_size(size: int) -> None:
    if size > MAX_BYTES:
        raise UserError(
            f"the page would be {size / 1e6:.0f} MB, more than {MAX_BYTES / 1e6:.0f}; {SMALLER}"
        )
