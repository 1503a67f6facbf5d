"""The Vision Transformer (Dosovitskiy et al., 2021)."""

import copy
import dataclasses
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from minivit.backend import Array, RandomStream, get_xp, require_same_xp, to_device
from minivit.backend.machine import require_memory
from minivit.errors import UserError
from minivit.functional import (
    class_token_backward,
    class_token_forward,
    mean_pool_backward,
    mean_pool_forward,
    registers_backward,
    registers_forward,
    tanh_backward,
    tanh_forward,
)
from minivit.layers import (
    AttentionPool,
    BlockCache,
    Dropout,
    FixedPositions,
    FlatParameters,
    Identity,
    Layer,
    LearnedPositions,
    Linear,
    Parameter,
    PatchDropout,
    ResizedPositions,
    SequencePool,
)
from minivit.layers.initialize import normal, weights_from
from minivit.models.config import ViTConfig
from minivit.models.cost import num_parameters
from minivit.models.model import Model
from minivit.models.parts import (
    make_activation,
    make_block,
    make_norm,
    make_positions,
    make_stem,
)

MakePositions: TypeAlias = Callable[[np.random.Generator, ViTConfig], Layer]
"""Makes a position embedding: a layer, (B, T, C) -> (B, T, C)."""

Build: TypeAlias = Callable[..., "ViT"]
"""Makes a model from the arguments of `ViT`: that class, a subclass, or
`functools.partial(ViT, positions=…)`."""


class EmbedCache(NamedTuple):
    """The caches of everything before the blocks: the positions' cache, dropout's mask, the norm's
    cache; None if there is none.
    """

    positions: Any
    drop: Array | None
    norm: Any


class ViTCache(NamedTuple):
    """What backward needs, in the order of forward.

    blocks: one `BlockCache` per block; `blocks[i].attn.probs` (B, H, T, T) is its attention map.
    Backward removes each from the list after use, to free its memory.
    tokens: (B, T, C), the output of the final norm, for use as features.
    """

    patch_embed: tuple | list
    embed: EmbedCache
    patch_drop: tuple | None
    blocks: list[BlockCache]
    norm: Any
    tokens: Array
    pool: Any
    pre_logits: tuple | None
    head: Any


class ViT(Model):
    """Patches, class token, positions, encoder blocks, norm, head (paper, eq. 1 to 4).

    Args:
        config: sizes and options. seed: random seed for the initial weights; None: zeros, for
            weights that come from a file.
        dtype: "float32" or "float64". device: "cpu", "cuda" or "cuda:N".
        positions: makes a custom position embedding, a `Layer`, from a random generator and the
        config, whose `pos_embed` is then "none"; None: the embedding that `pos_embed` names.

    Weights are drawn as in the paper's code: Xavier-uniform matrices, positions normal with
    standard deviation 0.02, and zeros for class token, biases and the head. `attention_init` can
    choose others for attention.
    """

    def __init__(
        self,
        config: ViTConfig,
        seed: int | None = 0,
        dtype: str = "float32",
        device: str = "cpu",
        positions: MakePositions | None = None,
    ):
        if positions is not None and config.pos_embed in ("learned", "sincos2d"):
            raise UserError(
                f"pos_embed is {config.pos_embed}, but positions are given too; set pos_embed "
                'to "none", or leave out positions'
            )
        # drawn in float64, then copied
        count = num_parameters(config)
        needs = {"weights": count * (8 + np.dtype(dtype).itemsize)}
        require_memory(f"a model of {count:,} parameters", needs)
        rng = weights_from(seed)
        C, norm = config.dim, make_norm(config)
        if config.pool == "cls":
            self.cls_token = Parameter(np.zeros((1, 1, C)))
        if config.distilled:
            self.dist_token = Parameter(np.zeros((1, 1, C)))
        if config.num_registers:
            self.reg_token = Parameter(normal(rng, (1, config.num_registers, C), 0.02))
        self.positions = (positions or make_positions)(rng, config)
        self.patch_embed = make_stem(rng, config)
        self.pos_drop = Dropout(config.dropout)
        self.patch_drop = PatchDropout(config.patch_dropout, config.num_prefix)
        self.norm_pre = norm(C) if config.pre_norm else Identity()
        self.blocks = [make_block(rng, config, i) for i in range(config.depth)]
        self.norm = norm(C) if config.final_norm == "tokens" else Identity()
        if config.pool == "seq":
            self.sequence_pool = SequencePool(rng, C)
        if config.pool == "map":
            hidden, act = config.hidden, make_activation(config)
            self.attn_pool = AttentionPool(rng, C, config.num_heads, hidden, norm, act)
        self.fc_norm = norm(C) if config.final_norm == "pooled" else Identity()
        features = C
        if config.representation_size is not None:
            features = config.representation_size
            self.pre_logits = Linear(rng, C, features)
        if config.num_classes:
            self.head = Linear(rng, features, config.num_classes)
            self.head.weight.data = np.zeros((features, config.num_classes))
        if config.num_classes and config.distilled:
            self.head_dist = Linear(rng, features, config.num_classes)
            self.head_dist.weight.data = np.zeros((features, config.num_classes))
        self.config, self.device = config, device
        self.flat = FlatParameters(self, dtype, device)
        if isinstance(self.positions, FixedPositions):
            self.positions.table = to_device(self.positions.table.astype(dtype), device)

    @property
    def encoder(self) -> "ViT":
        """The model that contains the blocks: itself."""
        return self

    def members(self) -> Iterator[tuple[str, Layer | Parameter]]:
        """Its parameters and layers; learned positions under timm's name, `pos_embed`."""
        for name, member in super().members():
            if isinstance(member, LearnedPositions | FixedPositions):
                yield from member.members()
            else:
                yield name, member

    @property
    def pos_embed(self) -> Parameter:
        """The learned position embedding (1, T, C)."""
        return self.positions.pos_embed  # type: ignore[attr-defined]  # not of all models

    @property
    def fixed_positions(self) -> Any:
        """The position embedding (1, T, C) that is not learned; None if there is none."""
        return self.positions.table if isinstance(self.positions, FixedPositions) else None

    def _constants(self) -> list[Array]:
        return [] if self.fixed_positions is None else [self.fixed_positions]

    def __call__(self, images: Array) -> Array:
        """images (B, channels, H, W) -> logits (B, K); keeps no cache, so memory does not grow with
        depth.
        """
        return self.classify(self._encode(images))

    def features(self, images: Array) -> Array:
        """images (B, channels, H, W) -> (B, C): the input of the head, as features."""
        return self._pool(self.tokens(images))[0]

    def tokens(self, images: Array) -> Array:
        """images (B, channels, H, W) -> (B, T, C): all tokens after the last norm, class token and
        registers first.
        """
        return self.norm.forward(self._encode(images))[0]

    def stages(
        self, images: Array, visit: Callable[[BlockCache], None] | None = None
    ) -> Iterator[Array]:
        """images (B, channels, H, W) -> all tokens (B, T, C), before the first block and after
        each, one after another; no cache is kept. visit: as in `observe`."""
        self.check_images(images)
        x, _ = self.patch_embed.forward(images)
        x, _ = self.embed_forward(x, None)
        yield x
        for block in self.blocks:
            if visit is None:
                x = block(x)
            else:
                x, cache = block.forward(x)
                visit(cache)
                del cache  # before the next block makes its own
            yield x

    def classify(self, tokens: Array) -> Array:
        """Tokens (B, T, C) of any stage -> logits (B, K): the final norm, the pooling, the head."""
        return self._classify(tokens)[0]

    def forward(  # type: ignore[override]
        self, images: Array, train: bool = False, stream: RandomStream | None = None
    ) -> tuple[Array, ViTCache]:
        """Logits, and everything that backward needs.

        Args:
            images: (B, channels, H, W), of the model's dtype and device.
            train: use dropout, drop path and PatchDropout; False turns them off.
            stream: the source of their masks; needed if a rate is above 0.

        Returns:
            logits (B, K), cache.

        Raises:
            UserError: the images' shape, dtype or device differs from the model's; a stream is
            needed but not given.
        """
        self.check_images(images)
        stream = self._masks_from(stream) if train else None
        x, patch_embed = self.patch_embed.forward(images)
        x, embed = self.embed_forward(x, stream)
        x, patch_drop = self.patch_drop.forward(x, stream)
        x, blocks = self.blocks_forward(x, stream)
        logits, tail = self._classify(x)
        return logits, ViTCache(patch_embed, embed, patch_drop, blocks, *tail)

    def backward(
        self,
        dlogits: Array,
        cache: ViTCache,
        dprobs: Array | None = None,
        done: Callable[[int], None] | None = None,
    ) -> Array:
        """dlogits (B, K) -> dimages (B, channels, H, W); adds to the gradients of the parameters.

        Consumes the cache: `cache.blocks` is empty afterwards.

        Args:
            dprobs: (depth, B, H, T, T) to fill with the gradients of the attention maps, the first
            block's first; None if they are not needed. done: called with the number of each block,
            the last block first, when the gradients of its parameters are complete.

        Raises:
            UserError: the cache was used before.
        """
        if len(cache.blocks) != len(self.blocks):
            raise UserError(
                f"this cache holds {len(cache.blocks)} of {len(self.blocks)} blocks: an earlier "
                "backward has consumed it; run forward again"
            )
        dx = self._classify_backward(dlogits, cache)
        dx = self.blocks_backward(dx, cache.blocks, dprobs, done)
        dx = self.patch_drop.backward(dx, cache.patch_drop)
        dx = self.embed_backward(dx, cache.embed)
        return self.patch_embed.backward(dx, cache.patch_embed)

    def at(self, image_hw: tuple[int, int]) -> "ViT":
        """This model for images of another (height, width): the same parameters and gradients,
        with interpolated positions (paper, section 3.2).

        Raises:
            UserError: patch_size does not divide the size, or attention itself depends on
            positions.
        """
        if image_hw == self.config.image_hw:
            return self
        twin = copy.copy(self)
        twin.config = dataclasses.replace(self.config, image_size=image_hw)
        twin.positions = self._positions_at(twin.config)
        return twin

    def _positions_at(self, config: ViTConfig) -> Layer:
        """The positions for another grid."""
        positions, grids = self.positions, (self.config.grid, config.grid)
        if config.positions_are_added:
            if isinstance(positions, Identity):
                return positions
            if isinstance(positions, LearnedPositions):
                return ResizedPositions(positions, config.num_prefix_positions, *grids)
            if isinstance(positions, FixedPositions):
                return positions.resized(config.num_prefix, *grids)
        raise UserError(
            "positions can be interpolated only if minivit adds them to the tokens; found "
            "pos_embed "
            f"{config.pos_embed}, rope {config.rope}, {type(positions).__name__}; use pos_embed "
            "learned or sincos2d, or train at one image size (train_sizes empty)"
        )

    def observe(self, images: Array, visit: Callable[[BlockCache], None]) -> tuple[Array, Any]:
        """images (B, channels, H, W) -> logits (B, K), (tokens of the final norm, its cache). Each
        block's cache is passed to `visit` and then dropped, so memory does not grow with depth.
        """
        logits, (norm, tokens, *_) = self._classify(self._encode(images, visit))
        return logits, (tokens, norm)

    def _encode(self, images: Array, visit: Callable[[BlockCache], None] | None = None) -> Array:
        """The tokens after the last block."""
        return deque(self.stages(images, visit), maxlen=1).pop()

    def embed_forward(self, x: Array, stream: RandomStream | None) -> tuple[Array, EmbedCache]:
        """The rest of eq. 1: class token (and registers) in front, positions added; a norm, if the
        model has one here.
        """
        if self.config.embed_prefix:
            x, positions = self.positions.forward(self._prefix(x), stream)
        else:
            x, positions = self.positions.forward(x, stream)
            x = self._prefix(x)
        x, drop = self.pos_drop.forward(x, stream)
        x, norm = self.norm_pre.forward(x)
        return x, EmbedCache(positions, drop, norm)

    def _prefix(self, x: Array) -> Array:
        """(B, N, C) -> (B, T, C)."""
        if self.config.num_registers:
            x, _ = registers_forward(x, self.reg_token.data)
        if self.config.distilled:
            x, _ = class_token_forward(x, self.dist_token.data)
        if self.config.pool == "cls":
            x, _ = class_token_forward(x, self.cls_token.data)
        return x

    def embed_backward(self, dx: Array, cache: EmbedCache) -> Array:
        """dx (B, T, C) -> the gradient of the stem's tokens (B, N, C)."""
        dx = self.norm_pre.backward(dx, cache.norm)
        dx = self.pos_drop.backward(dx, cache.drop)
        if self.config.embed_prefix:
            return self._prefix_backward(self.positions.backward(dx, cache.positions))
        return self.positions.backward(self._prefix_backward(dx), cache.positions)

    def _prefix_backward(self, dx: Array) -> Array:
        if self.config.pool == "cls":
            dx, dcls_token = class_token_backward(dx, None)
            self.cls_token.grad += dcls_token
        if self.config.distilled:
            dx, ddist_token = class_token_backward(dx, None)
            self.dist_token.grad += ddist_token
        if self.config.num_registers:
            dx, dreg_token = registers_backward(dx, self.config.num_registers)
            self.reg_token.grad += dreg_token
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
        self,
        dx: Array,
        caches: list[BlockCache],
        dprobs: Array | None = None,
        done: Callable[[int], None] | None = None,
    ) -> Array:
        """Backward of all blocks; removes each block's cache from the list after use, to free its
        memory.
        """
        for i in reversed(range(len(self.blocks))):
            dx = self.blocks[i].backward(dx, caches.pop(), None if dprobs is None else dprobs[i])
            if done is not None:
                done(i)
        return dx

    def _classify(self, x: Array) -> tuple[Array, tuple]:
        """Eq. 4: the norm, then the class token (or the result of another pooling), then the
        head.
        """
        tokens, norm = self.norm.forward(x)
        features, pool = self._pool(tokens)
        pre_logits = None
        if self.config.representation_size is not None:
            features, linear = self.pre_logits.forward(features)
            features, tanh = tanh_forward(features)
            pre_logits = linear, tanh
        if self.config.distilled:
            logits, head = self._both_heads(tokens)
        elif self.config.num_classes:
            logits, head = self.head.forward(features)
        else:
            logits, head = features, None
        return logits, (norm, tokens, pool, pre_logits, head)

    def _both_heads(self, tokens: Array) -> tuple[Array, Any]:
        """The mean of the logits of class token and distillation token (Touvron et al., 2021)."""
        if not self.config.num_classes:
            return 0.5 * (tokens[:, 0] + tokens[:, 1]), None
        cls_logits, head = self.head.forward(tokens[:, 0])
        dist_logits, head_dist = self.head_dist.forward(tokens[:, 1])
        return 0.5 * (cls_logits + dist_logits), (head, head_dist)

    def _pool(self, tokens: Array) -> tuple[Array, Any]:
        """(B, T, C) -> (B, C), cache: the class token, the mean of the patches, or a weighted mean;
        then the norm, if it comes last.
        """
        pool, first = self.config.pool, self.config.num_prefix
        cache: Any
        if pool == "cls":
            features, cache = tokens[:, 0], tokens.shape
            if self.config.distilled:
                features = tokens[:, :2].mean(1)
        elif pool == "mean":
            features, cache = mean_pool_forward(tokens[:, first:])
        elif pool == "seq":
            features, cache = self.sequence_pool.forward(tokens[:, first:])
        else:
            features, cache = self.attn_pool.forward(tokens[:, first:])
        features, norm = self.fc_norm.forward(features)
        return features, (cache, norm)

    def _pool_backward(self, dfeatures: Array, cache: tuple) -> Array:
        """(B, C) -> (B, T, C)."""
        pool, first = self.config.pool, self.config.num_prefix
        inner, norm = cache
        dfeatures = self.fc_norm.backward(dfeatures, norm)
        if pool == "map":
            return _prepend_zeros(self.attn_pool.backward(dfeatures, inner), first)
        if pool == "mean":
            return _prepend_zeros(mean_pool_backward(dfeatures, inner), first)
        if pool == "seq":
            return _prepend_zeros(self.sequence_pool.backward(dfeatures, inner), first)
        dtokens = get_xp(dfeatures).zeros(inner, dfeatures.dtype)
        dtokens[:, 0] = dfeatures
        return dtokens

    def _classify_backward(self, dlogits: Array, cache: ViTCache) -> Array:
        require_same_xp(dlogits=dlogits, tokens=cache.tokens)
        if self.config.distilled:
            return self.norm.backward(self._both_heads_backward(dlogits, cache), cache.norm)
        dfeatures = dlogits
        if self.config.num_classes:
            dfeatures = self.head.backward(dlogits, cache.head)
        if cache.pre_logits is not None:
            linear, tanh = cache.pre_logits
            dfeatures = self.pre_logits.backward(tanh_backward(dfeatures, tanh), linear)
        dtokens = self._pool_backward(dfeatures, cache.pool)
        return self.norm.backward(dtokens, cache.norm)

    def _both_heads_backward(self, dlogits: Array, cache: ViTCache) -> Array:
        dtokens = get_xp(dlogits).zeros(cache.tokens.shape, dlogits.dtype)
        dlogits = 0.5 * dlogits
        if not self.config.num_classes:
            dtokens[:, :2] = dlogits[:, None]
            return dtokens
        for i, head in enumerate((self.head, self.head_dist)):
            dtokens[:, i] = head.backward(dlogits, cache.head[i])
        return dtokens

    def _masks_from(self, stream: RandomStream | None) -> RandomStream | None:
        config = self.config
        rates = config.dropout, config.attn_dropout, config.drop_path, config.patch_dropout
        if stream is None and any(rates):
            raise UserError(
                "training with dropout, drop path or PatchDropout draws masks; "
                "pass stream=minivit.RandomStream(seed, step)"
            )
        return stream


def _prepend_zeros(dx: Array, count: int) -> Array:
    """(B, N, C) -> (B, count + N, C): zeros for tokens that were not used."""
    if not count:
        return dx
    B, _, C = dx.shape
    xp = get_xp(dx)
    return xp.concatenate([xp.zeros((B, count, C), dx.dtype), dx], 1)
