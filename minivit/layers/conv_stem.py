"""Tokens from convolutions instead of patches: the hybrid (paper, section 3.1)."""

import itertools
import math
from typing import Any, NamedTuple

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
from minivit.layers.layer import Layer, Parameter, run, run_backward
from minivit.layers.norm import LayerNorm

KERNEL = 3


class StageCache(NamedTuple):
    """What each step of a stage cached."""

    conv: Conv2dCache
    pool: MaxPoolCache
    relu: tuple


class ConvStemCache(NamedTuple):
    """What each stage and each residual convolution cached. shape: of the grid of tokens,
    (B, h, w, C).
    """

    stages: list[StageCache]
    residual: list["ResidualCache"]
    shape: tuple


class ResidualCache(NamedTuple):
    """What each step of a residual convolution cached."""

    norm: Any
    relu: tuple
    conv: Conv2dCache


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
    """Convolution, max pooling and ReLU, repeated until the image is reduced to the patches' grid.

    The tokens are on the same grid as patches of `patch_size` would be, and each also depends on
    its neighborhood: the compact tokenizer of Hassani et al. (2021). ReLU comes after the pooling,
    which is the same as before it, as both are monotonic, and on a quarter of the numbers. All
    stages but the last are half as wide as the model. convs.I.weight: (3, 3, in, out), He-normal.
    Residual convolutions on the grid may follow: first convolutions, then attention (Dai et al.,
    2021, "CoAtNet").

    Args:
        patch_size: a power of two; pixels per token along each side. num_residual: how many
        residual convolutions follow.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        patch_size: int,
        in_channels: int,
        dim: int,
        num_residual: int = 0,
    ):
        widths = stem_widths(patch_size.bit_length() - 1, in_channels, dim)
        self.convs = [
            Conv2d(rng, fan_in, fan_out) for fan_in, fan_out in itertools.pairwise(widths)
        ]
        self.residual = [ResidualConv(rng, dim) for _ in range(num_residual)]

    def forward(
        self, images: Array, stream: RandomStream | None = None
    ) -> tuple[Array, ConvStemCache]:
        """images (B, channels, H, W) -> (B, N, C), cache."""
        x, stages = images.transpose(0, 2, 3, 1), []
        for stage in self.convs:
            x, conv = stage.forward(x)
            x, pool = max_pool_forward(x, KERNEL, 2, 1)
            x, relu = relu_forward(x)
            stages.append(StageCache(conv, pool, relu))
        x, residual = run(self.residual, x)
        return x.reshape(len(x), -1, x.shape[-1]), ConvStemCache(stages, residual, x.shape)

    def backward(self, dx: Array, cache: ConvStemCache) -> Array:
        """dx (B, N, C) -> dimages (B, channels, H, W)."""
        dx = run_backward(self.residual, dx.reshape(cache.shape), cache.residual)
        for stage, (conv, pool, relu) in zip(
            reversed(self.convs), reversed(cache.stages), strict=True
        ):
            dx = relu_backward(dx, relu)
            dx = max_pool_backward(dx, pool)
            dx = stage.backward(dx, conv)
        return dx.transpose(0, 3, 1, 2)


class ResidualConv(Layer):
    r"""A convolution of the normalized and rectified input, added to the input.

    .. math:: y = x + \mathrm{conv}(\mathrm{ReLU}(\mathrm{LN}(x)))

    The order is that of He et al. (2016b); LayerNorm works on the channels of each token.
    """

    def __init__(self, rng: np.random.Generator, dim: int):
        self.norm = LayerNorm(dim)
        self.conv = Conv2d(rng, dim, dim)

    def forward(self, x: Array, stream: RandomStream | None = None) -> tuple[Array, ResidualCache]:
        """x (B, h, w, C) -> (B, h, w, C), cache."""
        h, norm = self.norm.forward(x)
        h, relu = relu_forward(h)
        h, conv = self.conv.forward(h)
        h += x
        return h, ResidualCache(norm, relu, conv)

    def backward(self, dy: Array, cache: ResidualCache) -> Array:
        """dy (B, h, w, C) -> dx (B, h, w, C): the gradients of both paths add up."""
        dh = self.conv.backward(dy, cache.conv)
        dh = relu_backward(dh, cache.relu)
        dh = self.norm.backward(dh, cache.norm)
        dh += dy
        return dh


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
