"""Learned weights that can be inspected without an image: positions and patch filters."""

from typing import NamedTuple

import numpy as np

from minivit.backend import to_host
from minivit.errors import UserError
from minivit.layers import PatchEmbed
from minivit.models import ViT
from minivit.viz.maps import token_similarity

ABSOLUTE = ("learned", "sincos2d")
"""Values of `pos_embed` that are position embeddings."""


def position_similarity(model: ViT) -> np.ndarray:
    """Cosine similarity between the position embeddings of every two patches (paper, fig. 7).

    Returns:
        (rows, columns, rows, columns): `[r, c]` is a map over the image.

    Raises:
        UserError: the model has no position embedding.
    """
    config = model.config
    if config.pos_embed not in ABSOLUTE:
        raise UserError(f"this model has no position embedding (pos_embed {config.pos_embed})")
    learned = config.pos_embed == "learned"
    table = to_host(model.pos_embed.data if learned else model.fixed_positions)[0]
    rows, columns = config.grid
    patches = table[-rows * columns :].astype(np.float64)  # the first may belong to other tokens
    return token_similarity(patches).reshape(*config.grid, *config.grid)


class Filters(NamedTuple):
    """Principal components of the patch filters, the strongest first.

    components: (k, channels, P, P), each of length 1. explained_variance_ratio: (k,), fractions of
    the filters' variance.
    """

    components: np.ndarray
    explained_variance_ratio: np.ndarray


def patch_filters(model: ViT, count: int = 28) -> Filters:
    """Principal components of the patch projection's filters (paper, fig. 7: the first 28).

    Each of the model's C filters is a point in the space of patches; the components are patterns of
    which all filters are linear combinations. There are at most P·P·channels.

    Raises:
        UserError: the tokens do not come from patches.
    """
    if not isinstance(model.patch_embed, PatchEmbed):
        raise UserError("this model has no patch filters; its stem is convolutional")
    P, channels = model.config.patch_size, model.config.in_channels
    filters = to_host(model.patch_embed.proj.weight.data).T.astype(np.float64)
    filters = filters - filters.mean(0)
    _, singular, patterns = np.linalg.svd(filters, full_matrices=False)
    explained_variance_ratio = singular**2 / max((singular**2).sum(), np.finfo(float).tiny)
    components = patterns[:count].reshape(-1, P, P, channels).transpose(0, 3, 1, 2)
    return Filters(components, explained_variance_ratio[:count])
