"""minivit: a Vision Transformer whose every gradient is written by hand, in NumPy or CuPy.

In a few lines::

    config = minivit.ViTConfig(dim=128, depth=6)
    model = minivit.ViT(config, seed=0)
    logits, cache = model.forward(images)       # images (B, 3, 32, 32), float32
    dimages = model.backward(dlogits, cache)    # every Parameter's .grad is filled
    cache.blocks[0].attn.probs                  # (B, H, T, T): the attention weights
    minivit.trace(model, images[0])             # every tensor of both passes, in order
    minivit.intervene(model, heads_off=[(0, 1)])  # a copy of the model with one head off
    minivit.load("dinov2.safetensors")          # a run, or published weights
"""

from minivit.backend import RandomStream  # first: it tunes NumPy's libraries before they load
from minivit.errors import UserError
from minivit.interop import load
from minivit.models import ViT, ViTCache, ViTConfig, intervene, trace

__version__ = "0.1.0"

__all__ = [
    "RandomStream",
    "UserError",
    "ViT",
    "ViTCache",
    "ViTConfig",
    "__version__",
    "intervene",
    "load",
    "trace",
]
