"""The effect of each head, against a model in which the head is removed by hand."""

import numpy as np
import pytest
import tiny

from minivit.errors import UserError
from minivit.models import ViT, ViTConfig
from minivit.viz import knock_out, knock_out_figure

SIZES = {"image_size": (8, 12), "num_classes": 3, "dim": 8, "depth": 2, "num_heads": 2}


def made(**changes):
    model = tiny.randomize(ViT(ViTConfig(**{**SIZES, **changes}), dtype="float64"))
    model.flat.data[...] *= 3.0
    return model, np.random.default_rng(0).standard_normal((40, 3, 8, 12))  # over BATCH_SIZE


def softmax(logits):
    exponentials = np.exp(logits)
    return exponentials / exponentials.sum(-1, keepdims=True)


def test_the_effect_of_each_head():
    model, images = made()
    found = knock_out(model, images)
    assert found.shape == (40, 2, 2)
    before = softmax(model(images))
    for layer, head in np.ndindex(2, 2):
        twin = model.copy()
        twin.blocks[layer].attn.qkv.weight.data[:, 16 + 4 * head : 20 + 4 * head] = 0.0  # values
        twin.blocks[layer].attn.qkv.bias.data[16 + 4 * head : 20 + 4 * head] = 0.0
        after = softmax(twin(images))
        for i in range(40):
            k = before[i].argmax()
            assert found[i, layer, head] == pytest.approx(after[i, k] - before[i, k])
    assert np.abs(found).mean((0,)).min() > 1e-4


def test_models_without_heads_are_refused():
    model, images = made(num_classes=0)
    with pytest.raises(UserError, match="predicts no class"):
        knock_out(model, images)
    resnet = ViT(ViTConfig(image_size=8, dim=64, depth=0, stem="resnet"))
    with pytest.raises(UserError, match="no attention"):
        knock_out(resnet, images)


def test_the_figure_shows_the_mean_in_percentage_points():
    effect = np.array([[[-0.2, 0.0, 0.1]], [[-0.4, -0.0001, 0.2]]])
    figure = knock_out_figure(effect)
    axes, bar = figure.axes
    np.testing.assert_allclose(axes.get_images()[0].get_array(), [[-30, -0.005, 15]])
    assert axes.get_images()[0].get_clim() == pytest.approx((-30, 30))
    assert [text.get_text() for text in axes.texts] == ["−30.0", "+0.0", "+15.0"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("head", "layer")
    assert bar.get_ylabel() == "change in probability (percentage points)"
    assert figure.get_suptitle().split()[-4:] == ["mean", "of", "2", "images"]
