"""Everything that has a backward pass, with small inputs to check it on.

Every new pair or layer needs a line here; a test fails if a pair of `functional/` is missing.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minivit import functional
from minivit.gradcheck.check import STEP, STEP_AT_KINKS, Result, check_layer, check_pair
from minivit.layers import (
    AttentionPool,
    Block,
    Bottleneck,
    ConvStem,
    Dropout,
    DropPath,
    Gelu,
    GeluTanh,
    LayerNorm,
    LayerScale,
    Linear,
    Mlp,
    MultiHeadAttention,
    PatchDropout,
    PatchEmbed,
    QuickGelu,
    ResNet,
    RMSNorm,
    Rotary,
    SequencePool,
    StridedStem,
    Swiglu,
)
from minivit.models import MaskedViT, ViT, ViTConfig

Case = Callable[..., list[Result]]

rng = np.random.default_rng(0)
# a separate generator for later additions, so that the earlier cases keep their numbers
extra = np.random.default_rng(1)


def draw(*shape: int) -> np.ndarray:
    return rng.standard_normal(shape)


def pair(name: str, inputs: dict, *options: Any) -> tuple[str, Case]:
    """The case of `functional.NAME_forward` and `functional.NAME_backward`."""
    forward = getattr(functional, f"{name}_forward")
    backward = getattr(functional, f"{name}_backward")
    return name, lambda **budget: check_pair(forward, backward, inputs, *options, **budget)


def pairs() -> Iterator[tuple[str, Case]]:
    """Every pair of `functional/`."""
    B, T, C, H, K, P = 2, 5, 12, 3, 4, 2
    D = C // H
    x = draw(B, T, C)
    heads = {"q": draw(B, H, T, D), "k": draw(B, H, T, D), "v": draw(B, H, T, D)}
    projections = {
        "x": x,
        "qkv_weight": 0.3 * draw(C, 3 * C),
        "qkv_bias": draw(3 * C),
        "proj_weight": draw(C, C),
        "proj_bias": draw(C),
    }
    mask = functional.dropout_mask(rng.random((B, H, T, T)), 0.3)
    soft = rng.dirichlet(np.ones(K), B)
    yield pair("patchify", {"images": draw(B, 3, 2 * P, 3 * P)}, P)
    yield pair("unpatchify", {"patches": draw(B, 6, 3 * P * P)}, P, (2 * P, 3 * P))
    yield pair("linear", {"x": x, "weight": draw(C, K), "bias": draw(K)})
    yield pair("layernorm", {"x": x, "gamma": draw(C), "beta": draw(C)})
    yield pair("rmsnorm", {"x": x, "gamma": draw(C)})
    yield pair("layer_scale", {"x": x, "gamma": draw(C)})
    yield pair("gelu", {"x": 2 * x})
    yield pair("gelu_tanh", {"x": 2 * x})
    yield pair("tanh", {"x": x})
    yield pair("softmax", {"scores": x})
    yield pair("attention", heads)
    yield "attention, dropout", pair("attention", heads, mask)[1]
    yield pair("flash_attention", heads)
    yield pair("multi_head_attention", projections, H)
    yield "multi_head_attention, dropout", pair("multi_head_attention", projections, H, mask)[1]
    relative_inputs = {"q": heads["q"], "table": draw(9, D)}
    yield pair("relative", relative_inputs, functional.relative_offsets(2, 2))
    yield pair("dropout", {"x": x}, functional.dropout_mask(rng.random(x.shape), 0.4))
    yield pair("drop_path", {"branch": draw(6, T, C)}, functional.dropout_mask(rng.random(6), 0.5))
    yield pair("class_token", {"x": x, "cls_token": draw(1, 1, C)})
    yield pair("position", {"x": x, "pos_embed": draw(1, T, C)})
    yield pair("mean_pool", {"x": x})
    grid = {"x": draw(B, 3, 4, C)}
    yield pair("interpolate", grid, (5, 3), "bicubic")
    yield "interpolate, bilinear", pair("interpolate", grid, (2, 6), "bilinear")[1]
    hidden = functional.corruption(rng.random((B, 3, T)))
    selection, masked = hidden.selection.astype(float), hidden.masked.astype(float)
    yield pair("corrupt", {"x": x, "mask_token": draw(1, 1, C)}, selection, masked)
    table = {"pos_embed": draw(1, 7, C)}
    yield pair("resize_positions", table, 1, (2, 3), (4, 2))
    yield pair("take_tokens", {"x": x}, hidden.chosen)
    yield pair("squared_error", {"predicted": x}, draw(B, T, C))
    image, kernel = draw(B, 5, 6, C), draw(3, 2, C, K)
    yield pair("conv2d", {"x": image, "weight": kernel}, 2, 1)
    yield pair("groupnorm", {"x": image, "gamma": draw(C), "beta": draw(C)}, H)
    yield pair("standardize", {"weight": kernel})
    yield pair("relu", {"x": x})
    yield pair("max_pool", {"x": image}, 3, 2, 1)
    yield pair("sequence_pool", {"x": x, "weight": draw(C, 1)})
    yield pair("cross_entropy", {"logits": draw(6, K)}, rng.integers(K, size=6))
    yield "cross_entropy, soft", pair("cross_entropy", {"logits": draw(B, K)}, soft, 0.1)[1]
    axial = functional.rotary_axial(2, 2, D, 10.0)
    yield pair("rotary", {"x": heads["q"]}, *axial, False)
    dinov3 = functional.rotary_dinov3(2, 2, D, 100.0)
    yield "rotary, halves", pair("rotary", {"x": heads["q"]}, *dinov3, True)[1]
    offsets = functional.relative_offsets(2, 2)
    yield pair("relative_bias", {"table": extra.standard_normal((9, H))}, offsets, T)
    yield pair("registers", {"x": x, "registers": extra.standard_normal((1, 3, C))})
    yield pair("quick_gelu", {"x": 2 * x})
    yield pair("swiglu", {"x": extra.standard_normal((B, T, 2 * K))})


def layers() -> Iterator[tuple[str, Case]]:
    """Every layer, with dropout where it has a rate."""
    x = draw(4, 5, 12)
    images = draw(2, 3, 4, 6)
    block: dict[str, Any] = {"act": GeluTanh(), "dropout": 0.2, "attn_dropout": 0.2}
    block["drop_path"] = 0.3
    rotary = Rotary(*functional.rotary_axial(2, 2, 4, 10.0), half=False)
    for layer, value in (
        (Linear(rng, 12, 7), x),
        (LayerNorm(12), x),
        (RMSNorm(12), x),
        (LayerScale(12, 0.1), x),
        (Gelu(), x),
        (GeluTanh(), x),
        (Dropout(0.3), x),
        (DropPath(0.5), x),
        (PatchDropout(0.5, 1), x),
        (Mlp(rng, 12, 20, dropout=0.2), x),
        (MultiHeadAttention(rng, 12, 3, attn_dropout=0.2), x),
        (Block(rng, 12, 3, 20, **block), x),
        (PatchEmbed(rng, 2, 3, 8), images),
        (ConvStem(rng, 2, 3, 8), images),
        (ConvStem(rng, 2, 3, 8, num_residual=1), images),
        (StridedStem(rng, 2, 3, 8), images),
        (SequencePool(rng, 12), x),
        (Bottleneck(rng, 8, 16, 2), draw(2, 4, 6, 8)),
        (ResNet(rng, (1, 2), 3, 32), images),
        (MultiHeadAttention(rng, 12, 3, relative_grid=(2, 2), relative_bias=True), x),
        (MultiHeadAttention(rng, 12, 3, qkv_bias=False, qk_norm=LayerNorm), x),
        (MultiHeadAttention(rng, 12, 3, qk_norm=RMSNorm, rotary=rotary), x),
        (QuickGelu(), x),
        (Swiglu(), x),
        (Mlp(rng, 12, 10, Swiglu()), x),
        (AttentionPool(rng, 12, 3, 20, LayerNorm, Gelu()), x),
    ):
        name = type(layer).__name__
        kinks = isinstance(layer, ConvStem | StridedStem | Bottleneck | ResNet)
        step = STEP_AT_KINKS if kinks else STEP
        fixed = {"layer": layer, "x": value, "step": step}
        yield name, lambda fixed=fixed, **b: check_layer(**fixed, **b)


def models() -> Iterator[tuple[str, Case]]:
    """Whole models: all kinds of pooling and positions, with and without dropout."""
    small: dict[str, Any] = {
        "image_size": (8, 12),
        "num_classes": 3,
        "dim": 8,
        "depth": 2,
        "num_heads": 2,
    }
    drops: dict[str, Any] = {"dropout": 0.2, "attn_dropout": 0.2, "drop_path": 0.4}
    for name, options in (
        ("ViT, class token", {}),
        ("ViT, class token, dropout", drops),
        (
            "ResNet",
            {
                "stem": "resnet",
                "stages": (1, 1, 1),
                "dim": 64,
                "depth": 0,
                "pool": "mean",
                "pos_embed": "none",
            },
        ),
        ("ViT, relative positions", {"pos_embed": "relative", **drops}),
        ("hybrid, sequence pooling", {"stem": "conv", "pool": "seq", **drops}),
        ("hybrid, residual", {"stem": "conv", "residual_convs": 2, "pool": "mean", **drops}),
        ("hybrid, strided", {"stem": "strided", "pool": "mean", **drops}),
        ("ViT, mean pooling, dropout", {"pool": "mean", "pos_embed": "sincos2d", **drops}),
        ("ViT, RMSNorm, LayerScale", {"norm": "rmsnorm", "layer_scale": 0.3, **drops}),
        (
            "ViT, mean pooling, pre-logits",
            {
                "pool": "mean",
                "pos_embed": "none",
                "representation_size": 6,
                "activation": "gelu_tanh",
            },
        ),
        (
            "like DINOv2: registers, SwiGLU",
            {"num_registers": 2, "embed_prefix": False, "mlp": "swiglu", "layer_scale": 0.3},
        ),
        (
            "like DINOv3: rotary positions",
            {
                "dim": 16,
                "num_registers": 1,
                "pos_embed": "none",
                "rope": "dinov3",
                "layer_scale": 0.3,
            },
        ),
        (
            "like CLIP: a norm before the blocks, quick GELU",
            {"pre_norm": True, "activation": "quick_gelu", "norm_eps": 1e-5},
        ),
        (
            "like SigLIP: attention pooling",
            {"pool": "map", "activation": "gelu_tanh", "num_registers": 1},
        ),
        ("as DeiT: distilled", {"distilled": True}),
        (
            "norm after pooling, normalized queries and keys, a bias for each offset",
            {
                "pool": "mean",
                "num_registers": 2,
                "final_norm": "pooled",
                "qk_norm": True,
                "qkv_bias": False,
                "pos_embed": "relative_bias",
            },
        ),
        ("no head, no last norm", {"num_classes": 0, "final_norm": "none"}),
        ("ViT, PatchDropout", {"patch_dropout": 0.5, **drops}),
    ):
        model = ViT(ViTConfig(**{**small, **options}), dtype="float64")
        images = draw(2, 3, 8, 12)
        step = STEP if model.config.stem == "patch" else STEP_AT_KINKS
        fixed = {"layer": model, "x": images, "step": step}
        yield name, lambda fixed=fixed, **b: check_layer(**fixed, **b)
    model = ViT(ViTConfig(**small), dtype="float64")
    resized: dict[str, Any] = {"layer": model.at((12, 8)), "x": draw(2, 3, 12, 8)}
    yield "ViT, images of another size", lambda **b: check_layer(**resized, **b)
    masked = MaskedViT(ViTConfig(**small, **drops), 5, dtype="float64")
    yield "MaskedViT, dropout", lambda **b: check_layer(masked, images, **b)


def all_cases() -> Iterator[tuple[str, str, Case]]:
    """(kind, name, case) of every check."""
    for kind, cases in (("pair", pairs), ("layer", layers), ("model", models)):
        for name, case in cases():
            yield kind, name, case
