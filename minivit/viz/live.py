"""The live page: one HTML file in which the model itself runs, offline.

`page/model.js` runs it in a worker of the browser.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minivit.backend import to_device, to_host
from minivit.data import Preprocess, Statistics
from minivit.errors import UserError
from minivit.models import ViT, ViTConfig
from minivit.models.config import INFERENCE_FIELDS
from minivit.viz.look import look, require_attention
from minivit.viz.packed import Precision, packed, packed_bytes
from minivit.viz.pages import (
    MAX_BYTES,
    Page,
    assemble,
    encoded,
    join,
    known_labels,
    palette,
    prefix_names,
)
from minivit.viz.still import still_maps
from minivit.viz.style import SIGNED

KNOWN: dict[str, tuple | None] = {
    **INFERENCE_FIELDS,
    "in_channels": (1, 3),
    "pool": ("cls", "mean", "seq"),
    "pos_embed": ("learned", "sincos2d", "relative", "none"),
    "activation": ("gelu", "gelu_tanh"),
    "representation_size": None,
    "norm_eps": None,
    "qkv_bias": (True, False),
    # fields of stems and of rope, which the page cannot run
    **dict.fromkeys(("residual_convs", "stages", "rope_theta", "rope_grid")),
}
"""What the page can run; see `ViTConfig.unsupported`."""

MAX_MAP_NUMBERS = 20_000_000
"""Maximum number of attention weights per image: they are recomputed after every change."""

STYLES = "common.css", "live.css", "live_panels.css"
SCRIPTS = (
    *("common.js", "weights.js", "live_pixels.js", "live_state.js", "live_run.js"),
    *("live_finds.js", "live_address.js", "live_prediction.js", "live_maps.js", "live_lens.js"),
    *("live_stage.js", "live_numbers.js", "live_steps.js", "live_effects.js", "live_tour.js"),
    *("live_view.js", "live_files.js", "live.js"),
)
WORKER = "math.js", "weights.js", "model.js", "lens.js", "live_worker.js"


def live_page(
    model: ViT,
    images: np.ndarray,
    *,
    statistics: Statistics,
    preprocess: Preprocess | None = None,
    labels: Sequence[int | None] | np.ndarray | None = None,
    class_names: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    title: str = "A Vision Transformer at work",
    tour: list[dict[str, str]] | None = None,
    precision: Precision = "float16",
) -> Page:
    """A page in which the model runs on these images and on others; images and model can be
    changed.

    Args:
        images: uint8 (N, 1 or 3 channels, H, W). statistics: for their normalization.
        preprocess: how image files dropped on the page are prepared; None: center crop.
        labels: the true class of each image, or None if unknown. class_names: names of the
            classes; None for their numbers. names: names of the images.
        tour: slides from `read_tour`; None for the built-in tour.
        precision: of the weights.

    Raises:
        UserError: a part that the page cannot run; weights or logits that are not finite; images of
        another type or shape; a page over 20 MB.
    """
    config = model.config
    require_known(model)
    _check_images(images, config)
    size = packed_bytes(model, precision)
    if size > MAX_BYTES:
        raise UserError(
            f"the page would be {size / 1e6:.0f} MB, more than {MAX_BYTES / 1e6:.0f}: it holds "
            f"all {model.flat.data.size:,} weights; expected a smaller model"
        )
    preprocess = preprocess or Preprocess(config.image_hw, config.in_channels)
    names = [f"image {i + 1}" for i in range(len(images))] if names is None else names
    known = known_labels(labels, len(images))
    content: dict[str, Any] = {
        "title": title,
        "classes": list(class_names or map(str, range(config.num_classes))),
        "grid": config.grid,
        "prefix": prefix_names(config),
        "depth": config.depth,
        "heads": config.num_heads,
        "positions": config.pos_embed != "none",
        "patch": config.patch_size,
        "channels": config.in_channels,
        "mean": statistics.mean,
        "std": statistics.std,
        "resize": preprocess.resize,
        "cropShare": preprocess.crop_share,
        "palette": palette(),
        "signed": palette(SIGNED),
        "tour": tour,
        "model": packed(model, precision),
        "images": [
            {"name": str(name), "label": label, "pixels": encoded(_by_pixel(image))}
            for name, label, image in zip(names, known, images, strict=True)
        ],
    }
    _check_logits(model, images, statistics, names)
    seen = look(model, to_device(statistics.normalize(images[:1], model.dtype), model.device))
    page = assemble(
        "live.html",
        STYLES,
        SCRIPTS,
        content,
        policy="; worker-src blob:",
        worker=join(WORKER),
        still=still_maps(seen, config, str(names[0]), content["classes"]),
    )
    if len(page.encode()) > MAX_BYTES:
        raise UserError(
            f"the page would be {len(page.encode()) / 1e6:.0f} MB, more than "
            f"{MAX_BYTES / 1e6:.0f}; show fewer images"
        )
    return Page(page)


def require_known(model: ViT) -> None:
    """Raise UserError, with the name of the field, if the page cannot run the model."""
    config = model.config
    require_attention(model)
    if model.own_layers:
        raise UserError(
            f"{', '.join(model.own_layers)}: layers that are not minivit's, which the live page "
            "cannot run; minivit attention shows their maps"
        )
    unknown = config.unsupported(KNOWN)
    if unknown is not None:
        raise UserError(
            "{} is {}, which the live page cannot run; minivit attention shows its maps".format(
                *unknown
            )
        )
    if not config.num_classes:
        raise UserError(
            "num_classes is 0, and the live page shows a prediction; expected a model with a head"
        )
    numbers = config.depth * config.num_heads * config.num_tokens**2
    if numbers > MAX_MAP_NUMBERS:
        raise UserError(
            f"image_size is {config.image_size}: its attention maps have {numbers:,} numbers, and "
            f"the live page computes at most {MAX_MAP_NUMBERS:,}; use smaller images"
        )


def _check_images(images: np.ndarray, config: ViTConfig) -> None:
    expected = (config.in_channels, *config.image_hw)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != expected:
        raise UserError(
            f"images are {images.dtype} {images.shape}; expected uint8 (N, {str(expected)[1:]}"
        )
    if not len(images):
        raise UserError("no images; expected at least one")


def _check_logits(
    model: ViT, images: np.ndarray, statistics: Statistics, names: Sequence[str]
) -> None:
    for name, image in zip(names, images, strict=True):
        inputs = to_device(statistics.normalize(image[None], model.dtype), model.device)
        if not np.isfinite(to_host(model(inputs))).all():
            raise UserError(f"{name}: the model's outputs are not finite; its weights are damaged")


def _by_pixel(image: np.ndarray) -> np.ndarray:
    """(channels, H, W) -> (H, W, channels)."""
    return np.ascontiguousarray(image.transpose(1, 2, 0))
