"""A layer called without a cache gives what `forward` gives."""

import tracemalloc

import numpy as np
import pytest
from helpers import draw

import minivit
from minivit.layers import Block, Gelu, GeluTanh, Mlp, QuickGelu
from minivit.layers import block as block_module

OPTIONS = {
    "class token": {},
    "mean pooling, tanh form": {"pool": "mean", "activation": "gelu_tanh"},
    "quick GELU, LayerScale": {"activation": "quick_gelu", "layer_scale": 0.1},
    "SwiGLU, RMSNorm": {"mlp": "swiglu", "norm": "rmsnorm"},
    "relative positions, dropout": {"pos_embed": "relative", "dropout": 0.2, "drop_path": 0.1},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_a_model_without_a_cache_agrees_with_forward(options):
    config = minivit.ViTConfig(
        image_size=8, patch_size=2, dim=16, depth=2, num_heads=2, num_classes=3, **options
    )
    model = minivit.ViT(config)
    model.head.weight.data[...] = draw(1, *model.head.weight.data.shape)
    images = draw(0, 4, 3, 8, 8).astype("float32")
    np.testing.assert_array_equal(model(images), model.forward(images)[0])


@pytest.mark.parametrize("act", [Gelu, GeluTanh, QuickGelu])
def test_a_block_and_its_parts_without_a_cache_agree_with_forward(act):
    x = draw(0, 2, 5, 12).astype("float32")
    block = Block(np.random.default_rng(0), 12, 3, 24, act=act())
    for layer in (block, block.mlp, block.mlp.act, block.attn, block.norm1, block.drop):
        np.testing.assert_array_equal(layer(x), layer.forward(x)[0])


def test_a_call_without_a_cache_uses_less_memory():
    mlp = Mlp(np.random.default_rng(0), 64, 256)
    x = draw(0, 4, 500, 64)
    peaks = []
    for run in (mlp, mlp.forward):
        tracemalloc.start()
        out = run(x)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        del out
    assert peaks[0] < 0.8 * peaks[1]


def test_many_tokens_go_through_the_mlp_in_chunks(monkeypatch):
    block = Block(np.random.default_rng(0), 12, 3, 24)
    x, seen = draw(0, 2, 13, 12), []
    expected, _ = block.forward(x)
    monkeypatch.setattr(block_module, "TOKENS_AT_A_TIME", 8)
    norm = block.norm2.forward
    monkeypatch.setattr(block.norm2, "forward", lambda x: (seen.append(len(x)), norm(x))[1])
    found = block(x)
    assert seen == [8, 8, 8, 2]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


class Doubled(Mlp):
    def forward(self, x, stream=None):
        y, cache = super().forward(x, stream)
        return 2.0 * y, cache


class DoubledBlock(Block):
    def forward(self, x, stream=None):
        y, cache = super().forward(x, stream)
        return 2.0 * y, cache


def test_a_custom_forward_is_used_by_a_call():
    x, rng = draw(0, 2, 5, 12), np.random.default_rng(0)
    block = Block(rng, 12, 3, 24)
    block.mlp = Doubled(rng, 12, 24)
    np.testing.assert_array_equal(block.mlp(x), block.mlp.forward(x)[0])
    np.testing.assert_allclose(block(x), block.forward(x)[0], rtol=1e-12)
    doubled = DoubledBlock(rng, 12, 3, 24)
    np.testing.assert_array_equal(doubled(x), doubled.forward(x)[0])
