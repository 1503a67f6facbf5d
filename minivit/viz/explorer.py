"""The explorer: one HTML file that shows every attention map of a few pictures, offline.

It holds its script, its styles and all numbers, and a content security policy which forbids the
browser to load anything. A weight p is stored as the byte round(255·√p), which keeps every weight
to 0.004 and small ones far better; a token's features as bytes of which the largest is ±127, which
keeps their direction, all that a cosine depends on.
"""

import base64
import hashlib
import html
import json
import string
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np

from minivit.backend import to_device
from minivit.data import Statistics
from minivit.errors import UserError
from minivit.files import make_folder, write_atomically
from minivit.functional import softmax_forward
from minivit.models import ViT, ViTConfig
from minivit.viz.look import look, require_attention

WARN_BYTES, MOST_BYTES = 5_000_000, 20_000_000
TOP = 10  # classes shown


class Explorer:
    """A page. In a notebook it shows itself.

    html: the whole page. too_large: a sentence on its size where it is worth one, else None.
    """

    def __init__(self, page: str):
        self.html = page
        size = len(page.encode())
        self.too_large = None
        if size > WARN_BYTES:
            self.too_large = f"the page has {size / 1e6:.1f} MB; {SMALLER}"

    def save(self, path: Path) -> None:
        """Write the page, whole or not at all; folders are made."""
        path = Path(path)
        make_folder(path.parent)
        write_atomically(path, self.html.encode())

    def _repr_html_(self) -> str:
        page = html.escape(self.html)
        return f'<iframe srcdoc="{page}" style="width:100%;height:860px;border:0"></iframe>'


SMALLER = "show fewer pictures or fewer layers (--test, --layers) for a smaller one"


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
) -> Explorer:
    """A page of every attention map of these pictures, and of which patches are alike.

    Args:
        images: (N, 1 or 3 channels, H, W). uint8 pixels, which `statistics` normalize; or floats as
            the model takes them, which are shown stretched from each image's smallest number to
            its largest.
        labels: the true class of each picture, or None where nobody knows. class_names: of the
            classes; None for their numbers. names: of the pictures.
        layers: which to show, the first is 0; None for all. Rollout needs all.

    Raises:
        UserError: uint8 without statistics; other channels or sizes; maps or logits that are not
            finite; over 20 MB.
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
    known = [None if k is None else int(k) for k in ([None] * N if labels is None else labels)]
    content = {
        "title": title,
        "classes": [str(k) for k in range(K)] if class_names is None else list(class_names),
        "grid": config.grid,
        "prefix": prefix_names(config),
        "layers": layers,
        "whole": layers == list(range(config.depth)),
        "heads": config.num_heads,
        "palette": _base64(_palette()),
        "images": [
            _one_picture(
                model,
                pixels[i],
                inputs[i],
                known[i],
                f"picture {i + 1}" if names is None else str(names[i]),
                layers,
            )
            for i in range(N)
        ],
    }
    page = _page(content)
    _check_size(len(page))
    return Explorer(page)


def prefix_names(config: ViTConfig) -> list[str]:
    """What the page calls the tokens before the patches, in their order."""
    class_tokens = ["the class token", "the distillation token"][: config.num_class_tokens]
    return class_tokens + [f"register {i + 1}" for i in range(config.num_registers)]


def _one_picture(
    model: ViT,
    pixels: np.ndarray,
    image: np.ndarray,
    label: int | None,
    name: str,
    layers: list[int],
) -> dict:
    """One picture at a time, so that the memory needed does not grow with their number."""
    seen = look(model, to_device(image[None].astype(model.dtype, copy=False), model.device))
    features = seen.tokens[-1, 0]
    if not all(np.isfinite(found).all() for found in (seen.logits, seen.maps, features)):
        raise UserError(
            f"{name}: the model gives numbers that are not finite; its weights, or the image, are "
            "damaged"
        )
    probs = softmax_forward(seen.logits)[0][0] if model.config.num_classes else np.zeros(0)
    return {
        "name": name,
        "label": label,
        "height": pixels.shape[1],
        "width": pixels.shape[2],
        "pixels": _base64(np.ascontiguousarray(pixels.transpose(1, 2, 0))),
        "answers": [[int(k), round(float(probs[k]), 5)] for k in np.argsort(-probs)[:TOP]],
        "maps": _base64(np.stack([companded(seen.maps[layer, 0]) for layer in layers])),
        "features": _base64(directions(features)),
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
    """uint8 RGB (N, 3, H, W) to show, and what the model takes."""
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
    if size > MOST_BYTES:
        raise UserError(
            f"the page would have {size / 1e6:.0f} MB, more than {MOST_BYTES / 1e6:.0f}; {SMALLER}"
        )


@cache
def _palette() -> np.ndarray:
    """The 256 colours of the figures' maps, uint8 (256, 3)."""
    import matplotlib

    from minivit.viz.style import HEAT

    return np.rint(255 * matplotlib.colormaps[HEAT](np.arange(256))[:, :3]).astype(np.uint8)


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(array.tobytes()).decode()


def _page(content: dict) -> str:
    """The template filled. In JSON a `<` is escaped, so that no name can end the script."""
    parts = files("minivit.viz") / "page"
    style, script = ((parts / name).read_text("utf-8") for name in ("page.css", "page.js"))
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; "
        f"script-src '{_digest(script)}'; base-uri 'none'; form-action 'none'"
    )
    return string.Template((parts / "page.html").read_text("utf-8")).substitute(
        policy=policy,
        title=html.escape(content["title"]),
        style=style,
        script=script,
        data=json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
    )


def _digest(text: str) -> str:
    """A source in a content security policy: this text and no other."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
