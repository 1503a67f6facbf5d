"""What a model is made of and what it costs, as a table."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from minivit.backend import Array, get_xp

if TYPE_CHECKING:
    from minivit.models.config import ViTConfig
    from minivit.models.vit import ViT


class Row(NamedTuple):
    """One line of the table. flops: of forward, one image, a multiply-add counted as two.
    activation: bytes that this layer's cache holds for one image until backward.
    """

    name: str
    output: tuple[int, ...]
    parameters: int
    flops: int
    activation: int


def rows(model: "ViT") -> Iterator[Row]:
    """One row a layer; activation memory is measured on one image, not computed."""
    config = model.config
    T, C, F, K = config.num_tokens, config.dim, config.hidden, config.num_classes
    N = config.grid[0] * config.grid[1]
    xp = get_xp(model.flat.data)
    _, cache = model.forward(xp.zeros((1, config.in_channels, *config.image_hw), model.dtype))
    seen: set[int] = set()
    sizes = {name: parameter.data.size for name, parameter in model.named_parameters()}

    def row(name: str, output: tuple[int, ...], flops: int, cached) -> Row:
        counted = sum(n for key, n in sizes.items() if key == name or key.startswith(name + "."))
        return Row(name, output, counted, flops, _new_bytes(cached, seen, model))

    yield row("patch_embed", (N, C), _stem_flops(config), cache.patch_embed)
    for name, output in (("cls_token", (T, C)), ("pos_embed", (T, C))):
        if name in sizes:
            yield row(name, output, 0, ())
    for i, block in enumerate(cache.blocks):
        projections, maps = 2 * T * C * 4 * C, 2 * 2 * T * T * C
        yield row(f"blocks.{i}.norm1", (T, C), 0, block.norm1)
        yield row(f"blocks.{i}.attn", (T, C), projections + maps, block.attn)
        yield row(f"blocks.{i}.norm2", (T, C), 0, block.norm2)
        yield row(f"blocks.{i}.mlp", (T, C), 2 * T * C * F * 2, block.mlp)
    yield row("norm", (T, C), 0, (cache.norm, cache.tokens))
    if config.pool == "seq":
        yield row("sequence_pool", (C,), 2 * 2 * T * C, cache.pool)
    if cache.pre_logits is not None:
        C = config.representation_size
        yield row("pre_logits", (C,), 2 * config.dim * C, cache.pre_logits)
    yield row("head", (K,), 2 * C * K, cache.head)


def _stem_flops(config: "ViTConfig") -> int:
    """Of one image: the patches' projection, or the convolutions."""
    (H, W), P, C = config.image_hw, config.patch_size, config.dim
    if config.stem == "patch":
        return 2 * H * W * config.in_channels * C
    if config.stem == "resnet":
        return _resnet_flops(config)
    flops, fan_in, pixels = 0, config.in_channels, H * W
    for stage in range(P.bit_length() - 1, 0, -1):
        fan_out = C if stage == 1 else C // 2
        flops += 2 * pixels * 9 * fan_in * fan_out
        fan_in, pixels = fan_out, pixels // 4
    return flops


def _resnet_flops(config: "ViTConfig") -> int:
    """Of one image: root, bottlenecks, shortcuts."""
    pixels, width = math.prod(config.image_hw), config.dim >> (len(config.stages) - 1)
    fan_in = width // 4
    products = pixels * 9 * config.in_channels * fan_in
    for stage, count in enumerate(config.stages):
        for i in range(count):
            inner, before = width // 4, pixels
            if stage and i == 0:
                pixels //= 4
            products += before * fan_in * inner + pixels * inner * (9 * inner + width)
            products += (i == 0) * pixels * fan_in * width
            fan_in = width
        width *= 2
    return 2 * products


def _new_bytes(cached, seen: set[int], model: "ViT") -> int:
    """Bytes of the arrays in a cache whose memory no earlier layer was charged for."""
    if isinstance(cached, tuple | list):
        return sum(_new_bytes(member, seen, model) for member in cached)
    if not hasattr(cached, "nbytes"):
        return 0
    owner = _owner(cached)
    if id(owner) in seen or owner is _owner(model.flat.data):
        return 0
    seen.add(id(owner))
    return owner.nbytes


def _owner(array: Array) -> Array:
    """The array whose memory a view looks into."""
    while array.base is not None and hasattr(array.base, "nbytes"):
        array = array.base
    return array


def summary(model: "ViT") -> str:
    """The table of `rows`, with totals."""
    table = list(rows(model))
    lines = [f"{'layer':20}{'output':>14}{'parameters':>14}{'MFLOP':>10}{'cache, kB':>12}"]
    for row in table:
        output = " × ".join(map(str, row.output))
        lines.append(
            f"{row.name:20}{output:>14}{row.parameters:>14,}{row.flops / 1e6:>10.2f}"
            f"{row.activation / 1e3:>12.1f}"
        )
    parameters = sum(row.parameters for row in table)
    flops, activation = sum(r.flops for r in table), sum(r.activation for r in table)
    lines.append("─" * len(lines[0]))
    lines.append(
        f"{'in all':20}{'':14}{parameters:>14,}{flops / 1e6:>10.2f}{activation / 1e3:>12.1f}"
    )
    lines.append(f"per image, {model.dtype}; a training step computes about three times as much")
    return "\n".join(lines)
