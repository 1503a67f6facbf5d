"""Whole models."""

from minivit.models.config import PRESETS, ViTConfig
from minivit.models.vit import ViT, ViTCache

__all__ = ["PRESETS", "ViT", "ViTCache", "ViTConfig"]
