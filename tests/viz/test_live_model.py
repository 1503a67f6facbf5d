"""The model in JavaScript against the model in Python: the same logits and attention maps.

Both have weights that float16 represents exactly. A change to the page's model is reproduced in
Python by changing its weights.
"""

import numpy as np
import pytest
import tiny
from javascript import in_chromium, run_javascript

from minivit.data import Statistics
from minivit.functional import softmax_forward
from minivit.models import ViT, ViTConfig
from minivit.viz import look
from minivit.viz.live import WORKER
from minivit.viz.packed import packed
from minivit.viz.pages import join

MODEL = WORKER[:-1]
SIZES = {"image_size": (8, 12), "num_classes": 3, "dim": 8, "depth": 2, "num_heads": 2}
CLOSE = 1e-4
PARTS = {
    "class token": {},
    "mean": {"pool": "mean", "pos_embed": "none"},
    "sequence pooling": {"pool": "seq"},
    "relative": {"pos_embed": "relative"},
    "relative, mean": {"pos_embed": "relative", "pool": "mean"},
    "sincos": {"pos_embed": "sincos2d", "pool": "mean"},
    "sincos, class token": {"pos_embed": "sincos2d"},
    "tanh GELU": {"activation": "gelu_tanh"},
    "pre-logits": {"representation_size": 6},
    "no bias": {"qkv_bias": False},
    "epsilon": {"norm_eps": 1e-2},
    "gray": {"in_channels": 1},
    "odd sizes": {"dim": 9, "num_heads": 3, "num_classes": 5, "mlp_ratio": 1.7},
    "Nano/4": {
        **{"image_size": 32, "num_classes": 10, "dim": 96, "depth": 4, "num_heads": 4},
        "mlp_ratio": 2.0,
    },
}


def halved(config: ViTConfig) -> ViT:
    """A model with selective heads, and weights that float16 represents exactly."""
    model = tiny.randomize(ViT(config))
    if config.dim < 20:  # sums of only a few numbers are small
        model.flat.data[...] *= 3.0
    model.flat.data[...] = model.flat.data.astype(np.float16)
    return model


def made(**changes) -> tuple[ViT, np.ndarray]:
    """A model and an image."""
    config = ViTConfig(**{**SIZES, **changes})
    shape = (1, config.in_channels, *config.image_hw)
    return halved(config), np.random.default_rng(0).standard_normal(shape, np.float32)


def in_javascript(model, image, change=None):
    """logits (K,), maps (L, H, T, T)."""
    config = model.config
    found = run_javascript(
        MODEL,
        """(() => {
          const change = { ...UNCHANGED, ...argument.change };
          const image = Float32Array.from(argument.image);
          const { logits, maps } = forward(unpackAll(argument.model), image, change);
          return { logits: [...logits], maps: [...maps] };
        })()""",
        {"model": packed(model), "image": image.ravel().tolist(), "change": change or {}},
    )
    T = config.num_tokens
    maps = np.array(found["maps"], np.float32).reshape(config.depth, config.num_heads, T, T)
    return np.array(found["logits"], np.float32), maps


def assert_same(found, expected):
    """Equal up to CLOSE times the largest number."""
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= CLOSE * np.abs(expected).max()


@pytest.mark.parametrize("changes", PARTS.values(), ids=PARTS)
def test_logits_and_maps_agree_with_python(changes):
    model, image = made(**changes)
    seen = look(model, image)
    logits, maps = in_javascript(model, image)
    assert_same(logits, seen.logits[0])
    assert_same(maps, seen.maps[:, 0])
    assert seen.maps.max() > 2 / model.config.num_tokens, "uniform maps would show no fault"


def test_chromium_gives_the_same_numbers_as_node():
    model, image = made()
    function = f"""(argument) => {{
      {join(MODEL)}
      return [...forward(unpackAll(argument.model), Float32Array.from(argument.image)).logits];
    }}"""
    argument = {"model": packed(model), "image": image.ravel().tolist()}
    assert_same(np.array(in_chromium(function, argument), np.float32), model(image)[0])


def test_every_float16_is_read_correctly():
    bits = np.arange(1 << 16, dtype=np.uint16)
    numbers = bits.view(np.float16).astype(np.float64)
    finite = np.isfinite(numbers)
    found = run_javascript(MODEL, "argument.map(fromHalf)", bits[finite].tolist())
    np.testing.assert_array_equal(found, numbers[finite])


def test_pixels_are_normalized_as_in_python():
    pixels = np.random.default_rng(0).integers(0, 256, (1, 3, 4, 5), dtype=np.uint8)
    statistics = Statistics((0.4, 0.5, 0.6), (0.1, 0.2, 0.3))
    found = run_javascript(
        MODEL,
        "[...normalize(argument.pixels, argument.mean, argument.std)]",
        {
            "pixels": pixels[0].transpose(1, 2, 0).ravel().tolist(),
            "mean": statistics.mean,
            "std": statistics.std,
        },
    )
    assert_same(np.array(found, np.float32), statistics.normalize(pixels).ravel())


# ---- Changes to the model ----------------------------------------------------------------------

KINDS = {"learned": {}, "relative": {"pos_embed": "relative"}, "sincos": {"pos_embed": "sincos2d"}}


def queries(model, layer):
    """Views of the query part of a layer's weights and biases."""
    qkv = model.blocks[layer].attn.qkv
    C = model.config.dim
    return qkv.weight.data[:, :C], qkv.bias.data[:C]


@pytest.mark.parametrize("changes", KINDS.values(), ids=KINDS)
class TestChanges:
    def test_a_head_turned_off_adds_nothing(self, changes):
        model, image = made(**changes)
        before = look(model, image)
        logits, maps = in_javascript(model, image, {"heads": ["0,1"]})
        D = model.config.dim // model.config.num_heads
        model.blocks[0].attn.proj.weight.data[D : 2 * D] = 0.0
        after = look(model, image)
        assert_same(logits, after.logits[0])
        assert_same(maps, after.maps[:, 0])
        assert_same(maps[0], before.maps[0, 0])
        assert np.abs(maps[1] - before.maps[1, 0]).max() > 1e-3

    def test_a_skipped_layer_passes_its_tokens_through(self, changes):
        model, image = made(**changes)
        logits, maps = in_javascript(model, image, {"skipped": [0]})
        block = model.blocks[0]
        for layer in (block.attn.proj, block.mlp.fc2):
            layer.weight.data[...] = 0.0
            layer.bias.data[...] = 0.0
        after = look(model, image)
        assert_same(logits, after.logits[0])
        assert_same(maps[1], after.maps[1, 0])
        assert not maps[0].any()

    def test_uniform_attention_equals_attention_with_zero_queries(self, changes):
        model, image = made(**changes)
        logits, maps = in_javascript(model, image, {"uniform": [1]})
        for part in queries(model, 1):
            part[...] = 0.0
        after = look(model, image)
        assert_same(logits, after.logits[0])
        assert_same(maps, after.maps[:, 0])

    def test_a_temperature_divides_the_scores(self, changes):
        model, image = made(**changes)
        logits, maps = in_javascript(model, image, {"temperature": 2.5})
        for layer in range(2):
            for part in queries(model, layer):
                part /= 2.5
        after = look(model, image)
        assert_same(logits, after.logits[0])
        assert_same(maps, after.maps[:, 0])


ORDER = [3, 5, 0, 1, 4, 2]


@pytest.mark.parametrize("positions", [None, ORDER], ids=["off", "shuffled"])
@pytest.mark.parametrize("changes", KINDS.values(), ids=KINDS)
def test_positions_off_and_shuffled(changes, positions):
    model, image = made(**changes)
    before = model(image)[0]
    logits, maps = in_javascript(model, image, {"positions": positions})
    change_positions(model, positions)
    after = look(model, image)
    assert_same(logits, after.logits[0])
    assert_same(maps, after.maps[:, 0])
    assert np.abs(after.logits[0] - before).max() > 1e-3


def change_positions(model, order):
    """The patches' positions: zeros, or those of other patches."""
    if model.config.pos_embed == "relative":
        for block in model.blocks:
            if order is None:
                block.attn.relative_table.data[...] = 0.0
            else:
                block.attn.offsets = block.attn.offsets[np.ix_(order, order)]
        return
    learned = model.config.pos_embed == "learned"
    table = model.pos_embed.data if learned else model.fixed_positions
    patches = table[:, 1:].copy()
    table[:, 1:] = 0.0 if order is None else patches[:, order]


@pytest.mark.parametrize("name", ["learned", "relative"])
def test_the_class_token_is_forced_to_patches(monkeypatch, name):
    model, image = made(**KINDS[name])
    before = model(image)[0]
    logits, maps = in_javascript(model, image, {"forced": [1, 4], "temperature": 2.0})

    def forced(scores):
        probs, cache = softmax_forward(scores / 2.0)
        probs[:, :, 0] = 0.0
        probs[:, :, 0, [2, 5]] = 0.5
        return probs, cache

    monkeypatch.setattr("minivit.functional.attention.softmax_forward", forced)
    after = look(model, image)
    assert_same(logits, after.logits[0])
    assert_same(maps, after.maps[:, 0])
    assert np.abs(after.logits[0] - before).max() > 1e-3
