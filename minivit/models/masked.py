"""A Vision Transformer that predicts hidden patches (paper, section B.1.2)."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Self

import numpy as np

from minivit.backend import Array, RandomStream, get_xp
from minivit.backend.random import Purpose, generator
from minivit.functional import (
    Corruption,
    corrupt_backward,
    corrupt_forward,
    corruption,
    take_tokens_backward,
    take_tokens_forward,
)
from minivit.functional.masking import CorruptCache
from minivit.layers import BlockCache, FlatParameters, Layer, Linear, Parameter
from minivit.layers.initialize import normal
from minivit.models.config import ViTConfig
from minivit.models.model import Model
from minivit.models.vit import Build, EmbedCache, ViT


class MaskedViTCache(NamedTuple):
    """What each step cached, in the order of forward; corruption: what was hidden."""

    corruption: Corruption
    patch_embed: tuple | list
    corrupt: CorruptCache
    embed: EmbedCache
    blocks: list[BlockCache]
    norm: Any
    take: tuple
    decoder: tuple


class MaskedViT(Model):
    """A ViT with a learned mask token and, instead of the head, a decoder that predicts each
    corrupted patch from its token. The head stays zero; it is for a later task.

    Args:
        config, seed, dtype, device: as for `ViT`. outputs: numbers predicted per patch.
        build: makes the encoder.

    Attributes:
        vit: the encoder, a complete `ViT` that shares these weights; its parameters keep their
        names.
    """

    def __init__(
        self,
        config: ViTConfig,
        outputs: int,
        seed: int = 0,
        dtype: str = "float32",
        device: str = "cpu",
        build: Build = ViT,
    ):
        self.vit = build(config, seed=seed, dtype=dtype, device=device)
        rng = generator(seed, Purpose.INIT, 1)
        self.mask_token = Parameter(normal(rng, (1, 1, config.dim), 0.02))
        self.decoder = Linear(rng, config.dim, outputs)
        self.config, self.device = config, device
        self.flat = FlatParameters(self, dtype, device)
        self.vit.flat = self.flat.part(self.vit)

    @property
    def encoder(self) -> ViT:
        """The model that contains the blocks."""
        return self.vit

    def members(self) -> Iterator[tuple[str, Layer | Parameter]]:
        """The encoder's members, by their names in a `ViT`; then the mask token and the decoder."""
        yield from self.vit.members()
        yield "mask_token", self.mask_token
        yield "decoder", self.decoder

    @property
    def own_layers(self) -> tuple[str, ...]:
        """Classes of its layers, including the encoder's, that are not minivit's."""
        return tuple(sorted({*super().own_layers, *self.vit.own_layers}))

    def _constants(self) -> list[Array]:
        return self.vit._constants()

    def replica(self) -> Self:
        """A model that shares this one's weights but has its own gradients."""
        twin = super().replica()
        twin.vit.flat = twin.flat.part(twin.vit)
        return twin

    def copy(self) -> Self:
        """An independent copy with the same weights."""
        twin = super().copy()
        twin.vit.flat = twin.flat.part(twin.vit)
        return twin

    def forward(  # type: ignore[override]
        self, images: Array, train: bool = False, stream: RandomStream | None = None
    ) -> tuple[Array, MaskedViTCache]:
        """Predict what the corrupted patches were.

        Args:
            images: (B, channels, H, W). train: whether to apply dropout and drop path.
            stream: random numbers for their masks and for the choice of patches to hide; None:
            those of `RandomStream(0)`.

        Returns:
            (B, M, outputs) for M = N/2 corrupted patches, cache; `cache.corruption.chosen` (B, M)
            has their indices.
        """
        self.check_images(images)
        vit, xp = self.vit, get_xp(images)
        stream = RandomStream(0) if stream is None else stream
        rows, columns = self.config.grid
        hidden = corruption(stream.uniform((len(images), 3, rows * columns)))
        masks = stream if train else None
        x, patch_embed = vit.patch_embed.forward(images)
        selection, masked = (xp.asarray(one, self.dtype) for one in hidden[1:])
        x, corrupt = corrupt_forward(x, self.mask_token.data, selection, masked)
        x, embed = vit.embed_forward(x, masks)
        x, blocks = vit.blocks_forward(x, masks)
        tokens, norm = vit.norm.forward(x)
        first = self.config.num_prefix
        chosen, take = take_tokens_forward(tokens, xp.asarray(hidden.chosen + first))
        predicted, decoder = self.decoder.forward(chosen)
        cache = MaskedViTCache(hidden, patch_embed, corrupt, embed, blocks, norm, take, decoder)
        return predicted, cache

    def backward(
        self,
        dpredicted: Array,
        cache: MaskedViTCache,
        done: Callable[[int], None] | None = None,
    ) -> Array:
        """dpredicted (B, M, outputs) -> dimages; adds to the parameters' gradients. done: as in
        `ViT.backward`.
        """
        vit = self.vit
        dtokens = take_tokens_backward(self.decoder.backward(dpredicted, cache.decoder), cache.take)
        dx = vit.norm.backward(dtokens, cache.norm)
        dx = vit.blocks_backward(dx, cache.blocks, done=done)
        dx = vit.embed_backward(dx, cache.embed)
        dx, dmask_token = corrupt_backward(dx, cache.corrupt)
        self.mask_token.grad += dmask_token
        return vit.patch_embed.backward(dx, cache.patch_embed)


def patch_colours(pixels: np.ndarray, patch_size: int, cells: int) -> np.ndarray:
    """The mean colors of each patch's cells, three bits per channel.

    Args:
        pixels: (B, C, H, W), 0 to 1. cells: a patch is cut into cells × cells; must divide the
        patch size.

    Returns:
        int64 (B, N, cells²): for RGB, red·64 + green·8 + blue, each 0 to 7; for grayscale, 0 to 7.
    """
    B, C, H, W = pixels.shape
    side = patch_size // cells
    means = pixels.reshape(B, C, H // side, side, W // side, side).mean((3, 5))
    bits = np.clip((means * 8.0).astype(np.int64), 0, 7)
    colors = np.tensordot(8 ** np.arange(C)[::-1], bits, (0, 1))
    rows, columns = H // patch_size, W // patch_size
    grid = colors.reshape(B, rows, cells, columns, cells).transpose(0, 1, 3, 2, 4)
    return grid.reshape(B, rows * columns, cells * cells)
