"""Whole models."""

from minivit.models.config import PRESETS, ViTConfig
from minivit.models.masked import MaskedViT, patch_colours
from minivit.models.trace import Step, Trace, trace
from minivit.models.vit import ViT, ViTCache

__all__ = [
    "PRESETS",
    "MaskedViT",
    "Step",
    "Trace",
    "ViT",
    "ViTCache",
    "ViTConfig",
    "patch_colours",
    "trace",
]
