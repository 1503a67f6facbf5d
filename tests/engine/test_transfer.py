"""Transfer of weights to another model: what is copied exactly, what is resized, what is
initialized again."""

import dataclasses

import numpy as np
import pytest
import tiny
from helpers import draw

from minivit.data import Preprocess, Statistics
from minivit.engine import Pretrained, load_pretrained
from minivit.engine.transfer import MAY_DIFFER, freeze_all_but, resize_positions, transfer
from minivit.errors import UserError
from minivit.models import ViT, ViTConfig
from minivit.optim import SGD, Adam, AdamW, Muon

CONFIG = ViTConfig(image_size=8, num_classes=3, dim=8, depth=2, num_heads=2, representation_size=6)
NAMES = ("a", "b", "c")


def trained(config=CONFIG):
    return tiny.randomize(ViT(config), seed=1)


def pretrained(model):
    weights = {n: p.data.copy() for n, p in model.named_parameters()}
    return Pretrained(
        model.config,
        weights,
        Statistics((0.5,) * 3, (0.2,) * 3),
        Preprocess(model.config.image_hw),
        NAMES,
    )


@pytest.mark.parametrize("pool", ["cls", "mean"])
@pytest.mark.parametrize("pos_embed", ["learned", "sincos2d", "relative", "none"])
def test_the_same_size_and_classes_give_exactly_the_same_logits(pool, pos_embed):
    config = dataclasses.replace(CONFIG, pool=pool, pos_embed=pos_embed)
    source, images = trained(config), draw(0, 4, 3, 8, 8).astype(np.float32)
    model = ViT(config)
    assert transfer(model, pretrained(source), NAMES) == []
    np.testing.assert_array_equal(model(images), source(images))


def test_a_larger_image_resizes_the_positions_and_nothing_else():
    source = trained()
    model = ViT(dataclasses.replace(CONFIG, image_size=(12, 16)))
    (change,) = transfer(model, pretrained(source), NAMES)
    assert change == "position embeddings: 2×2 -> 3×4, bicubic"
    source_parameters = dict(source.named_parameters())
    for name, parameter in model.named_parameters():
        if name != "pos_embed":
            np.testing.assert_array_equal(parameter.data, source_parameters[name].data)
    found, before = model.pos_embed.data, source.pos_embed.data
    np.testing.assert_array_equal(found[:, 0], before[:, 0])  # the class token's
    expected = resize_positions(before, source.config, model.config)
    np.testing.assert_array_equal(found, expected)
    corner = np.abs(found[0, 1] - before[0, 1]).max()
    assert corner < np.abs(found[0, 1] - before[0, 4]).max(), "corners stay near corners"


def test_a_larger_image_resizes_relative_positions_around_the_center():
    source = trained(dataclasses.replace(CONFIG, pos_embed="relative"))
    model = ViT(dataclasses.replace(source.config, image_size=16))
    (change,) = transfer(model, pretrained(source), NAMES)
    assert change == "relative positions: 2×2 -> 4×4, bicubic"
    before, after = (m.blocks[1].attn.relative_table.data for m in (source, model))
    assert after.shape == (7 * 7, 4)
    np.testing.assert_allclose(after[24], before[4], atol=1e-6)  # the zero offset


def test_positions_on_the_same_grid_stay_exactly_the_same():
    before = trained().pos_embed.data
    np.testing.assert_array_equal(resize_positions(before, CONFIG, CONFIG, "bilinear"), before)


def test_other_classes_get_a_zero_head():
    source, names = trained(), ("x", "y", "z", "w")
    model = ViT(dataclasses.replace(CONFIG, num_classes=4, representation_size=None))
    (change,) = transfer(model, pretrained(source), names)
    assert "4 other classes" in change
    assert not model.head.weight.data.any()
    assert not model(draw(0, 2, 3, 8, 8).astype(np.float32)).any()
    np.testing.assert_array_equal(model.blocks[1].mlp.fc1.weight.data,
                                  source.blocks[1].mlp.fc1.weight.data)  # fmt: skip


@pytest.mark.parametrize("change", [{"representation_size": 5}, {"num_classes": 7}])
def test_a_head_of_another_size_becomes_a_zero_head(change):
    (name,) = change
    assert getattr(CONFIG, name) not in (None, change[name])
    model = ViT(dataclasses.replace(CONFIG, **change))
    source = pretrained(trained())
    (message,) = transfer(model, source, source.class_names)
    assert message == f"head: new, zero, its {name} is {change[name]}, not {getattr(CONFIG, name)}"
    assert not model.head.weight.data.any()


def test_the_same_number_of_other_classes_still_resets_the_head():
    model = ViT(CONFIG)
    transfer(model, pretrained(trained()), ("x", "y", "z"))
    assert not model.head.weight.data.any()


def test_the_moving_average_is_transferred(tmp_path):
    training = tiny.trainer(tmp_path, ema_decay=0.9)
    training.fit()
    found = load_pretrained(training.run.last).weights
    average = training.model.flat.views(training.ema.average)
    for name, array in training.model.flat.views(training.model.flat.data).items():
        np.testing.assert_array_equal(found[name], average[name])
        assert not np.array_equal(found[name], array)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"dim": 16}, "dim is 16, but 8"), ({"depth": 3}, "depth is 3"), ({"pool": "mean"}, "pool")],
)
def test_another_encoder_is_refused(change, words):
    with pytest.raises(UserError, match=words):
        transfer(ViT(dataclasses.replace(CONFIG, **change)), pretrained(trained()), NAMES)


@pytest.mark.parametrize("kind", [Adam, AdamW, Muon, SGD])
@pytest.mark.parametrize("part", ["all", "head", "attention"])
def test_frozen_parameters_stay_exactly_the_same_and_all_others_move(kind, part):
    model = trained()
    freeze_all_but(model, part)
    before = {name: p.data.copy() for name, p in model.named_parameters()}
    optimizer = kind(model.flat, weight_decay=0.1)
    model.flat.grad[...] = np.random.default_rng(0).normal(size=model.flat.grad.shape)
    model.flat.zero_frozen_grad()
    for _ in range(2):
        optimizer.step(0.1)
    moved = {name for name, p in model.named_parameters() if (p.data != before[name]).any()}
    head = {n for n in before if n.startswith(("head.", "pre_logits."))}
    attention = {n for n in before if ".attn." in n}
    expected = {"all": set(before), "head": head, "attention": head | attention}[part]
    assert moved == expected
    with_gradient = {name for name, p in model.named_parameters() if p.grad.any()}
    assert with_gradient == expected


OTHER = {
    "image_size": 12, "patch_size": 2, "in_channels": 1, "num_classes": 7, "dim": 16, "depth": 3,
    "num_heads": 1, "mlp_ratio": 3.0, "stem": "conv", "stages": (1,), "pool": "mean",
    "pos_embed": "none", "representation_size": None, "activation": "gelu_tanh",
    "norm": "rmsnorm", "layer_scale": 0.1, "dropout": 0.1, "attn_dropout": 0.1, "drop_path": 0.1,
    "mlp": "swiglu", "num_registers": 1, "distilled": True, "embed_prefix": False, "rope": "axial",
    "rope_theta": 9.0, "rope_grid": 4, "norm_eps": 1e-5, "pre_norm": True, "final_norm": "none",
    "qkv_bias": False, "qk_norm": True, "patch_dropout": 0.5, "residual_convs": 1,
    "attention_init": "mimetic",
}  # fmt: skip
"""Another value than `CONFIG`'s for every field of a model."""


@pytest.mark.parametrize("field", dataclasses.fields(ViTConfig), ids=lambda field: field.name)
def test_every_field_may_differ_or_must_agree(field):
    """A new field fails here until it has a value in OTHER."""
    changes = {field.name: OTHER[field.name]}
    if field.name == "distilled":  # two heads, in separate layers
        changes["representation_size"] = None
    if field.name == "residual_convs":
        changes["stem"] = "conv"
    new = dataclasses.replace(CONFIG, **changes)
    assert new != CONFIG
    if field.name in MAY_DIFFER:
        transfer(ViT(new), pretrained(trained()), ("x",) * new.num_classes)
    else:
        with pytest.raises(UserError, match=f"^({'|'.join(changes)}) is"):
            transfer(ViT(new), pretrained(trained()), NAMES)
