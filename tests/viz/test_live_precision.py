"""Every tensor of a pass in the page against `minivit.trace`, for 20 images and every part that the
page can run, with float32 weights and with the float16 weights that a page contains."""

import numpy as np
import pytest
import tiny
from javascript import run_javascript

from minivit import trace
from minivit.models import ViT, ViTConfig
from minivit.viz.live import WORKER
from minivit.viz.packed import packed

SIZES = {"image_size": (8, 12), "num_classes": 3, "dim": 16, "depth": 2, "num_heads": 2}
PARTS = {
    "class token": {},
    "mean, no positions": {"pool": "mean", "pos_embed": "none"},
    "sequence pooling": {"pool": "seq", "qkv_bias": False},
    "relative": {"pos_embed": "relative", "in_channels": 1},
    "sincos, tanh GELU": {"pos_embed": "sincos2d", "activation": "gelu_tanh"},
    "pre-logits": {"representation_size": 6, "norm_eps": 1e-3},
    "Nano/4": {
        **{"image_size": 32, "num_classes": 10, "dim": 96, "depth": 4, "num_heads": 4},
        "mlp_ratio": 2.0,
    },
}
CLOSE = {"float32": 1e-5, "float16": 2e-3}  # of a tensor's largest number
IMAGES = 20


def run_steps(model, images, precision):
    """{name: array} for each image."""
    found = run_javascript(
        WORKER[:-1],
        """argument.images.map((image) => {
          const steps = [];
          const record = (name, shape, data) => steps.push([name, shape, data]);
          forward(unpackAll(argument.model), Float32Array.from(image), UNCHANGED, record);
          return steps.map(([name, shape, data]) => [name, shape, [...data]]);
        })""",
        {"model": packed(model, precision), "images": images.reshape(len(images), -1).tolist()},
    )
    return [
        {name: np.array(data, np.float32).reshape(shape) for name, shape, data in one}
        for one in found
    ]


@pytest.mark.parametrize("precision", CLOSE)
@pytest.mark.parametrize("changes", PARTS.values(), ids=PARTS)
def test_every_tensor_agrees_with_python(changes, precision):
    config = ViTConfig(**{**SIZES, **changes})
    model = tiny.randomize(ViT(config))
    shape = (IMAGES if config.dim < 20 else 2, config.in_channels, *config.image_hw)
    images = np.random.default_rng(0).standard_normal(shape, np.float32)
    for image, steps in zip(images, run_steps(model, images, precision), strict=True):
        traced = {s.name: s.array for s in trace(model, image) if not s.backward}
        del traced["loss"]
        assert list(steps) == list(traced)
        for name, expected in traced.items():
            expected = expected.reshape(expected.shape[1:])  # without the batch
            assert steps[name].shape == expected.shape, name
            error = np.abs(steps[name] - expected).max() / np.abs(expected).max()
            assert error <= CLOSE[precision], f"{name}: {error:.1e}"
