"""Tokens from convolutions instead of patches: the hybrid (paper, section 3.1)."""

import itertools
import math
from typing import NamedTuple

import numpy as np

from minivit.backend import Array, RandomStream
from minivit.functional import (
    conv2d_backward,
    conv2d_forward,
    max_pool_backward,
    max_pool_forward,
    relu_backward,
    relu_forward,
)
from minivit.functional.conv2d import Conv2dCache
from minivit.functional.pooling import MaxPoolCache
from minivit.layers.initialize import normal
from minivit.layers.layer import Layer, Parameter

KERNEL = 3


class StageCache(NamedTuple):
    """What each step of a stage cached."""

    conv: Conv2dCache
    relu: tuple
    pool: MaxPoolCache


class StridedCache(NamedTuple):
    """What each convolution, and each ReLU between two of them, cached. shape: of the last output,
    (B, h, w, C).
    """

    convs: list[Conv2dCache]
    relus: list[tuple]
    shape: tuple


def stem_widths(convs: int, in_channels: int, dim: int) -> list[int]:
    """Channels before, between and after a stem's convolutions: all but the last are half as wide
    as the model.
    """
    return [in_channels, *[dim // 2] * (convs - 1), dim]


def stem_strides(patch_size: int) -> list[int]:
    """The strides of `StridedStem`'s convolutions: 2 for each halving, and 1 after the first."""
    return [2, 1] + [2] * (patch_size.bit_length() - 2)


class ConvStem(Layer):
    """Convolution, ReLU and max pooling, repeated until the image is reduced to the patches' grid.

    The tokens are on the same grid as patches of `patch_size` would be, and each also depends on
    its neighborhood: the compact tokenizer of Hassani et al. (2021). All stages but the last are
    half as wide as the model. convs.I.weight: (3, 3, in, out), He-normal.

    Args:
        patch_size: a power of two; pixels per token along each side.
    """

    def __init__(self, rng: np.random.Generator, patch_size: int, in_channels: int, dim: int):
        widths = stem_widths(patch_size.bit_length() - 1, in_channels, dim)
        self.convs = [
            Conv2d(rng, fan_in, fan_out) for fan_in, fan_out in itertools.pairwise(widths)
        ]

    def forward(
        self, images: Array, stream: RandomStream | None = None
    ) -> tuple[Array, list[StageCache]]:
        """images (B, channels, H, W) -> (B, N, C), cache."""
        x, caches = images.transpose(0, 2, 3, 1), []
        for stage in self.convs:
            x, conv = stage.forward(x)
            x, relu = relu_forward(x)
            x, pool = max_pool_forward(x, KERNEL, 2, 1)
            caches.append(StageCache(conv, relu, pool))
        return x.reshape(len(x), -1, x.shape[-1]), caches

    def backward(self, dx: Array, cache: list[StageCache]) -> Array:
        """dx (B, N, C) -> dimages (B, channels, H, W)."""
        dx = dx.reshape(cache[-1].pool.argmax.shape)
        for stage, (conv, relu, pool) in zip(reversed(self.convs), reversed(cache), strict=True):
            dx = max_pool_backward(dx, pool)
            dx = relu_backward(dx, relu)
            dx = stage.backward(dx, conv)
        return dx.transpose(0, 3, 1, 2)


class StridedStem(Layer):
    """Convolutions with stride 2 until the image is reduced to the patches' grid.

    The stem of Xiao et al. (2021, "Early Convolutions Help Transformers See Better"), shortened
    and without BatchNorm. After the first convolution comes one with stride 1; a ReLU is between
    each two. All but the last are half as wide as the model. convs.I.weight: (3, 3, in, out),
    He-normal.

    Args:
        patch_size: a power of two; pixels per token along each side.
    """

    def __init__(self, rng: np.random.Generator, patch_size: int, in_channels: int, dim: int):
        strides = stem_strides(patch_size)
        widths = stem_widths(len(strides), in_channels, dim)
        self.convs = [
            Conv2d(rng, fan_in, fan_out, stride)
            for (fan_in, fan_out), stride in zip(itertools.pairwise(widths), strides, strict=True)
        ]

    def forward(
        self, images: Array, stream: RandomStream | None = None
    ) -> tuple[Array, StridedCache]:
        """images (B, channels, H, W) -> (B, N, C), cache."""
        x, convs, relus = images.transpose(0, 2, 3, 1), [], []
        for i, conv in enumerate(self.convs):
            if i:
                x, relu_cache = relu_forward(x)
                relus.append(relu_cache)
            x, conv_cache = conv.forward(x)
            convs.append(conv_cache)
        return x.reshape(len(x), -1, x.shape[-1]), StridedCache(convs, relus, x.shape)

    def backward(self, dx: Array, cache: StridedCache) -> Array:
        """dx (B, N, C) -> dimages (B, channels, H, W)."""
        dx = dx.reshape(cache.shape)
        for i in reversed(range(len(self.convs))):
            dx = self.convs[i].backward(dx, cache.convs[i])
            if i:
                dx = relu_backward(dx, cache.relus[i - 1])
        return dx.transpose(0, 3, 1, 2)


class Conv2d(Layer):
    """A padded convolution without bias; with stride 1 it keeps the image's size. See
    `functional.conv2d`.
    """

    def __init__(self, rng: np.random.Generator, fan_in: int, fan_out: int, stride: int = 1):
        self.stride = stride
        # He et al., 2015: ReLU halves the variance
        std = math.sqrt(2.0 / (KERNEL * KERNEL * fan_in))
        self.weight = Parameter(normal(rng, (KERNEL, KERNEL, fan_in, fan_out), std))

    def forward(self, x: Array, stream: RandomStream | None = None) -> tuple[Array, Conv2dCache]:
        """x (B, H, W, in) -> (B, H/stride, W/stride, out), cache."""
        return conv2d_forward(x, self.weight.data, self.stride, KERNEL // 2)

    def backward(self, dy: Array, cache: Conv2dCache) -> Array:
        """dy (B, H/stride, W/stride, out) -> dx (B, H, W, in)."""
        dx, dweight = conv2d_backward(dy, cache)
        self.weight.grad += dweight
        return dx
