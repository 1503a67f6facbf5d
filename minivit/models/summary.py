"""A model's layers and their cost, as a table."""

import itertools
import math
import operator
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np

from minivit.backend import Array, get_xp
from minivit.layers import FlatParameters
from minivit.layers.conv_stem import stem_strides, stem_widths
from minivit.models.config import ViTConfig


class Row(NamedTuple):
    """One line of the table. flops: of forward, for one image, with a multiply-add counted as two.
    activation: bytes that this layer's cache keeps for one image until backward.
    """

    name: str
    output: tuple[int, ...]
    parameters: int
    flops: int
    activation: int


class Summarized(Protocol):
    """What a summary needs from a model."""

    config: ViTConfig
    flat: FlatParameters

    @property
    def dtype(self) -> np.dtype: ...

    def forward(self, images: Array) -> tuple[Array, Any]: ...


def rows(model: Summarized) -> Iterator[Row]:
    """One row per layer; activation memory is measured on one image, not computed."""
    config = model.config
    xp = get_xp(model.flat.data)
    _, cache = model.forward(xp.zeros((1, config.in_channels, *config.image_hw), model.dtype))
    table = _Rows(model, cache)
    for name, cached in zip(cache._fields, cache, strict=True):
        yield from getattr(table, name)(cached)
    yield from table.unused()


class _Rows:
    """The rows of each member of a model's cache: one method per member, named after it."""

    def __init__(self, model: Summarized, cache: Any):
        self.config, self.cache = model.config, cache
        self.sizes = {name: math.prod(shape) for name, shape in model.flat.shapes.items()}
        self.seen = {id(_owner(model.flat.data))}
        self.T, self.C = self.config.num_tokens, self.config.dim
        self.shown: list[str] = []

    def row(self, name: str, output: tuple[int, ...], flops: int, cached: Any) -> Row:
        counts = (n for key, n in self.sizes.items() if key == name or key.startswith(name + "."))
        self.shown.append(name)
        return Row(name, output, sum(counts), flops, _new_bytes(cached, self.seen))

    def parameter(self, name: str, output: tuple[int, ...]) -> Iterator[Row]:
        """The row of a parameter that belongs to no layer, if the model has it."""
        if name in self.sizes:
            yield self.row(name, output, 0, ())

    def unused(self) -> Iterator[Row]:
        """Rows of parameters that this forward pass does not use, such as a `MaskedViT`'s head."""
        top_level = dict.fromkeys(key.partition(".")[0] for key in self.sizes)
        for name in top_level:
            if not any(shown.partition(".")[0] == name for shown in self.shown):
                yield self.row(name, (), 0, ())

    def patch_embed(self, cached: Any) -> Iterator[Row]:
        N = math.prod(self.config.grid)
        yield self.row("patch_embed", (N, self.C), _stem_flops(self.config), cached)

    def corruption(self, cached: Any) -> Iterator[Row]:
        yield from ()

    def corrupt(self, cached: Any) -> Iterator[Row]:
        N = math.prod(self.config.grid)
        yield self.row("mask_token", (N, self.C), 0, cached)

    def embed(self, cached: Any) -> Iterator[Row]:
        for name in ("cls_token", "dist_token", "reg_token", "pos_embed"):
            yield from self.parameter(name, (self.T, self.C))
        yield from self.layer("positions", (self.T, self.C), cached.positions)
        yield from self.layer("norm_pre", (self.T, self.C), cached)

    def patch_drop(self, cached: Any) -> Iterator[Row]:
        yield from ()  # inactive outside training

    def blocks(self, cached: Any) -> Iterator[Row]:
        T, C, F = self.T, self.C, self.config.hidden
        projections, maps = 2 * T * C * 4 * C, 2 * 2 * T * T * C
        for i, block in enumerate(cached):
            for part, flops, part_cache in (
                ("norm1", 0, block.norm1),
                ("attn", projections + maps, block.attn),
                ("ls1", 0, block.branch1.scale),
                ("norm2", 0, block.norm2),
                ("mlp", 2 * T * C * F * (3 if self.config.mlp == "swiglu" else 2), block.mlp),
                ("ls2", 0, block.branch2.scale),
            ):
                row = self.row(f"blocks.{i}.{part}", (T, C), flops, part_cache)
                if row.parameters:
                    yield row

    def layer(self, name: str, output: tuple[int, ...], cached: Any) -> Iterator[Row]:
        """The row of an optional norm or position layer."""
        if any(key.startswith(f"{name}.") for key in self.sizes):
            yield self.row(name, output, 0, cached)

    def norm(self, cached: Any) -> Iterator[Row]:
        tokens = getattr(self.cache, "tokens", ())
        yield from self.layer("norm", (self.T, self.C), (cached, tokens))

    def tokens(self, cached: Any) -> Iterator[Row]:
        yield from ()  # counted in the row of the norm, whose output they are

    def pool(self, cached: Any) -> Iterator[Row]:
        N, C, F = math.prod(self.config.grid), self.C, self.config.hidden
        if self.config.pool == "seq":
            yield self.row("sequence_pool", (C,), 2 * 2 * N * C, cached)
        if self.config.pool == "map":
            flops = 2 * N * C * 2 * C + 2 * 2 * N * C + 2 * (2 * C * C + 2 * C * F)
            yield self.row("attn_pool", (C,), flops, cached)
        yield from self.layer("fc_norm", (C,), cached)

    def pre_logits(self, cached: Any) -> Iterator[Row]:
        width = self.config.representation_size
        if width is not None:
            yield self.row("pre_logits", (width,), 2 * self.C * width, cached)

    def head(self, cached: Any) -> Iterator[Row]:
        width, K = self.config.representation_size or self.C, self.config.num_classes
        for name in ("head", "head_dist"):
            if f"{name}.weight" in self.sizes:
                yield self.row(name, (K,), 2 * width * K, cached)

    def take(self, cached: Any) -> Iterator[Row]:
        yield from ()

    def decoder(self, cached: Any) -> Iterator[Row]:
        M, outputs = cached[0].shape[1], self.sizes["decoder.bias"]
        yield self.row("decoder", (M, outputs), 2 * M * self.C * outputs, cached)


def _stem_flops(config: ViTConfig) -> int:
    """FLOPs for one image: the patch projection, or the convolutions."""
    (H, W), P, C = config.image_hw, config.patch_size, config.dim
    if config.stem == "patch":
        return 2 * H * W * config.in_channels * C
    if config.stem == "resnet":
        return _resnet_flops(config)
    if config.stem == "strided":
        scales = list(itertools.accumulate(stem_strides(P), operator.mul))
    else:
        scales = [2**stage for stage in range(P.bit_length() - 1)]  # pooling halves after each
    pairs = itertools.pairwise(stem_widths(len(scales), config.in_channels, C))
    products = sum(9 * (H // s) * (W // s) * a * b for s, (a, b) in zip(scales, pairs, strict=True))
    return 2 * (products + config.residual_convs * 9 * math.prod(config.grid) * C * C)


def _resnet_flops(config: ViTConfig) -> int:
    """FLOPs for one image: root, bottlenecks, shortcuts."""
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


def _new_bytes(cached: Any, seen: set[int]) -> int:
    """Bytes of the arrays in a cache whose memory is not yet in `seen`; adds it to `seen`."""
    if isinstance(cached, tuple | list):
        return sum(_new_bytes(member, seen) for member in cached)
    if not hasattr(cached, "nbytes"):
        return 0
    owner = _owner(cached)
    if id(owner) in seen:
        return 0
    seen.add(id(owner))
    return owner.nbytes


def _owner(array: Array) -> Array:
    """The array that owns a view's memory."""
    while array.base is not None and hasattr(array.base, "nbytes"):
        array = array.base
    return array


def summary(model: Summarized) -> str:
    """The table of `rows`, with totals."""
    table = list(rows(model))
    lines = [f"{'layer':20}{'output':>14}{'parameters':>14}{'MFLOP':>10}{'cache, kB':>12}"]
    for row in table:
        output = " × ".join(map(str, row.output)) or "not used"
        lines.append(
            f"{row.name:20}{output:>14}{row.parameters:>14,}{row.flops / 1e6:>10.2f}"
            f"{row.activation / 1e3:>12.1f}"
        )
    parameters = sum(row.parameters for row in table)
    flops, activation = sum(r.flops for r in table), sum(r.activation for r in table)
    lines.append("─" * len(lines[0]))
    lines.append(
        f"{'total':20}{'':14}{parameters:>14,}{flops / 1e6:>10.2f}{activation / 1e3:>12.1f}"
    )
    lines.append(f"per image, {model.dtype}; a training step computes about three times as much")
    return "\n".join(lines)
