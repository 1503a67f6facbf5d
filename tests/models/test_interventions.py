"""Each change against a separate forward pass written here, with the change made by hand, and
against the same change in the live page's model."""

import numpy as np
import pytest
import tiny
from viz.test_live_model import in_javascript
from viz.test_live_model import made as made_for_the_page

from minivit.errors import UserError
from minivit.layers import Layer
from minivit.models import (
    ViT,
    ViTConfig,
    arrange_patches,
    blur_patches,
    cover_patches,
    intervene,
    other_heads,
    trace,
)
from minivit.viz import look
from minivit.viz.maps import rollout

SIZES = {"image_size": (8, 12), "num_classes": 3, "dim": 8, "depth": 2, "num_heads": 2}
N = 6
ORDER = [3, 5, 0, 1, 4, 2]
KINDS = {
    "class token": {},
    "mean, sincos": {"pool": "mean", "pos_embed": "sincos2d"},
    "registers": {"num_registers": 2},
    "relative": {"pos_embed": "relative"},
    "relative bias": {"pos_embed": "relative_bias"},
    "norms of queries": {"qk_norm": True},
    "norms and bias": {"qk_norm": True, "pos_embed": "relative_bias"},
    "rope": {"dim": 16, "rope": "axial", "pos_embed": "none"},
    "rope and learned": {"dim": 16, "rope": "axial"},
    "no biases": {"qkv_bias": False},
}


def made(**changes):
    """A model whose attention is far from uniform, and two images."""
    model = tiny.randomize(ViT(ViTConfig(**{**SIZES, **changes}), dtype="float64"))
    model.flat.data[...] *= 3.0
    return model, np.random.default_rng(0).standard_normal((2, 3, 8, 12))


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def kind(request):
    return request.param


# ---- A forward pass by hand ---------------------------------------------------------------------


def norm(x, p, name, eps):
    centered = x - x.mean(-1, keepdims=True)
    return (
        p[f"{name}.weight"] * centered / np.sqrt(x.var(-1, keepdims=True) + eps) + p[f"{name}.bias"]
    )


def linear(x, p, name):
    return x @ p[f"{name}.weight"] + p.get(f"{name}.bias", 0.0)


def gelu(x):
    from math import erf

    return x * 0.5 * (1.0 + np.vectorize(erf)(x / np.sqrt(2.0)))


def rotated(x, angles):
    """Rotates pairs of neighboring components, each by its angle. x (T, D), angles (cos, sin) (N,
    D)."""
    cos, sin = angles
    out = x.copy()
    for t in range(len(cos)):
        row = len(x) - len(cos) + t
        for d in range(0, x.shape[1], 2):
            a, b = x[row, d], x[row, d + 1]
            out[row, d] = a * cos[t, d] - b * sin[t, d]
            out[row, d + 1] = b * cos[t, d + 1] + a * sin[t, d + 1]
    return out


def by_hand(
    model,
    image,
    *,
    heads_off=(),
    skipped=(),
    uniform=(),
    temperature=1.0,
    forced=(),
    positions="own",
):
    """logits (K,), maps (L, H, T, T)."""
    config = model.config
    p = {name: parameter.data for name, parameter in model.named_parameters()}
    order = (
        {"own": range(N), "off": None}.get(positions, positions)
        if isinstance(positions, str)
        else positions
    )
    x = embed_tokens(model, p, image, order)
    maps = np.zeros((config.depth, config.num_heads, len(x), len(x)))
    for layer in range(config.depth):
        if layer in skipped:
            continue
        prefix = f"blocks.{layer}"
        qkv = linear(norm(x, p, f"{prefix}.norm1", config.norm_eps), p, f"{prefix}.attn.qkv")
        D = config.dim // config.num_heads
        results = []
        for head in range(config.num_heads):
            q, k, v = (qkv[:, part * config.dim + head * D :][:, :D] for part in range(3))
            scores = scores_of(model, p, layer, head, q, k, order)
            probs = np.exp(scores / temperature)
            probs /= probs.sum(-1, keepdims=True)
            if layer in uniform:
                probs[...] = 1 / len(x)
            if len(forced):
                probs[0] = 0.0
                for patch in forced:
                    probs[0, config.num_prefix + patch] = 1 / len(forced)
            maps[layer, head] = probs
            results.append(probs @ v * ((layer, head) not in heads_off))
        x = x + linear(np.concatenate(results, -1), p, f"{prefix}.attn.proj")
        hidden = gelu(
            linear(norm(x, p, f"{prefix}.norm2", config.norm_eps), p, f"{prefix}.mlp.fc1")
        )
        x = x + linear(hidden, p, f"{prefix}.mlp.fc2")
    x = norm(x, p, "norm", config.norm_eps)
    return linear(x[0] if config.pool == "cls" else x[-N:].mean(0), p, "head"), maps


def embed_tokens(model, p, image, order):
    """The patch tokens with positions, after the prefix tokens."""
    config = model.config
    patches = [image[:, r : r + 4, c : c + 4] for r in range(0, 8, 4) for c in range(0, 12, 4)]
    rows = np.stack([patch.transpose(1, 2, 0).ravel() for patch in patches])
    x = linear(rows, p, "patch_embed.proj")
    prefix = [p[name][0] for name in ("cls_token", "reg_token") if name in p]
    x = np.concatenate([*prefix, x])
    table = p["pos_embed"][0] if "pos_embed" in p else model.fixed_positions
    if table is None:
        return x
    table = table.reshape(-1, config.dim)
    x[:-N] += table[:-N]
    for patch in range(N):
        x[len(x) - N + patch] += 0.0 if order is None else table[len(table) - N + order[patch]]
    return x


def scores_of(model, p, layer, head, q, k, order):
    config, attn = model.config, model.blocks[layer].attn
    prefix = f"blocks.{layer}.attn"
    if config.qk_norm:
        q, k = (
            norm(x, p, f"{prefix}.{name}", config.norm_eps)
            for x, name in ((q, "q_norm"), (k, "k_norm"))
        )
    if attn.rotary is not None and order is not None:
        angles = attn.rotary.cos[list(order)], attn.rotary.sin[list(order)]
        q, k = rotated(q, angles), rotated(k, angles)
    scores = q @ k.T / np.sqrt(q.shape[-1])
    table = p.get(f"{prefix}.relative_table")
    for i in range(N if table is not None and order is not None else 0):
        for j in range(N):
            (y, x), (other_y, other_x) = divmod(order[i], 3), divmod(order[j], 3)
            row = table[(y - other_y + 1) * 5 + x - other_x + 2]
            number = row[head] if attn.relative_bias else q[i - N] @ row / np.sqrt(q.shape[-1])
            scores[i - N, j - N] += number
    return scores


CHANGES = {
    "nothing": {},
    "a head off": {"heads_off": [(0, 1)]},
    "all heads but one": {"heads_off": [(1, 1)]},
    "a layer skipped": {"skipped": [0]},
    "uniform attention": {"uniform": [1]},
    "a temperature": {"temperature": 2.0},
    "positions shuffled": {"positions": ORDER},
    "positions off": {"positions": "off"},
    "all at once": {
        **{"heads_off": [(0, 0)], "skipped": [1], "uniform": [0], "temperature": 0.5},
        "positions": ORDER,
    },
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_agrees_with_the_one_made_by_hand(kind, change):
    model, images = made(**kind)
    before = model.flat.data.copy()
    seen = look(intervene(model, **change), images)
    for i, image in enumerate(images):
        logits, maps = by_hand(model, image, **change)
        np.testing.assert_allclose(seen.logits[i], logits, rtol=0, atol=1e-6 * np.abs(logits).max())
        np.testing.assert_allclose(seen.maps[:, i], maps, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(model.flat.data, before)
    if change:
        assert np.abs(seen.logits - look(model, images).logits).max() > 1e-3


def test_the_class_token_is_forced_to_two_patches():
    model, images = made(num_registers=1)
    change = {"forced": [1, 4], "uniform": [0], "heads_off": [(1, 0)]}
    seen = look(intervene(model, **change), images)
    for i, image in enumerate(images):
        logits, maps = by_hand(model, image, **change)
        np.testing.assert_allclose(seen.logits[i], logits, rtol=0, atol=1e-6 * np.abs(logits).max())
        np.testing.assert_allclose(seen.maps[:, i], maps, rtol=0, atol=1e-6)
    assert np.abs(seen.logits - look(model, images).logits).max() > 1e-3
    with pytest.raises(UserError, match="no backward"):
        look(intervene(model, forced=[0]), images, gradients=True)


# ---- Against the page's model -------------------------------------------------------------------

PAGE = {
    "a head off": ({"heads_off": [(0, 1)]}, {"heads": ["0,1"]}),
    "a layer skipped": ({"skipped": [0]}, {"skipped": [0]}),
    "uniform attention": ({"uniform": [1]}, {"uniform": [1]}),
    "a temperature": ({"temperature": 2.5}, {"temperature": 2.5}),
    "positions off": ({"positions": "off"}, {"positions": None}),
    "positions shuffled": ({"positions": ORDER}, {"positions": ORDER}),
    "the class token forced": ({"forced": [0, 4]}, {"forced": [0, 4]}),
    "all at once": (
        {**{"heads_off": [(0, 0)], "skipped": [1], "uniform": [0]}, "temperature": 0.5},
        {"heads": ["0,0"], "skipped": [1], "uniform": [0], "temperature": 0.5},
    ),
}


@pytest.mark.parametrize("change", PAGE.values(), ids=PAGE)
@pytest.mark.parametrize("name", ["learned", "sincos2d", "relative"])
def test_the_page_gives_the_same_numbers(name, change):
    model, image = made_for_the_page(pos_embed=name)
    options, page_options = change
    seen = look(intervene(model, **options), image)
    logits, maps = in_javascript(model, image, page_options)
    np.testing.assert_allclose(seen.logits[0], logits, rtol=0, atol=1e-4 * np.abs(logits).max())
    np.testing.assert_allclose(seen.maps[:, 0], maps, rtol=0, atol=1e-4)


# ---- Using a changed model ----------------------------------------------------------------------


def test_a_changed_model_has_gradients_and_a_trace():
    model, images = made()
    changed = intervene(model, skipped=[0], heads_off=[(1, 0)])
    seen = look(changed, images, gradients=True)
    assert not seen.dmaps[0].any()
    assert not seen.dmaps[1, :, 0].any()
    assert seen.dmaps[1, :, 1].any()
    names = [step.name for step in trace(changed, images[0])]
    assert "blocks.1.attn.probs" in names
    assert "blocks.0.attn.probs" not in names


def test_rollout_ignores_a_skipped_layer():
    model, images = made()
    maps = look(intervene(model, skipped=[0]), images).maps
    np.testing.assert_allclose(rollout(maps)[-1], rollout(maps[1:])[-1])


def test_the_maps_of_a_skipped_layer_have_the_models_dtype():
    model = ViT(ViTConfig(**SIZES))
    _, cache = intervene(model, skipped=[0]).forward(np.zeros((2, 3, 8, 12), np.float32))
    assert [block.attn.probs.dtype for block in cache.blocks] == [np.float32] * 2


def test_changes_to_a_changed_model_accumulate():
    model, images = made(pos_embed="relative")
    twice = intervene(intervene(model, positions=ORDER), heads_off=[(0, 0)])
    once = intervene(model, positions=ORDER, heads_off=[(0, 0)])
    np.testing.assert_array_equal(twice(images), once(images))


def test_all_heads_but_one():
    config = ViTConfig(**{**SIZES, "num_heads": 4})
    assert other_heads(config, 1, 2) == [(1, 0), (1, 1), (1, 3)]


# ---- Pixels -------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_covered_patches(channels):
    images = np.random.default_rng(0).integers(0, 255, (2, channels, 8, 12), np.uint8)
    before = images.copy()
    color = [7, 8, 9][:channels]
    found = cover_patches(images, [1, 5], 4, color)
    np.testing.assert_array_equal(images, before)
    expected = images.copy()
    for row, column in ((0, 4), (4, 8)):
        expected[:, :, row : row + 4, column : column + 4] = np.reshape(color, (-1, 1, 1))
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.uint8
    single_column = np.ones((1, 1, 8, 4))  # patches are a view of it
    assert cover_patches(single_column, [0], 4).sum() == 16
    assert single_column.sum() == 32


def blurred(images, row, column):
    """Every pixel of a patch of 4 × 4 becomes the mean of the 5 × 5 around it."""
    out = images.copy()
    for r in range(4 * row, 4 * row + 4):
        for c in range(4 * column, 4 * column + 4):
            around = images[:, :, max(0, r - 2) : r + 3, max(0, c - 2) : c + 3]
            out[:, :, r, c] = around.mean((2, 3))
    return out


def test_blurred_patches():
    images = np.random.default_rng(0).standard_normal((2, 3, 8, 12))
    before = images.copy()
    found = blur_patches(images, [2, 4], 4)
    np.testing.assert_array_equal(images, before)
    both = blurred(images, 0, 2)
    both[:, :, 4:, 4:8] = blurred(images, 1, 1)[:, :, 4:, 4:8]
    np.testing.assert_allclose(found, both, rtol=0, atol=1e-14)
    odd = np.zeros((1, 1, 9, 3), np.float32)
    odd[0, 0, 5, 1] = 1.0  # for a patch of size 3, two pixels on each side
    assert blur_patches(odd, [1], 3)[0, 0, 3:6, 1].tolist() == pytest.approx([1 / 15] * 3)


def test_blurred_pixels_are_rounded():
    pixels = np.random.default_rng(0).integers(0, 255, (2, 1, 8, 12), np.uint8)
    found = blur_patches(pixels, [0], 4)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, np.floor(blurred(pixels * 1.0, 0, 0) + 0.5))


def test_patches_in_another_order():
    images = np.random.default_rng(0).standard_normal((2, 3, 8, 12))
    swapped = [0, 1, 5, 3, 4, 2]
    found = arrange_patches(images, swapped, 4)
    np.testing.assert_array_equal(found[:, :, :4, 8:], images[:, :, 4:, 8:])
    np.testing.assert_array_equal(found[:, :, 4:, 8:], images[:, :, :4, 8:])
    np.testing.assert_array_equal(found[:, :, :, :8], images[:, :, :, :8])
    shuffled = arrange_patches(images, ORDER, 4)
    np.testing.assert_array_equal(shuffled[:, :, :4, 4:8], images[:, :, 4:, 8:])


def test_without_positions_their_vectors_are_zero():
    """Constant but nonzero positions would not be enough: LayerNorm would remove them."""
    for name in ("learned", "sincos2d"):
        without = intervene(made(pos_embed=name)[0], positions="off")
        table = without.pos_embed.data if name == "learned" else without.fixed_positions
        assert not table[:, -N:].any()


def test_without_positions_the_order_of_patches_does_not_matter():
    model, images = made()
    without = intervene(model, positions="off")
    shuffled = arrange_patches(images, ORDER, 4)
    np.testing.assert_allclose(without(shuffled), without(images))
    assert np.abs(model(shuffled) - model(images)).max() > 1e-3


# ---- Mistakes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads_off": [(2, 0)]}, "layer 2: the model has layers 0 to 1"),
        ({"heads_off": [(0, 2)]}, "head 2: the model has heads 0 to 1"),
        ({"skipped": [-1]}, "layer -1: the model has layers 0 to 1"),
        ({"uniform": [9]}, "layer 9"),
        ({"temperature": 0.0}, "temperature is 0.0; expected a number above 0"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"temperature": float("inf")}, "temperature is inf"),
        ({"forced": [6]}, "patch 6: there are patches 0 to 5"),
        ({"forced": [-1]}, "patch -1: there are patches 0 to 5"),
        ({"positions": [0, 1]}, "an order of 2 patches; expected 6"),
        ({"positions": [0, 1, 2, 3, 4, 6]}, "patch 6"),
        ({"positions": "none"}, 'positions is "none"; expected "own", "off" or a list'),
    ],
)
def test_parts_that_the_model_lacks_are_named(change, message):
    model, _ = made()
    with pytest.raises(UserError, match=message):
        intervene(model, **change)


def test_parts_that_cannot_be_changed_are_named():
    bare, _ = made(pos_embed="none", pool="mean")
    with pytest.raises(UserError, match="has none to change"):
        intervene(bare, positions="off")
    with pytest.raises(UserError, match="no class token"):
        intervene(bare, forced=[0])

    class CustomPositions(Layer):
        pass

    custom = ViT(
        ViTConfig(**{**SIZES, "pos_embed": "none"}), positions=lambda rng, config: CustomPositions()
    )
    with pytest.raises(UserError, match="CustomPositions is a custom layer"):
        intervene(custom, positions="off")
    images = np.zeros((1, 3, 8, 12))
    with pytest.raises(UserError, match="patch 6"):
        cover_patches(images, [6], 4)
    with pytest.raises(UserError, match="patch 6"):
        blur_patches(images, [6], 4)
    with pytest.raises(UserError, match="an order of 1 patches; expected 6"):
        arrange_patches(images, [0], 4)
