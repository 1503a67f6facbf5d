"""Attribution methods, by name: from a `Look` to one map over the image."""

from collections.abc import Callable

import numpy as np

from minivit.errors import UserError
from minivit.functional import patchify_forward
from minivit.models import ViTConfig
from minivit.viz.look import Look
from minivit.viz.maps import fuse_heads, gradient_rollout, patch_map, relevance, rollout

DISCARD = 0.5
"""The fraction that "rollout-max" discards: where the maximum over heads is small, it is noisy."""


def _joint(function: Callable[[Look], np.ndarray]) -> Callable[[Look, ViTConfig], np.ndarray]:
    """Make a method from a function that returns a joint map (N, T, T)."""
    return lambda look, config: patch_map(function(look), config)


def input_gradient(look: Look, config: ViTConfig) -> np.ndarray:
    """(N, rows, columns): magnitude of the logit's gradient within each patch (Simonyan et al.,
    2014).

    A baseline without attention, which an attention map should beat.
    """
    if look.dimages is None:
        raise UserError("this view needs gradients; call look with gradients=True")
    patches, _ = patchify_forward(np.abs(look.dimages), config.patch_size)
    return patches.sum(-1).reshape(-1, *config.grid)


METHODS: dict[str, Callable[[Look, ViTConfig], np.ndarray]] = {
    "attention": _joint(lambda look: fuse_heads(look.maps[-1])),
    "rollout": _joint(lambda look: rollout(look.maps)[-1]),
    "rollout-max": _joint(lambda look: rollout(look.maps, "max", DISCARD)[-1]),
    "gradient-rollout": _joint(lambda look: gradient_rollout(look.maps, look.dmaps)[-1]),
    "relevance": _joint(lambda look: relevance(look.maps, look.dmaps)[-1]),
    "input-gradient": input_gradient,
}
"""Name -> function of a `Look` with gradients and a config, giving (N, rows, columns).

attention: the last layer's mean over heads. The others: see `maps` and `input_gradient`.
"""


WITHOUT_GRADIENTS = ("attention", "rollout", "rollout-max")
"""Methods that need no class, so that they also work for a model without a head."""


def method(name: str) -> Callable[[Look, ViTConfig], np.ndarray]:
    """The method with this name; raises UserError for an unknown name."""
    if name not in METHODS:
        raise UserError(f'there is no method "{name}"; expected one of {", ".join(METHODS)}')
    return METHODS[name]
