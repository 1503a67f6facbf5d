"""The masked model predicts each corrupted patch from its own token."""

import numpy as np
import pytest
import tiny
from helpers import draw

from minivit.backend import RandomStream
from minivit.models import MaskedViT, ViTConfig

SIZES = {"image_size": (8, 12), "num_classes": 3, "dim": 8, "depth": 1, "num_heads": 2}


def model_without_mixing(pool):
    """Its block adds nothing, so a prediction depends only on its own token."""
    model = tiny.randomize(MaskedViT(ViTConfig(**SIZES, pool=pool), 5, dtype="float64"))
    parameters = dict(model.named_parameters())
    for name in ("attn.proj", "mlp.fc2"):
        for kind in ("weight", "bias"):
            parameters[f"blocks.0.{name}.{kind}"].data[...] = 0.0
    return model, parameters


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_a_patch_is_predicted_from_its_own_token(pool):
    model, parameters = model_without_mixing(pool)
    predicted, cache = model.forward(draw(0, 1, 3, 8, 12), stream=RandomStream(3))
    for index, patch in enumerate(cache.corruption.chosen[0]):
        _, cache = model.forward(draw(0, 1, 3, 8, 12), stream=RandomStream(3))
        dpredicted = np.zeros_like(predicted)
        dpredicted[0, index] = 1.0
        model.flat.grad[...] = 0.0
        model.backward(dpredicted, cache)
        moved = np.abs(parameters["pos_embed"].grad[0]).sum(-1)
        assert np.flatnonzero(moved).tolist() == [patch + (pool == "cls")]
