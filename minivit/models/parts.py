"""The layers that a `ViTConfig` specifies."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from minivit.functional import rotary_axial, rotary_dinov3, sincos_2d
from minivit.layers import (
    Block,
    ConvStem,
    FixedPositions,
    Gelu,
    GeluTanh,
    Identity,
    Layer,
    LayerNorm,
    LayerScale,
    LearnedPositions,
    PatchEmbed,
    QuickGelu,
    ResNet,
    RMSNorm,
    Rotary,
    StridedStem,
    Swiglu,
)
from minivit.models.config import ViTConfig

NORMS: dict[str, Callable[..., Layer]] = {"layernorm": LayerNorm, "rmsnorm": RMSNorm}
ACTIVATIONS: dict[str, Callable[[], Layer]] = {
    "gelu": Gelu,
    "gelu_tanh": GeluTanh,
    "quick_gelu": QuickGelu,
}
"""The layers that `ViTConfig.norm` and `.activation` name."""


def make_norm(config: ViTConfig) -> Callable[[int], Layer]:
    """A function that makes a norm for a given width."""
    return partial(NORMS[config.norm], eps=config.norm_eps)


def make_activation(config: ViTConfig) -> Layer:
    """The activation between the MLP's two layers."""
    return Swiglu() if config.mlp == "swiglu" else ACTIVATIONS[config.activation]()


def make_stem(rng: np.random.Generator, config: ViTConfig) -> Layer:
    """The stem, which turns pixels into tokens."""
    if config.stem == "resnet":
        return ResNet(rng, config.stages, config.in_channels, config.dim)
    sizes = config.patch_size, config.in_channels, config.dim
    if config.stem == "conv":
        return ConvStem(rng, *sizes, config.residual_convs)
    return {"patch": PatchEmbed, "strided": StridedStem}[config.stem](rng, *sizes)


def make_positions(rng: np.random.Generator, config: ViTConfig) -> Layer:
    """The layer that adds position embeddings; the identity if positions are inside attention."""
    if config.pos_embed == "learned":
        return LearnedPositions(rng, config.num_positions, config.dim)
    if config.pos_embed == "sincos2d":
        return FixedPositions(fixed_positions(config))
    return Identity()


def make_block(rng: np.random.Generator, config: ViTConfig, i: int) -> Block:
    """Block i of the encoder."""
    attention: dict[str, Any] = {
        "qkv_bias": config.qkv_bias,
        "rotary": make_rotary(config),
        "mimetic": config.attention_init == "mimetic",
    }
    if config.pos_embed in ("relative", "relative_bias"):
        attention["relative_grid"] = config.grid
        attention["relative_bias"] = config.pos_embed == "relative_bias"
    if config.qk_norm:
        attention["qk_norm"] = make_norm(config)
    value = config.layer_scale
    return Block(
        rng,
        config.dim,
        config.num_heads,
        config.hidden,
        norm=make_norm(config),
        scale=None if value is None else lambda dim: LayerScale(dim, value),
        act=make_activation(config),
        dropout=config.dropout,
        attn_dropout=config.attn_dropout,
        drop_path=config.drop_path * i / max(config.depth - 1, 1),
        attention=attention,
    )


def make_rotary(config: ViTConfig) -> Rotary | None:
    """The rotary angles of the patches; None if the model has none."""
    D, theta = config.dim // config.num_heads, config.rope_theta
    if config.rope == "none":
        return None
    if config.rope == "dinov3":
        return Rotary(*rotary_dinov3(*config.grid, D, theta), half=True)
    xy = config.rope == "axial_xy"
    return Rotary(*rotary_axial(*config.grid, D, theta, config.rope_grid, xy), half=False)


def fixed_positions(config: ViTConfig) -> np.ndarray:
    """(1, T, C): sines and cosines for the patches, zeros for the tokens before them."""
    table = sincos_2d(*config.grid, config.dim)
    prefix = np.zeros((config.num_prefix, config.dim))
    return np.concatenate([prefix, table])[None]
