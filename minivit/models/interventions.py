"""Interventions: a model with a part changed, such as a head switched off, a layer skipped, or
positions shuffled.

An intervention returns a new model that can be used like any other: with `look`, `trace`,
`logit_lens`. The live page makes the same changes in `viz/page/model.js`.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np

from minivit.backend import Array, RandomStream, get_xp
from minivit.errors import UserError
from minivit.functional import (
    AttentionCache,
    MultiHeadAttentionCache,
    linear_forward,
    merge_heads,
    patchify_forward,
    unpatchify_forward,
)
from minivit.layers import Block, BlockCache, FixedPositions, Identity, LearnedPositions
from minivit.layers.attention import MultiHeadAttention, Rotary
from minivit.models.config import ViTConfig
from minivit.models.vit import ViT


def intervene(
    model: ViT,
    *,
    heads_off: Iterable[tuple[int, int]] = (),
    skipped: Iterable[int] = (),
    uniform: Iterable[int] = (),
    temperature: float = 1.0,
    forced: Sequence[int] = (),
    positions: Literal["own", "off"] | Sequence[int] = "own",
) -> ViT:
    """A copy of the model with some of its parts changed; the model itself stays unchanged.

    Layers, heads and patches are counted from 0, patches row by row.

    Args:
        heads_off: (layer, head) of heads whose output is set to zero; their maps stay.
        `other_heads` lists all heads of a layer but one. skipped: layers that pass their tokens
        through unchanged; their maps are zero. uniform: layers in which every token attends to all
        tokens equally.
        temperature: the scores of all heads are divided by this number, which must be above 0.
        forced: patches; in all layers the class token attends equally to these, and to nothing
        else.
        positions: "off" for no positions; or, for each patch, the index of the patch whose position
        it gets.

    Raises:
        UserError: a layer, head or patch that the model does not have; no class token to force; no
        positions to change, or a custom position layer.
    """
    config, twin = model.config, model.copy()
    for layer, head in heads_off:
        _check("layer", layer, config.depth)
        _check("head", head, config.num_heads)
        _switch_off(twin.blocks[layer].attn, head)
    if not 0 < temperature < math.inf:
        raise UserError(f"temperature is {temperature}; expected a number above 0")
    for block in twin.blocks if temperature != 1.0 else ():
        _scale_scores(block.attn, 1.0 / temperature)
    for layer in uniform:
        _check("layer", layer, config.depth)
        _scale_scores(twin.blocks[layer].attn, 0.0)
    if len(forced):
        _force(twin, list(forced))
    for layer in skipped:
        _check("layer", layer, config.depth)
        twin.blocks[layer] = SkippedBlock(twin.blocks[layer])
    if not isinstance(positions, str):
        _move_positions(twin, list(positions))
    elif positions == "off":
        _move_positions(twin, None)
    elif positions != "own":
        raise UserError(f'positions is "{positions}"; expected "own", "off" or a list of patches')
    return twin


def other_heads(config: ViTConfig, layer: int, head: int) -> list[tuple[int, int]]:
    """All heads of a layer but one, for `intervene(heads_off=…)`."""
    return [(layer, other) for other in range(config.num_heads) if other != head]


def cover_patches(
    images: Array, patches: Sequence[int], patch_size: int, value: float | Sequence[float] = 0.0
) -> Array:
    """Images (N, channels, H, W) with these patches filled with one color.

    value: for all channels, or one per channel. In normalized images, 0 is the mean color of the
    training images.
    """
    cut, size = _cut(images, patch_size)
    cut = cut.copy()  # it may be a view
    _check_patches(patches, cut.shape[1])
    color = np.broadcast_to(np.asarray(value), images.shape[1])
    cut[:, list(patches)] = get_xp(images).asarray(np.tile(color, patch_size**2), images.dtype)
    return unpatchify_forward(cut, patch_size, size)[0]


def blur_patches(images: Array, patches: Sequence[int], patch_size: int) -> Array:
    """Images (N, channels, H, W) with these patches blurred: each pixel is the mean of a square
    around it, half a patch to each side, clipped to the image.

    For integers, such as uint8 pixels, the mean is rounded half up.
    """
    xp, radius = get_xp(images), math.ceil(patch_size / 2)
    rows, columns = (xp.asarray(_box_filter(length, radius)) for length in images.shape[2:])
    soft = rows @ images @ columns.T
    if images.dtype.kind in "iu":
        soft = xp.floor(soft + 0.5)
    cut, size = _cut(images, patch_size)
    cut = cut.copy()  # it may be a view
    _check_patches(patches, cut.shape[1])
    blurred, _ = _cut(soft.astype(images.dtype), patch_size)
    cut[:, list(patches)] = blurred[:, list(patches)]
    return unpatchify_forward(cut, patch_size, size)[0]


def arrange_patches(images: Array, order: Sequence[int], patch_size: int) -> Array:
    """Images (N, channels, H, W) with their patches in another order: shuffled, or two swapped.

    order: for each position, the patch that goes there.
    """
    cut, size = _cut(images, patch_size)
    _check_order(order, cut.shape[1])
    return unpatchify_forward(cut[:, list(order)], patch_size, size)[0]


class SkippedBlock(Block):
    """A block that passes its tokens through. Its parameters stay; its attention maps are zero."""

    def __init__(self, block: Block):
        vars(self).update(vars(block))

    def equation(self, names: tuple[str, ...], x: str) -> str:
        """ "x", the formula shown in a trace."""
        return x

    def forward(self, x: Array, stream: RandomStream | None = None) -> tuple[Array, BlockCache]:
        """x -> x, and a cache with its maps and normalized tokens."""
        B, T, _ = x.shape
        probs = get_xp(x).zeros((B, self.attn.num_heads, T, T), x.dtype)
        nothing: Any = None
        attention = AttentionCache(nothing, nothing, nothing, probs, None)
        attn = MultiHeadAttentionCache((), None, attention, ())
        _, norm1 = self.norm1.forward(x)
        return x, BlockCache(norm1, attn, nothing, nothing, nothing, nothing)

    def __call__(self, x: Array) -> Array:
        """x -> x."""
        return x

    def backward(self, dout: Array, cache: BlockCache, dprobs: Array | None = None) -> Array:
        """dout -> dout; dprobs is filled with zeros."""
        if dprobs is not None:
            dprobs[...] = 0.0
        return dout


class ForcedAttention(MultiHeadAttention):
    """Attention whose first `num_queries` tokens attend only to the tokens `forced`."""

    def __init__(self, attention: MultiHeadAttention, num_queries: int, forced: list[int]):
        vars(self).update(vars(attention))
        self.num_queries, self.forced = num_queries, tuple(forced)

    def forward(
        self, x: Array, stream: RandomStream | None = None
    ) -> tuple[Array, MultiHeadAttentionCache]:
        """x (B, T, C) -> (B, T, C), cache; without dropout, as it is never trained."""
        _, cache = super().forward(x)
        probs, v = cache.probs, cache.attention.v
        probs[:, :, : self.num_queries] = 0.0
        probs[:, :, : self.num_queries, list(self.forced)] = 1.0 / len(self.forced)
        bias: Any = self.proj.bias
        y, _ = linear_forward(merge_heads(probs @ v), self.proj.weight.data, bias.data)
        attention = AttentionCache(cache.attention.q, cache.attention.k, v, probs, None)
        return y, cache._replace(attention=attention)

    def backward(self, *_: Any) -> Array:
        """Not implemented: overridden scores have no gradient."""
        raise UserError("forced attention has no backward; use it without gradients")


def _switch_off(attn: MultiHeadAttention, head: int) -> None:
    """Zero the rows of the output projection that read the head's output."""
    D = len(attn.proj.weight.data) // attn.num_heads
    attn.proj.weight.data[head * D : (head + 1) * D] = 0.0


def _scale_scores(attn: MultiHeadAttention, scale: float) -> None:
    """Multiply the scores by `scale`. They are linear in the queries, including the scores of
    relative positions; if queries are normalized, they are linear in the norm's weights.
    """
    C = len(attn.qkv.weight.data)
    if hasattr(attn, "q_norm"):
        queries = [parameter.data for _, parameter in attn.q_norm.named_parameters()]
    else:
        queries = [attn.qkv.weight.data[:, :C]]
        queries += [] if attn.qkv.bias is None else [attn.qkv.bias.data[:C]]
    # this term does not depend on the queries
    if attn.relative_bias and attn.offsets is not None:
        queries.append(attn.relative_table.data)
    for numbers in queries:
        numbers *= scale


def _force(model: ViT, patches: list[int]) -> None:
    config = model.config
    if not config.num_class_tokens:
        raise UserError(f"forced: the model has no class token (pool {config.pool})")
    first = config.num_prefix
    _check_patches(patches, config.num_tokens - first)
    tokens = [first + patch for patch in patches]
    for block in model.blocks:
        block.attn = ForcedAttention(block.attn, config.num_class_tokens, tokens)


def _move_positions(model: ViT, order: list[int] | None) -> None:
    """Give the patches the positions of others, or no positions (None)."""
    config = model.config
    N = config.num_tokens - config.num_prefix
    if order is not None:
        _check_order(order, N)
    if not isinstance(model.positions, LearnedPositions | FixedPositions | Identity):
        raise UserError(
            f"positions: {type(model.positions).__qualname__} is a custom layer of unknown "
            "structure; change its positions yourself"
        )
    if config.pos_embed == "none" and config.rope == "none":
        raise UserError("positions: the model has none to change (pos_embed none, rope none)")
    if isinstance(model.positions, LearnedPositions):
        _move_rows(model.positions.pos_embed.data, N, order)
    if isinstance(model.positions, FixedPositions):
        model.positions.table = model.positions.table.copy()  # shared by replicas
        _move_rows(model.positions.table, N, order)
    for block in model.blocks:
        _move_attention(block.attn, order)


def _move_rows(table: Array, N: int, order: list[int] | None) -> None:
    """Permute or zero (None) the last N rows of a table (1, T, C), those of the patches."""
    table[:, -N:] = 0.0 if order is None else table[:, -N:][:, order]


def _move_attention(attn: MultiHeadAttention, order: list[int] | None) -> None:
    """Change the positions inside attention: offsets between patches, and rotary angles."""
    if order is None:
        attn.rotary = None
        if attn.offsets is not None:
            attn.relative_table.data[...] = 0.0
        return
    if attn.rotary is not None:
        cos, sin, half = attn.rotary
        attn.rotary = Rotary(cos[order], sin[order], half)
    if attn.offsets is not None:
        attn.offsets = attn.offsets[np.ix_(order, order)]


def _box_filter(length: int, radius: int) -> np.ndarray:
    """(length, length): row i averages over i - radius … i + radius, clipped to the valid range."""
    indices = np.arange(length)
    inside = np.abs(indices[:, None] - indices) <= radius
    return inside / inside.sum(1, keepdims=True)


def _cut(images: Array, patch_size: int) -> tuple[Array, tuple[int, int]]:
    cut, _ = patchify_forward(images, patch_size)
    return cut, images.shape[2:]


def _check(kind: str, number: int, count: int) -> None:
    if not 0 <= number < count:
        raise UserError(f"{kind} {number}: the model has {kind}s 0 to {count - 1}")


def _check_patches(patches: Sequence[int], count: int) -> None:
    for patch in patches:
        if not 0 <= patch < count:
            raise UserError(f"patch {patch}: there are patches 0 to {count - 1}")


def _check_order(order: Sequence[int], count: int) -> None:
    if len(order) != count:
        raise UserError(f"an order of {len(order)} patches; expected {count}")
    _check_patches(order, count)
