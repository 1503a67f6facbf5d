"""Models, their configuration, traces and interventions."""

from minivit.models.config import PRESETS, ViTConfig
from minivit.models.interventions import (
    arrange_patches,
    blur_patches,
    cover_patches,
    intervene,
    other_heads,
)
from minivit.models.masked import MaskedViT, patch_colours
from minivit.models.model import Model
from minivit.models.tracing import Step, Trace, trace
from minivit.models.vit import Build, MakePositions, ViT, ViTCache

__all__ = [
    "PRESETS",
    "Build",
    "MakePositions",
    "MaskedViT",
    "Model",
    "Step",
    "Trace",
    "ViT",
    "ViTCache",
    "ViTConfig",
    "arrange_patches",
    "blur_patches",
    "cover_patches",
    "intervene",
    "other_heads",
    "patch_colours",
    "trace",
]
