"""The Vision Transformer (Dosovitskiy et al., 2021)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from minivit.backend import Array, RandomStream, get_xp, require_same_xp, to_device
from minivit.errors import UserError
from minivit.functional import (
    class_token_backward,
    class_token_forward,
    mean_pool_backward,
    mean_pool_forward,
    position_backward,
    position_forward,
    sincos_2d,
    tanh_backward,
    tanh_forward,
)
from minivit.layers import (
    Block,
    BlockCache,
    ConvStem,
    Dropout,
    FlatParameters,
    Gelu,
    GeluTanh,
    Layer,
    LayerNorm,
    LayerScale,
    Linear,
    Parameter,
    PatchEmbed,
    ResNet,
    RMSNorm,
    SequencePool,
)
from minivit.layers.initialize import normal, weights_from
from minivit.models.config import ViTConfig
from minivit.models.model import Model


class ViTCache(NamedTuple):
    """What backward needs, in the order of forward.

    blocks: one `BlockCache` a block; `blocks[i].attn.probs` (B, H, T, T) is its attention map.
    Backward takes each out of the list once it is used, to free its memory.
    tokens: (B, T, C), what the final norm gave, for whoever wants features.
    """

    patch_embed: tuple | list
    drop: Array | None
    blocks: list[BlockCache]
    norm: Any
    tokens: Array
    pool: tuple
    pre_logits: tuple | None
    head: tuple


NORMS: dict[str, Callable[[int], Layer]] = {"layernorm": LayerNorm, "rmsnorm": RMSNorm}
ACTIVATIONS: dict[str, Callable[[], Layer]] = {"gelu": Gelu, "gelu_tanh": GeluTanh}
"""What `ViTConfig.norm` and `.activation` name."""


class ViT(Model):
    """Patches, class token, positions, encoder blocks, norm, head (paper, eq. 1 to 4).

    Args:
        config: sizes and options. seed: random seed for the initial weights; None: zeros, for
            weights that come from a file.
        dtype: "float32" or "float64". device: "cpu", "cuda" or "cuda:N".

    Weights are drawn as in the paper's code: Xavier-uniform matrices, positions normal with
    standard deviation 0.02, class token, biases and the head zero.
    """

    def __init__(
        self,
        config: ViTConfig,
        seed: int | None = 0,
        dtype: str = "float32",
        device: str = "cpu",
    ):
        rng = weights_from(seed)
        C, T = config.dim, config.num_tokens
        if config.pool == "cls":
            self.cls_token = Parameter(np.zeros((1, 1, C)))
        if config.pos_embed == "learned":
            self.pos_embed = Parameter(normal(rng, (1, T, C), 0.02))
        self.patch_embed = _make_stem(rng, config)
        self.pos_drop = Dropout(config.dropout)
        self.blocks = [_make_block(rng, config, i) for i in range(config.depth)]
        self.norm = NORMS[config.norm](C)
        if config.pool == "seq":
            self.sequence_pool = SequencePool(rng, C)
        features = C
        if config.representation_size is not None:
            features = config.representation_size
            self.pre_logits = Linear(rng, C, features)
        self.head = Linear(rng, features, config.num_classes)
        self.head.weight.data[...] = 0.0
        self.config, self.device = config, device
        self.flat = FlatParameters(self, dtype, device)
        self.fixed_positions: Any = None
        if config.pos_embed == "sincos2d":
            self.fixed_positions = to_device(_fixed_positions(config).astype(dtype), device)

    @property
    def encoder(self) -> "ViT":
        """The model that has the blocks: itself."""
        return self

    def _constants(self) -> list[Array]:
        return [] if self.fixed_positions is None else [self.fixed_positions]

    def __call__(self, images: Array) -> Array:
        """images (B, channels, H, W) -> logits (B, K); keeps no cache, so any depth fits."""
        return self._classify(self._encode(images))[0]

    def features(self, images: Array) -> Array:
        """images (B, channels, H, W) -> (B, C): what the head gets, for other uses."""
        tokens, _ = self.norm.forward(self._encode(images))
        return self._pool(tokens)[0]

    def forward(  # type: ignore[override]
        self, images: Array, train: bool = False, stream: RandomStream | None = None
    ) -> tuple[Array, ViTCache]:
        """Logits, and all that backward needs.

        Args:
            images: (B, channels, H, W), of the model's dtype and device.
            train: dropout and drop path at work; False puts them at rest.
            stream: where their masks come from; needed where a rate is above 0.

        Returns:
            logits (B, K), cache.

        Raises:
            UserError: another shape, dtype or device than the model's; masks needed but no stream.
        """
        self.check_images(images)
        stream = self._masks_from(stream) if train else None
        x, patch_embed = self.patch_embed.forward(images)
        x, drop = self.place_forward(x, stream)
        x, blocks = self.blocks_forward(x, stream)
        logits, tail = self._classify(x)
        return logits, ViTCache(patch_embed, drop, blocks, *tail)

    def backward(self, dlogits: Array, cache: ViTCache, dprobs: Array | None = None) -> Array:
        """dlogits (B, K) -> dimages (B, channels, H, W); parameters' gradients are added to.

        Uses the cache up: `cache.blocks` is empty afterwards.

        Args:
            dprobs: (depth, B, H, T, T) to fill with the gradients of the attention maps, the first
                block's first; None where nobody wants them.

        Raises:
            UserError: the cache was used before.
        """
        if len(cache.blocks) != len(self.blocks):
            raise UserError(
                f"this cache holds {len(cache.blocks)} of {len(self.blocks)} blocks: backward has "
                "used it; run forward again"
            )
        dx = self._classify_backward(dlogits, cache)
        dx = self.blocks_backward(dx, cache.blocks, dprobs)
        dx = self.place_backward(dx, cache.drop)
        return self.patch_embed.backward(dx, cache.patch_embed)

    def _encode(self, images: Array) -> Array:
        """All blocks, at rest, no cache kept: -> (B, T, C)."""
        self.check_images(images)
        x, _ = self.patch_embed.forward(images)
        x, _ = self.place_forward(x, None)
        for block in self.blocks:
            x, _ = block.forward(x)
        return x

    def place_forward(self, x: Array, stream: RandomStream | None) -> tuple[Array, Array | None]:
        """The rest of eq. 1: class token in front, positions added; cache (dropout's
        mask)."""
        if self.config.pool == "cls":
            x, _ = class_token_forward(x, self.cls_token.data)
        if self.config.pos_embed == "learned":
            x, _ = position_forward(x, self.pos_embed.data)
        elif self.config.pos_embed == "sincos2d":
            x, _ = position_forward(x, self.fixed_positions)
        return self.pos_drop.forward(x, stream)

    def place_backward(self, dx: Array, drop: Array | None) -> Array:
        """dx (B, T, C) -> that of the stem's tokens (B, N, C)."""
        dx = self.pos_drop.backward(dx, drop)
        if self.config.pos_embed == "learned":
            dx, dpos_embed = position_backward(dx, None)
            self.pos_embed.grad += dpos_embed
        if self.config.pool == "cls":
            dx, dcls_token = class_token_backward(dx, None)
            self.cls_token.grad += dcls_token
        return dx

    def blocks_forward(
        self, x: Array, stream: RandomStream | None
    ) -> tuple[Array, list[BlockCache]]:
        """Eq. 2 and 3, all blocks."""
        caches = []
        for block in self.blocks:
            x, cache = block.forward(x, stream)
            caches.append(cache)
        return x, caches

    def blocks_backward(
        self, dx: Array, caches: list[BlockCache], dprobs: Array | None = None
    ) -> Array:
        """Takes each block's cache out of the list once it is used, to free its memory."""
        for i in reversed(range(len(self.blocks))):
            dx = self.blocks[i].backward(dx, caches.pop(), None if dprobs is None else dprobs[i])
        return dx

    def _classify(self, x: Array) -> tuple[Array, tuple]:
        """Eq. 4: LayerNorm, then the class token (or the mean of all), then the head."""
        tokens, norm = self.norm.forward(x)
        features, pool = self._pool(tokens)
        pre_logits = None
        if self.config.representation_size is not None:
            features, linear = self.pre_logits.forward(features)
            features, tanh = tanh_forward(features)
            pre_logits = linear, tanh
        logits, head = self.head.forward(features)
        return logits, (norm, tokens, pool, pre_logits, head)

    def _pool(self, tokens: Array) -> tuple[Array, tuple]:
        """(B, T, C) -> (B, C), cache: the class token, the mean of all, or a weighted one."""
        if self.config.pool == "cls":
            return tokens[:, 0], tokens.shape
        if self.config.pool == "mean":
            return mean_pool_forward(tokens)
        return self.sequence_pool.forward(tokens)

    def _pool_backward(self, dfeatures: Array, cache: tuple) -> Array:
        """(B, C) -> (B, T, C)."""
        if self.config.pool == "cls":
            dtokens = get_xp(dfeatures).zeros(cache, dfeatures.dtype)
            dtokens[:, 0] = dfeatures
            return dtokens
        if self.config.pool == "mean":
            return mean_pool_backward(dfeatures, cache)
        return self.sequence_pool.backward(dfeatures, cache)

    def _classify_backward(self, dlogits: Array, cache: ViTCache) -> Array:
        require_same_xp(dlogits=dlogits, tokens=cache.tokens)
        dfeatures = self.head.backward(dlogits, cache.head)
        if cache.pre_logits is not None:
            linear, tanh = cache.pre_logits
            dfeatures = self.pre_logits.backward(tanh_backward(dfeatures, tanh), linear)
        dtokens = self._pool_backward(dfeatures, cache.pool)
        return self.norm.backward(dtokens, cache.norm)

    def _masks_from(self, stream: RandomStream | None) -> RandomStream | None:
        config = self.config
        if stream is None and (config.dropout or config.attn_dropout or config.drop_path):
            raise UserError(
                "training with dropout or drop path draws masks; "
                "pass stream=minivit.RandomStream(seed, step)"
            )
        return stream


def _make_stem(rng: np.random.Generator, config: ViTConfig) -> Layer:
    """What makes tokens of pixels."""
    if config.stem == "resnet":
        return ResNet(rng, config.stages, config.in_channels, config.dim)
    kind = {"patch": PatchEmbed, "conv": ConvStem}[config.stem]
    return kind(rng, config.patch_size, config.in_channels, config.dim)


def _make_block(rng: np.random.Generator, config: ViTConfig, i: int) -> Block:
    return Block(
        rng,
        config.dim,
        config.num_heads,
        config.hidden,
        norm=NORMS[config.norm],
        scale=_make_scale(config),
        act=ACTIVATIONS[config.activation](),
        dropout=config.dropout,
        attn_dropout=config.attn_dropout,
        drop_path=config.drop_path * i / max(config.depth - 1, 1),
        relative_grid=config.grid if config.pos_embed == "relative" else None,
    )


def _make_scale(config: ViTConfig) -> Callable[[int], Layer] | None:
    """LayerScale for a width, or None where the model has none."""
    value = config.layer_scale
    return None if value is None else lambda dim: LayerScale(dim, value)


def _fixed_positions(config: ViTConfig) -> np.ndarray:
    """(1, T, C): sines and cosines for the patches, zeros for the class token."""
    table = sincos_2d(*config.grid, config.dim)
    if config.pool == "cls":
        table = np.concatenate([np.zeros((1, config.dim)), table])
    return table[None]
