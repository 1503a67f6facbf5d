"""A model packed for a page: its numbers in base64, unpacked by `page/weights.js`."""

from typing import Any, Literal

import numpy as np

from minivit.backend import to_host
from minivit.errors import UserError
from minivit.models import ViT
from minivit.viz.pages import encoded

Precision = Literal["float16", "float32"]
BYTES = {"float16": 2, "float32": 4}
FIELDS = (
    *("in_channels", "patch_size", "dim", "depth", "num_heads"),
    *("pool", "pos_embed", "activation", "norm_eps"),
)
"""Fields of `ViTConfig` that `page/model.js` uses."""


def packed(model: ViT, precision: Precision = "float16") -> dict[str, Any]:
    """{config, precision, tensors: {name: [shape, numbers]}}.

    Raises:
        UserError: weights that are not finite, or too large for float16.
    """
    config = model.config
    return {
        "config": {
            "grid": config.grid,
            "num_prefix": config.num_prefix,
            **{name: getattr(config, name) for name in FIELDS},
        },
        "precision": precision,
        "tensors": {
            name: [
                parameter.data.shape,
                encoded(_rounded(name, to_host(parameter.data), precision)),
            ]
            for name, parameter in model.named_parameters()
        },
    }


def packed_bytes(model: ViT, precision: Precision) -> int:
    """The approximate size of the packed model in a page."""
    return model.flat.data.size * BYTES[precision] * 4 // 3


def _rounded(name: str, data: np.ndarray, precision: Precision) -> np.ndarray:
    if not np.isfinite(data).all():
        raise UserError(f"{name}: expected finite numbers; the weights are damaged")
    with np.errstate(over="ignore"):
        rounded = data.astype(np.dtype(precision).newbyteorder("<"))
    if not np.isfinite(rounded).all():
        largest = float(np.abs(data).max())
        raise UserError(
            f"{name} is up to {largest:,.0f}, and float16 allows at most 65,504; use --float32"
        )
    return rounded
