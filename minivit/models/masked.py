"""A Vision Transformer that says what was hidden from it (paper, section B.1.2)."""

from typing import NamedTuple

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
from minivit.layers import BlockCache, FlatParameters, Linear, Parameter, PatchEmbedCache
from minivit.layers.initialize import normal
from minivit.layers.norm import LayerNormCache
from minivit.models.config import ViTConfig
from minivit.models.vit import ViT


class MaskedViTCache(NamedTuple):
    """What each step cached, in the order of forward; corruption: what was hidden."""

    corruption: Corruption
    patch_embed: PatchEmbedCache
    corrupt: CorruptCache
    drop: Array | None
    blocks: list[BlockCache]
    norm: LayerNormCache
    take: tuple
    decoder: tuple


class MaskedViT(ViT):
    """A ViT with a learned mask token and, in place of the head, a decoder from each corrupted
    patch's token to what that patch was. The head stays as it is, zero, for a later task.

    Args:
        config, seed, dtype, device: as for `ViT`. outputs: numbers predicted a patch.
    """

    def __init__(
        self,
        config: ViTConfig,
        outputs: int,
        seed: int = 0,
        dtype: str = "float32",
        device: str = "cpu",
    ):
        super().__init__(config, seed, dtype, device)
        rng = generator(seed, Purpose.INIT, 1)
        self.mask_token = Parameter(normal(rng, (1, 1, config.dim), 0.02))
        self.decoder = Linear(rng, config.dim, outputs)
        self.flat = FlatParameters(self, dtype, device)

    def forward(
        self, images: Array, train: bool = False, stream: RandomStream | None = None
    ) -> tuple[Array, MaskedViTCache]:
        """What the corrupted patches were.

        Args:
            images: (B, channels, H, W). train: dropout and drop path at work.
            stream: where their masks come from, and in either case what is hidden; None hides what
                `RandomStream(0)` says.

        Returns:
            (B, M, outputs) for M = N/2 corrupted patches, cache; `cache.corruption.chosen` (B, M)
            says which.
        """
        self._check_images(images)
        stream = RandomStream(0) if stream is None else stream
        rows, columns = self.config.grid
        hidden = corruption(stream.uniform((len(images), 3, rows * columns)))
        stream = stream if train else None
        xp = get_xp(images)
        x, patch_embed = self.patch_embed.forward(images)
        selection, masked = (xp.asarray(one, self.dtype) for one in hidden[1:])
        x, corrupt = corrupt_forward(x, self.mask_token.data, selection, masked)
        x, drop = self._place(x, stream)
        x, blocks = self._run_blocks(x, stream)
        tokens, norm = self.norm.forward(x)
        first = int(self.config.pool == "cls")
        chosen, take = take_tokens_forward(tokens, xp.asarray(hidden.chosen + first))
        predicted, decoder = self.decoder.forward(chosen)
        cache = MaskedViTCache(hidden, patch_embed, corrupt, drop, blocks, norm, take, decoder)
        return predicted, cache

    def backward(self, dpredicted: Array, cache: MaskedViTCache) -> Array:
        """dpredicted (B, M, outputs) -> dimages; parameters' gradients are added to."""
        dtokens = take_tokens_backward(self.decoder.backward(dpredicted, cache.decoder), cache.take)
        dx = self.norm.backward(dtokens, cache.norm)
        dx = self._blocks_backward(dx, cache.blocks)
        dx = self._place_backward(dx, cache.drop)
        dx, dmask_token = corrupt_backward(dx, cache.corrupt)
        self.mask_token.grad += dmask_token
        return self.patch_embed.backward(dx, cache.patch_embed)


def patch_colours(pixels: np.ndarray, patch_size: int, cells: int) -> np.ndarray:
    """The mean colours of each patch's cells, three bits a channel.

    Args:
        pixels: (B, 3, H, W), 0 to 1. cells: a patch is cut into cells × cells; must divide it.

    Returns:
        int64 (B, N, cells²), 0 to 511: red·64 + green·8 + blue, each 0 to 7.
    """
    B, C, H, W = pixels.shape
    side = patch_size // cells
    means = pixels.reshape(B, C, H // side, side, W // side, side).mean((3, 5))
    bits = np.clip((means * 8.0).astype(np.int64), 0, 7)
    colours = bits[:, 0] * 64 + bits[:, 1] * 8 + bits[:, 2]
    rows, columns = H // patch_size, W // patch_size
    grid = colours.reshape(B, rows, cells, columns, cells).transpose(0, 1, 3, 2, 4)
    return grid.reshape(B, rows * columns, cells * cells)
