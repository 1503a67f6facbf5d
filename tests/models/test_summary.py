"""The summary: parameters, operations and memory against independent counts."""

import math
import sys

import numpy as np
import pytest

from minivit import ViT, ViTConfig, trace
from minivit.models import MaskedViT
from minivit.models.cost import num_parameters
from minivit.models.summary import Row, rows, summary

SMALL = {"image_size": (8, 12), "num_classes": 3, "dim": 8, "depth": 2, "num_heads": 2}
RESNET = {"stem": "resnet", "depth": 0, "dim": 64, "pool": "mean", "pos_embed": "none"}
KINDS = {
    "class token": {},
    "mean, one channel": {"pool": "mean", "in_channels": 1},
    "pre-logits": {"representation_size": 5, "pos_embed": "sincos2d"},
    "LayerScale": {"layer_scale": 0.1, "norm": "rmsnorm"},
    "hybrid, sequence": {"stem": "conv", "pool": "seq", "patch_size": 4},
    "SwiGLU": {"mlp": "swiglu"},
    "registers, sequence": {"pool": "seq", "num_registers": 2},
    "registers, attention": {"pool": "map", "num_registers": 2},
    "DeiT": {"distilled": True, "pre_norm": True},
    "norm after pooling": {"pool": "mean", "final_norm": "pooled", "num_classes": 0},
    "hybrid of one stage": {"stem": "conv", "patch_size": 2},
    "hybrid with residual convolutions": {"stem": "conv", "patch_size": 2, "residual_convs": 2},
    "hybrid with strides": {"stem": "strided", "patch_size": 4},
    "ResNet": {**RESNET, "stages": (2, 1, 3)},
    "hybrid with a ResNet": {**RESNET, "stages": (1, 2), "patch_size": 2, "depth": 1},
}


def make(dtype="float32", **options):
    return ViT(ViTConfig(**{**SMALL, **options}), dtype=dtype)


@pytest.mark.parametrize("options", [{}, {"pool": "mean", "representation_size": 5}])
def test_the_summary_counts_every_parameter_once(options):
    model = make("float32", **options)
    table = list(rows(model))
    assert sum(row.parameters for row in table) == num_parameters(model.config)
    no_new_memory = ("cls_token", "pos_embed", "head")  # the head's input is counted elsewhere
    assert all((row.activation > 0) == (row.name not in no_new_memory) for row in table)
    last = model.summary().splitlines()[-2]
    assert f"{num_parameters(model.config):,}" in last.split()


def test_the_summary_counts_matrix_products():
    model = make(depth=1)
    flops = {row.name: row.flops for row in rows(model)}
    T, N, C, F = 7, 6, 8, 16
    assert flops["patch_embed"] == 2 * N * 48 * C
    assert flops["blocks.0.attn"] == 2 * T * C * 3 * C + 2 * T * C * C + 2 * (2 * T * T * C)
    assert flops["blocks.0.mlp"] == 2 * (2 * T * C * F)
    assert flops["head"] == 2 * C * 3


def test_the_summary_measures_memory_in_the_models_dtype():
    single, double = (
        sum(row.activation for row in rows(make(dtype))) for dtype in ("float32", "float64")
    )
    assert double == 2 * single


def products(model, found):
    """Multiplications and additions per layer, from the shapes in a trace: a matrix or kernel is
    applied once at each position of its output."""
    flops, N = {}, math.prod(model.config.grid)
    for name, parameter in model.named_parameters():
        path = name.removesuffix(".weight").removesuffix(".proj" if ".attn." in name else "")
        if name.endswith(".weight") and parameter.data.ndim > 1:
            out = found[f"{path}.pooled" if path == "sequence_pool" else path].array
            positions = N if path == "sequence_pool" else out[..., 0].size
            flops[name] = 2 * positions * parameter.data.size
    for step in found:  # including the weight of each token
        if step.name.endswith(("attn.heads", "pool.heads", "pool.pooled")):
            probs = found[step.name.rpartition(".")[0] + ".probs"].array
            scores = 2 * probs.size * step.array.shape[-1]
            flops[step.name] = scores
            if step.name.endswith("heads"):  # q kᵀ has the same size
                flops[step.name] *= 2
    return flops


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_the_operations_match_a_traced_pass(options):
    model = make(**options)
    config = model.config
    found = trace(model, np.zeros((config.in_channels, *config.image_hw), "float32"))
    flops = products(model, found)
    for row in rows(model):
        inside = [count for name, count in flops.items() if name.startswith(f"{row.name}.")]
        assert row.flops == sum(inside), row.name
    assert sum(row.flops for row in rows(model)) == sum(flops.values())


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_the_outputs_match_a_traced_pass(options):
    model = make(**options)
    config = model.config
    found = trace(model, np.zeros((config.in_channels, *config.image_hw), "float32"))
    tokens, width = config.num_tokens, config.dim
    without_step = {
        "patch_embed": (math.prod(config.grid), width),
        **dict.fromkeys(("cls_token", "dist_token", "reg_token", "pos_embed"), (tokens, width)),
        "sequence_pool": (width,),
        "attn_pool": (width,),
    }
    names = {step.name for step in found}
    for row in rows(model):
        name = f"{row.name}.fc2" if row.name.endswith(".mlp") else row.name
        if row.name == "pre_logits":
            assert row.output == (config.representation_size,)
        elif name in names:
            assert row.output == found[name].array.shape[1:], row.name
        else:
            assert row.output == without_step[row.name]


def test_in_a_masked_model_the_decoder_is_counted_and_the_head_is_not():
    model = MaskedViT(ViTConfig(**SMALL), 5)
    table = {row.name: row for row in rows(model)}
    N, M, C = 6, 3, 8  # half of the patches are predicted
    assert table["decoder"][1:4] == ((M, 5), C * 5 + 5, 2 * M * C * 5)
    assert table["mask_token"][1:4] == ((N, C), C, 0)
    assert table["head"][1:] == ((), C * 3 + 3, 0, 0)
    assert "norm" in table
    unused = next(line for line in model.summary().splitlines() if line.startswith("head"))
    assert "not used" in unused


def test_the_table_prints_the_rows_in_millions_and_thousands():
    model = make(dtype="float64", image_size=64, dim=64)
    head, *lines, ruler, total, note = model.summary().splitlines()
    assert head.split()[:3] == ["layer", "output", "parameters"]
    table = list(rows(model))
    for row, line in zip(table, lines, strict=True):
        shape = " × ".join(map(str, row.output))
        numbers = f"{row.parameters:,}", f"{row.flops / 1e6:.2f}", f"{row.activation / 1000:.1f}"
        assert line.split() == [row.name, *shape.split(), *numbers]
        assert len(line) == len(head) == len(ruler), "numbers stand below each other"
    sums = [sum(row[i] for row in table) for i in (2, 3, 4)]
    printed = [float(word.replace(",", "")) for word in total.split()[1:]]
    assert printed == pytest.approx([sums[0], sums[1] / 1e6, sums[2] / 1e3], abs=0.06)
    assert "float64" in note


def test_millions_and_thousands_are_exact(monkeypatch):
    row = Row("all", (1,), 2, 350_000_000_000, 4_500_000_000)
    monkeypatch.setattr(sys.modules[Row.__module__], "rows", lambda model: [row])
    _, line, _, total, _ = summary(make()).splitlines()
    assert line.split()[-2:] == total.split()[-2:] == ["350000.00", "4500000.0"]


def test_the_memory_is_that_of_the_arrays_needed_by_backward():
    found = {row.name: row.activation for row in rows(make(depth=1))}
    T, C, F, heads, pixels = 7, 8, 16, 2, 3 * 8 * 12
    norm = T * C + T  # x̂, and a scale for each token
    numbers = {
        "patch_embed": pixels,
        "cls_token": 0,
        "pos_embed": 0,
        "blocks.0.norm1": norm,
        "blocks.0.attn": T * C + 3 * T * C + heads * T * T + T * C,  # input; q, k, v; map; merged
        "blocks.0.norm2": norm,
        "blocks.0.mlp": T * C + 3 * T * F,  # input; GELU's input, Φ of it, GELU's output
        "norm": norm + T * C,
        "head": 0,  # a view of the norm's output
    }
    assert found == {name: 4 * count for name, count in numbers.items()}
