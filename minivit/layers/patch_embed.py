"""From pixels to the first tokens."""

from typing import NamedTuple

import numpy as np

from minivit.backend import Array, RandomStream
from minivit.functional import patchify_backward, patchify_forward
from minivit.layers.layer import Layer
from minivit.layers.linear import Linear


class PatchEmbedCache(NamedTuple):
    """The caches of `patchify_forward` and of the projection."""

    patchify: tuple
    proj: tuple


class PatchEmbed(Layer):
    """Cut images into patches and project each to C numbers. proj.weight: (P·P·channels, C)."""

    def __init__(self, rng: np.random.Generator, patch_size: int, in_channels: int, dim: int):
        self.patch_size = patch_size
        self.proj = Linear(rng, patch_size * patch_size * in_channels, dim)

    def forward(
        self, images: Array, stream: RandomStream | None = None
    ) -> tuple[Array, PatchEmbedCache]:
        """images (B, channels, H, W) -> (B, N, C), cache."""
        patches, patchify = patchify_forward(images, self.patch_size)
        x, proj = self.proj.forward(patches)
        return x, PatchEmbedCache(patchify, proj)

    def backward(self, dx: Array, cache: PatchEmbedCache) -> Array:
        """dx (B, N, C) -> dimages (B, channels, H, W)."""
        return patchify_backward(self.proj.backward(dx, cache.proj), cache.patchify)
