"""ViTConfig: valid combinations, the named sizes, and parameter counts."""

import dataclasses
import itertools
import re
from pathlib import Path

import numpy as np
import pytest

from minivit import UserError, ViT, ViTConfig
from minivit.functional.flash_attention import KEYS
from minivit.models.config import preset_fields
from minivit.models.cost import num_activations, num_parameters
from minivit.models.summary import rows
from minivit.ranges import numeric_fields

PUBLISHED = {
    "Ti/16": (3, 5_717_416),
    "S/16": (6, 22_050_664),
    "B/16": (12, 86_567_656),
    "B/32": (12, 88_224_232),
    "L/16": (16, 304_326_632),
    "H/14": (16, 632_045_800),
}
SIZES = Path(__file__).parents[2] / "docs" / "commands.md"


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_sizes_of_the_paper_have_the_published_heads_and_parameters(name):
    config = ViTConfig.preset(name)
    assert (config.num_heads, num_parameters(config)) == PUBLISHED[name]
    assert (config.image_hw, config.num_classes) == ((224, 224), 1000)


def test_the_small_sizes_match_the_table():
    row = r"^\| `(\w+/4)` \| (\d+) \| (\d+) \| (\d+) \| ×(\d) \| ([\d.]+) M \| 32×32;"
    found = re.findall(row, SIZES.read_text(encoding="utf-8"), re.MULTILINE)
    assert {name for name, *_ in found} == {"Nano/4", "Micro/4", "Mini/4", "Lite/4"}
    for name, *sizes, millions in found:
        config = ViTConfig.preset(name)
        config_sizes = [config.dim, config.depth, config.num_heads, config.mlp_ratio]
        assert config_sizes == list(map(float, sizes))
        digits = len(millions.partition(".")[2])
        assert f"{num_parameters(config) / 1e6:.{digits}f}" == millions
        assert (config.image_hw, config.num_classes) == ((32, 32), 10)


@pytest.mark.parametrize("name", ["resnet-11", "resnet-20", "resnet-38"])
def test_the_number_in_a_resnets_name_counts_its_layers(name):
    """The stem, three layers per bottleneck, and the head."""
    config = ViTConfig.preset(name)
    assert name == f"resnet-{1 + 3 * sum(config.stages) + 1}"
    assert len(set(config.stages)) == 1
    assert (config.grid, config.num_tokens, config.num_classes) == ((8, 8), 64, 10)
    assert (config.kind, config.pool, config.pos_embed) == ("ResNet", "mean", "none")
    assert preset_fields(name)["num_classes"] == 10


@pytest.mark.parametrize(
    ("pool", "pos_embed", "representation_size", "image_size"),
    list(
        itertools.product(
            ["cls", "mean", "seq"],
            ["learned", "sincos2d", "relative", "none"],
            [None, 5],
            [8, (4, 12)],
        )
    ),
)
def test_the_parameter_count_by_hand_matches_the_model(
    pool, pos_embed, representation_size, image_size
):
    config = ViTConfig(
        image_size=image_size,
        in_channels=2,
        num_classes=3,
        dim=8,
        depth=2,
        num_heads=2,
        mlp_ratio=1.5,
        pool=pool,
        pos_embed=pos_embed,
        representation_size=representation_size,
    )
    assert ViT(config).flat.num_parameters == num_parameters(config)


@pytest.mark.parametrize("norm", ["layernorm", "rmsnorm"])
@pytest.mark.parametrize("layer_scale", [None, 0.1])
def test_the_parameter_count_with_other_norms_and_scales_matches_the_model(norm, layer_scale):
    config = ViTConfig(dim=8, depth=2, num_heads=2, norm=norm, layer_scale=layer_scale)
    model = ViT(config)
    assert model.num_parameters == num_parameters(config)
    assert sum(row.parameters for row in rows(model)) == num_parameters(config)


@pytest.mark.parametrize(
    "options",
    [
        {"pool": "map", "norm": "rmsnorm"},
        {"pool": "map", "mlp": "swiglu", "rope": "axial"},
        {"distilled": True, "num_registers": 3},
        {"num_registers": 3, "embed_prefix": False, "pre_norm": True},
        {"pos_embed": "relative_bias", "qk_norm": True, "norm": "rmsnorm"},
        {"pos_embed": "relative", "qk_norm": True, "qkv_bias": False},
        {"pool": "mean", "final_norm": "pooled"},
        {"final_norm": "none", "num_classes": 0, "layer_scale": 0.1},
    ],
    ids=str,
)
def test_the_parameter_count_with_later_options_matches_the_model(options):
    sizes = {"image_size": (8, 12), "in_channels": 2, "num_classes": 7, "dim": 12, "depth": 3}
    config = ViTConfig(**{**sizes, "num_heads": 3, "mlp_ratio": 1.5, **options})
    assert ViT(config).num_parameters == num_parameters(config)


@pytest.mark.parametrize(
    "options",
    [{"stem": "conv"}, {"stem": "strided"}, {"stem": "conv", "residual_convs": 2}],
    ids=str,
)
@pytest.mark.parametrize("patch_size", [2, 4, 8])
def test_the_parameter_count_of_a_hybrid_matches_the_model(patch_size, options):
    config = ViTConfig(image_size=16, patch_size=patch_size, dim=12, depth=1, **options)
    model = ViT(config)
    assert model.flat.num_parameters == num_parameters(config)
    assert type(num_parameters(config)) is int
    assert sum(row.parameters for row in rows(model)) == num_parameters(config)


@pytest.mark.parametrize(
    ("options", "stem"),
    [
        ({}, 0),
        ({"stem": "conv"}, 8 * 12 // 4 * 6),
        ({"stem": "conv", "residual_convs": 2}, 8 * 12 // 4 * 6 + 2 * 2 * (2 * 3) * 12),
        ({"stem": "strided"}, 2 * 4 * 6 * 6),
        ({"stem": "resnet", "patch_size": 2, "stages": (1, 3), "dim": 32}, 4 * 96 * (16 + 24)),
    ],
    ids=["patch", "conv", "residual", "strided", "resnet"],
)
def test_the_size_of_the_forward_cache_by_hand(options, stem):
    """For two blocks: the maps, eight times the token width and three times the MLP width; then the
    stem."""
    sizes = {"image_size": (8, 12), "dim": 12, "depth": 2, "num_heads": 2, "mlp_ratio": 1.5}
    config = ViTConfig(**{**sizes, **options})
    T, C, F = config.num_tokens, config.dim, config.dim * 3 // 2
    block = 2 * T * T + 8 * T * C + 3 * T * F
    assert num_activations(config) == 2 * block + 2 * T * C + stem
    assert type(num_activations(config)) is int


@pytest.mark.parametrize("stages", [(1,), (1, 3), (2, 1, 2)])
@pytest.mark.parametrize("depth", [0, 1])
def test_the_parameter_count_of_a_resnet_matches_the_model(stages, depth):
    P = 2 ** (len(stages) - 1)
    sizes = {"image_size": 16, "patch_size": P, "in_channels": 2, "dim": 64}
    config = ViTConfig(stem="resnet", stages=stages, depth=depth, **sizes)
    assert ViT(config).num_parameters == num_parameters(config)
    assert type(num_parameters(config)) is int


def test_attention_in_blocks_keeps_one_number_per_query():
    def numbers(tokens, device="cpu", **options):
        sizes = {"image_size": (1, tokens), "patch_size": 1, "dim": 8, "depth": 1, "num_heads": 2}
        config = ViTConfig(**sizes, pool="mean", mlp_ratio=1.0, **options)
        return num_activations(config, device) - (8 + 3 + 2) * tokens * 8

    T = KEYS + 1
    assert numbers(KEYS) == 2 * KEYS**2, "the maps of two heads"
    assert numbers(T) == 2 * T
    assert numbers(T, "cuda") == 2 * T**2
    for options in (
        *({"pos_embed": name} for name in ("relative", "relative_bias")),
        {"attn_dropout": 0.1},
    ):
        assert numbers(T, **options) == 2 * T**2


def test_named_hybrids():
    config = ViTConfig.preset("hybrid-Micro/4", pool="seq")
    assert (config.stem, config.dim, config.patch_size) == ("conv", 128, 4)
    assert config.kind == "hybrid"
    assert (ViTConfig().stem, ViTConfig().kind) == ("patch", "ViT")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"patch_size": 5}, ["patch_size 5", "32×32"]),
        ({"image_size": (32, 30)}, ["patch_size 4", "32×30"]),
        ({"image_size": 0}, ["image_size is 0", "1 to 4,096 pixels"]),
        ({"image_size": (32, 0)}, ["image_size is 0"]),
        ({"depth": 0}, ["depth is 0", "at least 1"]),
        ({"stem": "resnet", "stages": ()}, ["stages has 0 numbers"]),
        ({"stem": "resnet", "stages": (2, 0, 2)}, ["stages is 0", "1 to 1,000 bottlenecks"]),
        ({"dim": 30}, ["num_heads 4", "dim 30"]),
        ({"num_heads": 3}, ["num_heads 3", "dim 128"]),
        ({"mlp_ratio": 0.001}, ["mlp_ratio", "0.001", "at least 1"]),
        ({"dim": 6, "num_heads": 2, "pos_embed": "sincos2d"}, ["sincos2d", "6"]),
        ({"representation_size": 0}, ["representation_size", "0"]),
        ({"pool": "max"}, ["pool", "max", "cls, mean, seq"]),
        ({"stem": "conv", "patch_size": 1}, ["stem conv", "1", "halves"]),
        ({"residual_convs": 1}, ["residual_convs is 1; expected 0 for stem patch", "conv"]),
        ({"stem": "strided", "patch_size": 1}, ["stem strided", "1", "halves"]),
        ({"stem": "conv", "image_size": 24, "patch_size": 6}, ["stem conv", "6", "2, 4, 8"]),
        (
            {"pos_embed": "learnt"},
            ["pos_embed", "learnt", "learned, sincos2d, relative, rel"],
        ),
        *[
            ({"distilled": True, **other}, ["distilled needs pool cls, no representation_size"])
            for other in ({"pool": "mean"}, {"representation_size": 5}, {"final_norm": "pooled"})
        ],
        ({"dim": 24, "rope": "axial"}, ["rope", "is a multiple of 4, found 6"]),
        ({"norm": "batchnorm"}, ["norm", "batchnorm", "layernorm, rmsnorm"]),
        *[({"layer_scale": v}, ["layer_scale", str(v)]) for v in (0, -1.0, 2.0, float("nan"))],
        ({"activation": "relu"}, ["activation", "relu", "gelu, gelu_tanh"]),
        *[
            ({name: 0}, [f"{name} is 0", "expected 1 to "])
            for name in ("patch_size", "in_channels", "dim", "num_heads")
        ],
        *[
            ({name: rate}, [name, str(rate)])
            for name in ("dropout", "attn_dropout", "drop_path")
            for rate in (-0.1, 1.0, float("nan"))
        ],
    ],
)
def test_sizes_that_do_not_fit_are_refused_in_one_line(options, words):
    with pytest.raises(UserError) as raised:
        ViTConfig(**options)
    message = str(raised.value)
    assert "\n" not in message
    assert [word for word in words if word not in message] == []


ONE = dict.fromkeys(
    ("image_size", "patch_size", "in_channels", "num_classes", "dim", "depth", "num_heads"), 1
)
RESNET = {**ONE, "stem": "resnet", "depth": 0}


@pytest.mark.parametrize(
    ("fits", "does_not"),
    [
        ({**ONE, "mlp_ratio": 1.0}, {"mlp_ratio": 0.99}),
        ({**ONE, "representation_size": 1}, {"representation_size": 0}),
        ({**ONE, "layer_scale": 1.0}, {"layer_scale": 1.01}),
        ({**ONE, "layer_scale": 1e-9}, {"layer_scale": 0.0}),
        ({**ONE, "dim": 4, "pos_embed": "sincos2d"}, {"dim": 6}),
        ({**ONE, "image_size": (1, 2)}, {"image_size": (0, 2)}),
        ({**ONE, "image_size": (2, 1)}, {"image_size": (2, 0)}),
        ({**ONE, "stem": "conv", "patch_size": 2, "dim": 2, "image_size": 2}, {"dim": 3}),
        ({**ONE, "stem": "strided", "patch_size": 2, "dim": 2, "image_size": 2}, {"dim": 3}),
        ({**ONE, "stem": "conv", "patch_size": 8, "dim": 2, "image_size": 24}, {"patch_size": 6}),
        ({**RESNET, "stages": (1,), "dim": 16}, {"dim": 8}),
        ({**RESNET, "stages": (1,), "dim": 16, "depth": 1}, {"depth": -1}),
        ({**RESNET, "stages": (1, 2), "dim": 32, "patch_size": 2, "image_size": 4}, {"dim": 16}),
        ({**RESNET, "stages": (1, 2), "dim": 32, "patch_size": 2, "image_size": 4}, {"stages": ()}),
        *[({**ONE, rate: 0.99}, {rate: 1.0}) for rate in ("dropout", "attn_dropout", "drop_path")],
    ],
)
def test_the_last_valid_value_is_accepted_and_the_next_is_refused(fits, does_not):
    fits = {"pool": "mean", "mlp_ratio": 1.0, **fits}
    config = ViTConfig(**fits)
    logits = ViT(config)(np.zeros((2, config.in_channels, *config.image_hw), np.float32))
    assert logits.shape == (2, config.num_classes)
    with pytest.raises(UserError):
        ViTConfig(**{**fits, **does_not})


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        *(("Tiny/16", "Ti/16"), ("Huge/14", "H/14"), ("micro/4", "Micro/4")),
        *(("Micr/8", "Micro/8"), ("Lite", "Lite/4"), ("hybrid-Nanu/4", "hybrid-Nano/4")),
    ],
)
def test_the_nearest_name_is_suggested(name, meant):
    with pytest.raises(UserError, match=f'did you mean "{meant}"') as raised:
        ViTConfig.preset(name)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["", "XXL/16", "S/", "S/x", "S/-4", "S/²"])
def test_an_unknown_name_is_refused_and_the_sizes_are_listed(name):
    with pytest.raises(UserError, match="expected SIZE/PATCH with a size of Ti, S, B"):
        ViTConfig.preset(name)


def test_an_override_of_an_unknown_field_is_refused():
    with pytest.raises(UserError, match="no field heads"):
        ViTConfig.preset("S/16", heads=3)


def test_a_preset_gives_the_sizes_and_the_patch_size_after_the_slash():
    config = ViTConfig.preset("S/32", num_classes=7)
    assert (config.dim, config.depth, config.num_heads, config.hidden) == (384, 12, 6, 1536)
    assert (config.patch_size, config.image_hw, config.num_classes) == (32, (224, 224), 7)
    assert (config.grid, config.num_tokens) == ((7, 7), 50)


def test_the_ranges_of_the_fields():
    """Written out here, because other tests compare a range only with its own ends."""
    found = {number.name: number.limits for number in numeric_fields(ViTConfig)}
    assert {name: (limits.low, limits.high) for name, limits in found.items()} == {
        "image_size": (1, 4096),
        "patch_size": (1, 4096),
        "in_channels": (1, 1000),
        "num_classes": (0, 100_000),
        "dim": (1, 65_536),
        "depth": (0, 1000),
        "num_heads": (1, 1024),
        "mlp_ratio": (0.001, 64),
        "residual_convs": (0, 1000),
        "stages": (1, 1000),
        "num_registers": (0, 1000),
        "rope_theta": (1.001, 1e9),
        "rope_grid": (1, 4096),
        "representation_size": (1, 65_536),
        "norm_eps": (1e-15, 0.1),
        "layer_scale": (1e-12, 1),
        "dropout": (0, 0.99),
        "attn_dropout": (0, 0.99),
        "drop_path": (0, 0.99),
        "patch_dropout": (0, 0.99),
    }
    assert found["stages"].count == (1, 13)  # 13 stages reduce 4,096 pixels to one token
    assert {name: limits.unit for name, limits in found.items() if limits.unit} == {
        **dict.fromkeys(("image_size", "patch_size", "rope_grid"), "pixels"),
        "stages": "bottlenecks",
    }


def test_the_defaults_follow_the_paper():
    config = ViTConfig()
    assert (config.stem, config.pool, config.mlp, config.activation) == (
        *("patch", "cls", "mlp", "gelu"),
    )
    assert (config.pos_embed, config.embed_prefix, config.rope) == ("learned", True, "none")
    assert (config.rope_theta, config.rope_grid) == (100.0, None)
    assert (config.norm, config.norm_eps, config.pre_norm) == ("layernorm", 1e-6, False)
    assert (config.final_norm, config.qkv_bias, config.qk_norm) == ("tokens", True, False)
    assert (config.num_registers, config.distilled, config.in_channels) == (0, False, 3)
    assert (config.layer_scale, config.representation_size) == (None, None)
    assert config.attention_init == "xavier"
    assert (config.dropout, config.attn_dropout, config.drop_path) == (0.0, 0.0, 0.0)


def test_the_defaults_are_micro_4():
    assert ViTConfig() == ViTConfig.preset("Micro/4")
    assert ViTConfig().stages == ViTConfig.preset("resnet-20").stages


def test_the_first_unknown_field_is_found():
    known = {"dim": None, "pool": ("cls", "mean")}
    assert ViTConfig(dim=64, pool="mean").unsupported(known) is None
    assert ViTConfig(pool="seq", depth=3).unsupported(known) == ("depth", 3)
    assert ViTConfig(pool="seq").unsupported(known) == ("pool", "seq")


def test_height_comes_before_width():
    config = ViTConfig(image_size=(8, 12), pool="mean")
    assert (config.image_hw, config.grid, config.num_tokens) == ((8, 12), (2, 3), 6)


def test_a_config_read_from_json_equals_the_written_one():
    config = ViTConfig(image_size=(8, 12))
    fields = dataclasses.asdict(config)
    lists = {name: list(fields[name]) for name in ("image_size", "stages")}
    assert ViTConfig(**{**fields, **lists}) == config
