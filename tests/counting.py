"""The learned numbers of a model counted by hand, layer by layer (paper, table 1)."""

import itertools

from minivit.models import ViTConfig


def num_parameters(config: ViTConfig) -> int:
    """Of a whole `ViT`."""
    C, F = config.dim, config.hidden
    norm = C if config.norm == "rmsnorm" else 2 * C
    block = (
        2 * norm
        + (config.layer_scale is not None) * 2 * C
        + (C * 3 * C + 3 * C)
        + (C * C + C)
        + (C * F + F)
        + (F * C + C)
    )
    features = config.representation_size or C
    return (
        (config.pool == "cls") * C
        + (config.pos_embed == "learned") * config.num_tokens * C
        + _stem(config)
        + (config.pool == "seq") * C
        + config.depth * (block + (config.pos_embed == "relative") * _offsets(config))
        + norm
        + (config.representation_size is not None) * (C * features + features)
        + features * config.num_classes
        + config.num_classes
    )


def _offsets(config: ViTConfig) -> int:
    rows, columns = config.grid
    return (2 * rows - 1) * (2 * columns - 1) * (config.dim // config.num_heads)


def _stem(config: ViTConfig) -> int:
    P, C = config.patch_size, config.dim
    if config.stem == "patch":
        return P * P * config.in_channels * C + C
    if config.stem == "resnet":
        return _resnet(config)
    stages = P.bit_length() - 1
    widths = [config.in_channels, *[C // 2] * (stages - 1), C]
    return sum(9 * a * b for a, b in itertools.pairwise(widths))


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
