"""The layers, which own the parameters; what they compute is in `functional/`.

A layer's forward returns `(out, cache)`. Its backward takes `(dout, cache)`, adds the gradients of
its parameters to their `.grad` and returns `dx`. A layer stores nothing between the two, so any
number of forward passes may be in flight at once.
"""

from minivit.layers.activation import Gelu, GeluTanh, QuickGelu, Swiglu
from minivit.layers.attention import MultiHeadAttention, Rotary
from minivit.layers.attention_pool import AttentionPool
from minivit.layers.block import Block, BlockCache
from minivit.layers.conv_stem import ConvStem, ResidualConv, StridedStem
from minivit.layers.dropout import Dropout, DropPath, PatchDropout
from minivit.layers.layer import FlatParameters, Identity, Layer, Parameter, run, run_backward
from minivit.layers.layer_scale import LayerScale
from minivit.layers.linear import Linear
from minivit.layers.mlp import Mlp, MlpCache
from minivit.layers.norm import LayerNorm, RMSNorm
from minivit.layers.patch_embed import PatchEmbed, PatchEmbedCache
from minivit.layers.positions import FixedPositions, LearnedPositions, ResizedPositions
from minivit.layers.resnet import Bottleneck, ResNet
from minivit.layers.sequence_pool import SequencePool

__all__ = [
    "AttentionPool",
    "Block",
    "BlockCache",
    "Bottleneck",
    "ConvStem",
    "DropPath",
    "Dropout",
    "FixedPositions",
    "FlatParameters",
    "Gelu",
    "GeluTanh",
    "Identity",
    "Layer",
    "LayerNorm",
    "LayerScale",
    "LearnedPositions",
    "Linear",
    "Mlp",
    "MlpCache",
    "MultiHeadAttention",
    "Parameter",
    "PatchDropout",
    "PatchEmbed",
    "PatchEmbedCache",
    "QuickGelu",
    "RMSNorm",
    "ResNet",
    "ResidualConv",
    "ResizedPositions",
    "Rotary",
    "SequencePool",
    "StridedStem",
    "Swiglu",
    "run",
    "run_backward",
]
