"""BiT's ResNet: pre-activation bottlenecks with GroupNorm and weight standardization.

He et al. (2016b), in the form of Kolesnikov et al. (2020): the paper's baseline and, in front of a
Transformer, its hybrid. Internally, images are (B, H, W, C).
"""

import itertools
import math
from typing import NamedTuple

import numpy as np

from minivit.backend import Array, RandomStream
from minivit.functional import (
    conv2d_backward,
    conv2d_forward,
    groupnorm_backward,
    groupnorm_forward,
    relu_backward,
    relu_forward,
    standardize_backward,
    standardize_forward,
)
from minivit.functional.conv2d import Conv2dCache
from minivit.functional.groupnorm import GroupNormCache
from minivit.layers.initialize import normal
from minivit.layers.layer import Layer, Parameter

SQUEEZE = 4  # a bottleneck's inner width is its outer width divided by this
GROUP = 8  # channels per group of GroupNorm; at least one group


class StandardizedConv(Layer):
    """A convolution whose weights are standardized at every use; padded so that the size stays.

    weight: (k, k, in, out). No bias: a GroupNorm follows.
    """

    def __init__(
        self, rng: np.random.Generator, fan_in: int, fan_out: int, size: int, stride: int = 1
    ):
        std = math.sqrt(1.0 / (size * size * fan_in))
        self.weight = Parameter(normal(rng, (size, size, fan_in, fan_out), std))
        self.stride, self.padding = stride, size // 2

    def forward(self, x: Array, stream: RandomStream | None = None) -> tuple[Array, tuple]:
        """x (B, H, W, in) -> (B, H/stride, W/stride, out), cache."""
        weight, standardize = standardize_forward(self.weight.data)
        y, conv = conv2d_forward(x, weight, self.stride, self.padding)
        return y, (standardize, conv)

    def backward(self, dy: Array, cache: tuple[tuple, Conv2dCache]) -> Array:
        """dy (B, H/stride, W/stride, out) -> dx (B, H, W, in)."""
        standardize, conv = cache
        dx, dweight = conv2d_backward(dy, conv)
        self.weight.grad += standardize_backward(dweight, standardize)
        return dx


class NormRelu(Layer):
    """GroupNorm, then ReLU. weight (γ), bias (β): (C,)."""

    def __init__(self, dim: int):
        self.weight = Parameter(np.ones(dim))
        self.bias = Parameter(np.zeros(dim))
        self.num_groups = max(1, dim // GROUP)

    def forward(self, x: Array, stream: RandomStream | None = None) -> tuple[Array, tuple]:
        """x (B, H, W, C) -> (B, H, W, C), cache."""
        y, norm = groupnorm_forward(x, self.weight.data, self.bias.data, self.num_groups)
        y, relu = relu_forward(y)
        return y, (norm, relu)

    def backward(self, dy: Array, cache: tuple[GroupNormCache, tuple]) -> Array:
        """dy (B, H, W, C) -> dx (B, H, W, C)."""
        norm, relu = cache
        dx, dgamma, dbeta = groupnorm_backward(relu_backward(dy, relu), norm)
        self.weight.grad += dgamma
        self.bias.grad += dbeta
        return dx


class BottleneckCache(NamedTuple):
    """What each step cached, in the order of forward; shortcut: None if it is x itself."""

    norms: list
    convs: list
    shortcut: tuple | None


class Bottleneck(Layer):
    r"""1×1 convolution to a quarter of the width, 3×3, and 1×1 back, each after norm and ReLU.

    .. math:: y = S(x) + f(x)

    If the size or the width changes, the shortcut S is a 1×1 convolution of the first activation;
    else it is x.
    """

    def __init__(self, rng: np.random.Generator, fan_in: int, fan_out: int, stride: int = 1):
        inner = fan_out // SQUEEZE
        self.norms = [NormRelu(fan_in), NormRelu(inner), NormRelu(inner)]
        self.convs = [
            StandardizedConv(rng, fan_in, inner, 1),
            StandardizedConv(rng, inner, inner, 3, stride),
            StandardizedConv(rng, inner, fan_out, 1),
        ]
        if stride != 1 or fan_in != fan_out:
            self.shortcut = StandardizedConv(rng, fan_in, fan_out, 1, stride)

    def forward(
        self, x: Array, stream: RandomStream | None = None
    ) -> tuple[Array, BottleneckCache]:
        """x (B, H, W, in) -> (B, H/stride, W/stride, out), cache."""
        h, norms, convs, shortcut = x, [], [], None
        for i, (norm, conv) in enumerate(zip(self.norms, self.convs, strict=True)):
            h, cache = norm.forward(h)
            norms.append(cache)
            if i == 0 and hasattr(self, "shortcut"):
                x, shortcut = self.shortcut.forward(h)
            h, cache = conv.forward(h)
            convs.append(cache)
        h += x
        return h, BottleneckCache(norms, convs, shortcut)

    def backward(self, dy: Array, cache: BottleneckCache) -> Array:
        """dy -> dx: the gradients of both paths add up."""
        dh = dy
        for i in (2, 1, 0):
            dh = self.convs[i].backward(dh, cache.convs[i])
            if i == 0 and cache.shortcut is not None:
                dh += self.shortcut.backward(dy, cache.shortcut)
            dh = self.norms[i].backward(dh, cache.norms[i])
        if cache.shortcut is None:
            dh += dy
        return dh


class ResNetCache(NamedTuple):
    """What each step cached, in the order of forward; shape: of the feature map."""

    root: tuple
    stages: list[BottleneckCache]
    norm: tuple
    shape: tuple


class ResNet(Layer):
    """Turns images into a feature map, whose positions are the tokens.

    The root is a 3×3 convolution at full size, as the images are small. Each stage but the first
    halves the image and doubles the width, up to `dim`.

    Args:
        stages: number of bottlenecks in each stage.
    """

    def __init__(
        self, rng: np.random.Generator, stages: tuple[int, ...], in_channels: int, dim: int
    ):
        widths = [dim >> (len(stages) - 1 - i) for i in range(len(stages))]
        self.root = StandardizedConv(rng, in_channels, widths[0] // SQUEEZE, 3)
        fans = [widths[0] // SQUEEZE, *widths]
        self.stages = [
            Bottleneck(
                rng,
                fan_in if first else fan_out,
                fan_out,
                2 if first and stage else 1,
            )
            for stage, (fan_in, fan_out) in enumerate(itertools.pairwise(fans))
            for first in [True] + [False] * (stages[stage] - 1)
        ]
        self.norm = NormRelu(dim)

    def forward(
        self, images: Array, stream: RandomStream | None = None
    ) -> tuple[Array, ResNetCache]:
        """images (B, channels, H, W) -> (B, N, C), cache."""
        x, root = self.root.forward(images.transpose(0, 2, 3, 1))
        caches = []
        for block in self.stages:
            x, cache = block.forward(x)
            caches.append(cache)
        x, norm = self.norm.forward(x)
        return x.reshape(len(x), -1, x.shape[-1]), ResNetCache(root, caches, norm, x.shape)

    def backward(self, dx: Array, cache: ResNetCache) -> Array:
        """dx (B, N, C) -> dimages (B, channels, H, W)."""
        dx = self.norm.backward(dx.reshape(cache.shape), cache.norm)
        for block, block_cache in zip(reversed(self.stages), reversed(cache.stages), strict=True):
            dx = block.backward(dx, block_cache)
        return self.root.backward(dx, cache.root).transpose(0, 3, 1, 2)
