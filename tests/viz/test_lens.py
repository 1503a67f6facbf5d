"""The logit lens, against a norm and a head written out here, and its figure."""

import numpy as np
import pytest
import tiny

from minivit.errors import UserError
from minivit.models import ViT, ViTConfig
from minivit.viz import Lens, lens_figure, logit_lens
from minivit.viz.style import CLASSES

SIZES = {"image_size": (8, 12), "num_classes": 3, "dim": 8, "depth": 2, "num_heads": 2}
KINDS = {
    "class token": {},
    "registers": {"num_registers": 2},
    "mean": {"pool": "mean"},
    "mean, then the norm": {"pool": "mean", "final_norm": "pooled"},
    "sequence pooling": {"pool": "seq"},
    "attention pooling": {"pool": "map"},
    "two class tokens": {"distilled": True},
    "pre-logits": {"representation_size": 5},
    "no layers before": {"depth": 1},
}


def made(**changes):
    model = tiny.randomize(ViT(ViTConfig(**{**SIZES, **changes}), dtype="float64"))
    return model, np.random.default_rng(0).standard_normal((2, 3, 8, 12))


def softmax(logits):
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


@pytest.mark.parametrize("changes", KINDS.values(), ids=KINDS)
def test_the_last_stage_is_the_models_prediction(changes):
    model, images = made(**changes)
    found = logit_lens(model, images)
    L, K = model.config.depth, model.config.num_classes
    assert found.pooled.shape == (L + 1, 2, K)
    assert found.patches.shape == (L + 1, 2, 2, 3, K)
    np.testing.assert_allclose(found.pooled[-1], softmax(model(images)), rtol=1e-12)
    np.testing.assert_allclose(found.patches.sum(-1), 1.0)
    assert np.ptp(found.patches, axis=0).max() > 1e-3
    assert np.ptp(found.patches, axis=(2, 3)).max() > 1e-3


@pytest.mark.parametrize("num_registers", [0, 2])
def test_a_patch_is_read_like_the_class_token(num_registers):
    model, images = made(num_registers=num_registers)
    found = logit_lens(model, images)
    p = {name: parameter.data for name, parameter in model.named_parameters()}
    for stage, x in enumerate(model.stages(images)):
        centered = x - x.mean(-1, keepdims=True)
        normed = centered / np.sqrt((centered**2).mean(-1, keepdims=True) + model.config.norm_eps)
        tokens = normed * p["norm.weight"] + p["norm.bias"]
        probs = softmax(tokens @ p["head.weight"] + p["head.bias"])
        np.testing.assert_allclose(found.pooled[stage], probs[:, 0])
        patches = probs[:, -6:].reshape(2, 2, 3, 3)
        np.testing.assert_allclose(found.patches[stage], patches)


def test_the_stages_are_those_of_the_forward_pass():
    model, images = made()
    first, *later = model.stages(images)
    x, _ = model.embed_forward(model.patch_embed.forward(images)[0], None)
    np.testing.assert_array_equal(first, x)
    for block, stage in zip(model.blocks, later, strict=True):
        x, _ = block.forward(x)
        np.testing.assert_allclose(stage, x, rtol=1e-12)


def test_a_model_without_a_head_is_refused():
    model, images = made(num_classes=0)
    with pytest.raises(UserError, match="no head"):
        logit_lens(model, images)


def test_the_figure_has_a_panel_per_stage_in_the_colors_of_the_classes():
    pooled = np.array([[[0.1, 0.9]], [[0.7, 0.3]]])
    patches = np.zeros((2, 1, 2, 3, 2))
    patches[..., 1] = 1.0
    patches[1, 0, 0, 0] = 0.5, 0.5
    patches[1, 0, 1, 2] = 1.0, 0.0
    sample_images = np.zeros((1, 3, 8, 12), np.uint8)
    figure = lens_figure(sample_images, Lens(pooled, patches), ["cat", "dog"], [0])
    image, before, after = figure.axes
    assert (image.get_title(), before.get_title(), after.get_title()) == (
        *("cat", "✗ dog 90 %", "cat 70 %"),
    )
    assert (before.get_xlabel(), after.get_xlabel()) == ("before layer 1", "after layer 1")
    cat, dog = (np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) for color in CLASSES[:2])
    drawn = 255 * np.asarray(after.get_images()[0].get_array())
    np.testing.assert_allclose(drawn[1, 2], cat)
    np.testing.assert_allclose(drawn[0, 1], dog)
    assert (drawn[0, 0] > cat).all(), "half probable is paler"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["cat", "dog"]


def test_of_many_classes_the_most_frequent_have_colors():
    K = 50
    patches = np.eye(K)[np.arange(12).reshape(1, 1, 3, 4)]
    pooled = np.eye(K)[[[11]]]
    figure = lens_figure(
        np.zeros((1, 3, 6, 8), np.uint8), Lens(pooled, patches), [*map(str, range(K))]
    )
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["11", *map(str, range(len(CLASSES) - 1)), "another"]
