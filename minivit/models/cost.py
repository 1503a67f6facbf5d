"""The cost of a model, counted from its config before anything is allocated."""

import itertools
import math

from minivit.functional.flash_attention import KEYS
from minivit.layers.conv_stem import stem_widths
from minivit.models.config import ViTConfig


def num_parameters(config: ViTConfig) -> int:
    """The number of parameters of a `ViT`, layer by layer (paper, table 1)."""
    C, features = config.dim, config.representation_size or config.dim
    return (
        config.num_prefix * C
        + (config.pos_embed == "learned") * config.num_positions * C
        + _stem(config)
        + (config.pre_norm + (config.final_norm != "none")) * _norm(config, C)
        + (config.pool == "seq") * C
        + (config.pool == "map") * (C + 4 * (C * C + C) + _norm(config, C) + _mlp(config))
        + config.depth * _block(config)
        + (config.representation_size is not None) * (C * features + features)
        + (1 + config.distilled) * (features + 1) * config.num_classes
    )


def _block(config: ViTConfig) -> int:
    C, D = config.dim, config.dim // config.num_heads
    relative = {"relative": D, "relative_bias": config.num_heads}.get(config.pos_embed, 0)
    return (
        2 * _norm(config, C)
        + (config.layer_scale is not None) * 2 * C
        + C * 3 * C
        + config.qkv_bias * 3 * C
        + config.qk_norm * 2 * _norm(config, D)
        + relative * _offsets(config)
        + (C * C + C)
        + _mlp(config)
    )


def _norm(config: ViTConfig, width: int) -> int:
    return width if config.norm == "rmsnorm" else 2 * width


def _mlp(config: ViTConfig) -> int:
    C, F = config.dim, config.hidden
    wide = 2 * F if config.mlp == "swiglu" else F
    return (C * wide + wide) + (F * C + C)


def num_activations(config: ViTConfig, device: str = "cpu") -> int:
    """A lower bound on how many numbers forward keeps per image until backward.

    Per block: the attention map of each head, or one number per query if attention is computed in
    blocks; per token, eight vectors of width C (two norms, queries, keys, values, the heads'
    outputs, two inputs) and three of the MLP's hidden width. What dropout, positions and the head
    keep is not counted.
    """
    T, C = config.num_tokens, config.dim
    has_map = config.attn_dropout > 0 or config.pos_embed in ("relative", "relative_bias")
    in_blocks = device == "cpu" and T > KEYS and not has_map
    probs = config.num_heads * T * (1 if in_blocks else T)
    block = probs + 8 * T * C + 3 * T * config.hidden
    return config.depth * block + 2 * T * C + _stem_activations(config)


def _offsets(config: ViTConfig) -> int:
    """The number of offsets between two patches."""
    rows, columns = config.grid
    return (2 * rows - 1) * (2 * columns - 1)


def _stem(config: ViTConfig) -> int:
    P, C = config.patch_size, config.dim
    if config.stem == "patch":
        return P * P * config.in_channels * C + C
    if config.stem == "resnet":
        return _resnet(config)
    convs = P.bit_length() - 1 + (config.stem == "strided")
    widths = stem_widths(convs, config.in_channels, C)
    residual = config.residual_convs * (9 * C * C + 2 * C)
    return sum(9 * a * b for a, b in itertools.pairwise(widths)) + residual


def _resnet(config: ViTConfig) -> int:
    width = config.dim >> (len(config.stages) - 1)
    fan_in, total = width // 4, 9 * config.in_channels * (width // 4)
    for count in config.stages:
        for i in range(count):
            inner = width // 4
            total += 2 * fan_in + 4 * inner  # norms
            total += fan_in * inner + 9 * inner * inner + inner * width
            total += (i == 0) * fan_in * width  # shortcut
            fan_in = width
        width *= 2
    return total + 2 * config.dim


def _stem_activations(config: ViTConfig) -> int:
    """For a ResNet, four times each bottleneck's output; for stem conv, the output of its first
    stage, and two inputs of each residual convolution (before and after the norm); for stem
    strided, the inputs of all convolutions but the first.
    """
    H, W = config.image_hw
    if config.stem == "resnet":
        widths = [config.dim >> (len(config.stages) - 1 - i) for i in range(len(config.stages))]
        stages = enumerate(zip(config.stages, widths, strict=True))
        return sum(4 * count * (H >> i) * (W >> i) * width for i, (count, width) in stages)
    if config.stem == "strided":
        halvings = [1, *range(1, config.patch_size.bit_length() - 1)]  # two read half the size
        return sum((H >> i) * (W >> i) * (config.dim // 2) for i in halvings)
    if config.stem == "conv":
        residual = config.residual_convs * 2 * math.prod(config.grid) * config.dim
        return H * W // 4 * (config.dim // 2) + residual
    return 0
