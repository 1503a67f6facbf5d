"""One pass of a model over images: all outputs that this package visualizes."""

from typing import NamedTuple

import numpy as np

from minivit.backend import Array, get_xp, to_host
from minivit.errors import UserError
from minivit.layers import BlockCache
from minivit.models import MaskedViT, ViT


class Look(NamedTuple):
    """On the host; L blocks, N images.

    logits: (N, K). classes: (N,), those for which gradients are computed.
    maps: (L, N, H, T, T), the attention maps; row = query, column = key.
    tokens: (L + 1, N, T, C), normalized as input of each block and, last, of the head.
    dmaps: (L, N, H, T, T), gradient of the class's logit with respect to `maps`, or None.
    dimages: (N, channels, H, W), the same with respect to the pixels, or None.
    """

    logits: np.ndarray
    classes: np.ndarray
    maps: np.ndarray
    tokens: np.ndarray
    dmaps: np.ndarray | None
    dimages: np.ndarray | None


def require_attention(model: ViT | MaskedViT) -> None:
    """Raise UserError if the model has no attention."""
    if not model.encoder.blocks:
        raise UserError("this model has no attention: it is a ResNet (depth 0)")


def look(
    model: ViT | MaskedViT,
    images: Array,
    classes: np.ndarray | None = None,
    gradients: bool = False,
) -> Look:
    """Run the model and keep its outputs. The model and its gradients stay unchanged.

    Args:
        model: for a `MaskedViT`, its encoder is used.
        images: (N, channels, H, W), normalized, of the model's dtype and device.
        classes: (N,), whose logits are differentiated; None for the predicted ones.
        gradients: whether to run backward for `dmaps` and `dimages`.

    Raises:
        UserError: the model has no attention; the gradients are zero, as with an untrained head.
    """
    require_attention(model)
    model = model.encoder
    recorded: list[tuple[np.ndarray, np.ndarray]] = []  # per block

    def record(block: BlockCache) -> None:
        recorded.append((to_host(block.attn.probs), to_host(block.norm1.xhat)))

    if gradients:
        replica = model.replica()  # backward adds to its gradients
        logits, cache = replica.forward(images)
        last = cache.tokens, cache.norm
        for block in cache.blocks:
            record(block)
    else:
        logits, last = model.observe(images, record)
    tokens, norm = last
    final = to_host(tokens if norm is None else norm.xhat)  # some models have no final norm
    maps = np.stack([probs for probs, _ in recorded])
    tokens = np.stack([*(xhat for _, xhat in recorded), final])
    host_logits = to_host(logits)
    classes = host_logits.argmax(-1) if classes is None else np.asarray(classes)
    if not gradients:
        return Look(host_logits, classes, maps, tokens, None, None)
    xp = get_xp(images)
    dlogits = xp.zeros_like(logits)
    dlogits[xp.arange(len(images)), xp.asarray(classes)] = 1.0
    dmaps = xp.empty(maps.shape, logits.dtype)
    dimages = to_host(replica.backward(dlogits, cache, dmaps))
    dmaps = to_host(dmaps)
    if not dmaps.any():
        raise UserError(
            "the logits do not depend on the attention maps: their gradients are all zero, as "
            "with an untrained head; train the model first"
        )
    return Look(host_logits, classes, maps, tokens, dmaps, dimages)
