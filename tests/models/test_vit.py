"""The model: names, memory layout, replicas, caches, masks, errors."""

import tracemalloc

import numpy as np
import pytest
from helpers import arrays_in, draw, relative_error

from minivit import RandomStream, UserError, ViT, ViTConfig
from minivit.engine.transfer import resize_positions
from minivit.functional import (
    cross_entropy_backward,
    cross_entropy_forward,
    rotary_axial,
    rotary_dinov3,
    sincos_2d,
)
from minivit.layers import Dropout, Identity, LayerNorm, RMSNorm
from minivit.layers.layer import ALIGNMENT
from minivit.models import MaskedViT

SMALL = {
    "image_size": (8, 12),
    "num_classes": 3,
    "dim": 8,
    "depth": 2,
    "num_heads": 2,
}
DROPS = {"dropout": 0.3, "attn_dropout": 0.3, "drop_path": 0.5}


def make(dtype="float64", **options):
    """A model with random weights: the initial ones (with a zero head) would hide mistakes."""
    model = ViT(ViTConfig(**{**SMALL, **options}), dtype=dtype)
    model.flat.data[...] = 0.3 * draw(3, model.flat.data.size)
    return model


def sample_images(B=4, dtype="float64"):
    return draw(0, B, 3, 8, 12).astype(dtype)


def test_parameter_names_match_timm():
    names = {name for name, _ in ViT(ViTConfig(**SMALL)).named_parameters()}
    block = {
        f"{layer}.{kind}"
        for layer in ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
        for kind in ("weight", "bias")
    }
    assert names == {
        "cls_token",
        "pos_embed",
        *(f"blocks.{i}.{name}" for i in range(2) for name in block),
        *(
            f"{layer}.{k}"
            for layer in ("patch_embed.proj", "norm", "head")
            for k in ("weight", "bias")
        ),
    }


def test_weights_are_initialized_as_in_the_papers_code():
    model = ViT(ViTConfig(dim=64, num_heads=4))
    p = dict(model.named_parameters())
    assert not p["cls_token"].data.any()
    assert not p["head.weight"].data.any()
    assert (p["norm.weight"].data == 1.0).all()
    assert p["pos_embed"].data.std() == pytest.approx(0.02, rel=0.05)
    registers = ViT(ViTConfig(num_registers=9)).reg_token.data
    assert registers.std() == pytest.approx(0.02, rel=0.1)
    limit = np.sqrt(6 / 128)  # for q, k and v separately, not for all three together
    assert 0.99 * limit < np.abs(p["blocks.0.attn.qkv.weight"].data).max() <= limit
    assert not np.array_equal(model.flat.data, ViT(model.config, seed=1).flat.data)
    np.testing.assert_array_equal(model.flat.data, ViT(model.config, seed=0).flat.data)


def test_the_decayed_parameters_come_first_in_the_flat_array():
    model = make()
    model.flat.data[...] = 0
    for _, p in model.named_parameters():
        p.data[...] = p.data.ndim
    flat = model.flat
    first, last = flat.data[: flat.num_decayed], flat.data[flat.num_decayed :]
    assert (first[first != 0] >= 2).all()  # zeros as padding between two parameters
    assert (last[last != 0] == 1).all()
    assert not flat.num_decayed % ALIGNMENT


@pytest.mark.parametrize("options", [{}, {"pool": "mean", "pos_embed": "sincos2d"}])
def test_a_replica_shares_weights_and_owns_gradients(options):
    model = make(**options)
    twin = model.replica()
    images = sample_images()
    assert np.shares_memory(twin.flat.data, model.flat.data)
    assert not np.shares_memory(twin.flat.grad, model.flat.grad)
    model.flat.data *= 0.5
    logits, cache = twin.forward(images)
    np.testing.assert_array_equal(logits, model(images))
    twin.backward(np.ones_like(logits), cache)
    assert twin.flat.grad.any()
    assert not model.flat.grad.any()
    for (name, parameter), (other, other_parameter) in zip(
        twin.named_parameters(), model.named_parameters(), strict=True
    ):
        assert name == other
        assert np.shares_memory(parameter.data, other_parameter.data)
        assert np.shares_memory(parameter.grad, twin.flat.grad)


@pytest.mark.parametrize("kind", [ViT, lambda config: MaskedViT(config, 5)])
def test_a_replica_takes_only_the_memory_of_its_gradients(kind):
    model = kind(ViTConfig(image_size=64, dim=64, depth=4, num_heads=4, pos_embed="sincos2d"))
    tracemalloc.start()
    twin = model.replica()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.5 * twin.flat.grad.nbytes
    assert twin.encoder.fixed_positions is model.encoder.fixed_positions


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_at_test_time_dropout_is_off(dtype):
    model, images = make(dtype, **DROPS), sample_images(dtype=dtype)
    logits, cache = model.forward(images)
    np.testing.assert_array_equal(logits, model(images))
    np.testing.assert_array_equal(logits, model.forward(images, stream=RandomStream(0))[0])
    assert cache.embed.drop is None
    without = make(dtype)
    np.testing.assert_array_equal(logits, without(images))
    trained, _ = model.forward(images, train=True, stream=RandomStream(0))
    assert np.abs(trained - logits).max() > 1e-3


def test_masks_differ_from_step_to_step_and_repeat_within_one():
    model, images = make(**DROPS), sample_images()
    first, again, later = (
        model.forward(images, train=True, stream=RandomStream(0, step))[0] for step in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - later).max() > 1e-3


def test_the_cache_contains_the_attention_map_of_every_block():
    _, cache = make().forward(sample_images())
    maps = [block.attn.probs for block in cache.blocks]
    assert [probs.shape for probs in maps] == [(4, 2, 7, 7)] * 2
    for probs in maps:
        np.testing.assert_allclose(probs.sum(-1), 1.0)
    assert cache.tokens.shape == (4, 7, 8)


def test_a_cache_can_be_used_for_one_backward_pass():
    model = make()
    logits, cache = model.forward(sample_images())
    model.backward(np.ones_like(logits), cache)
    assert cache.blocks == []
    with pytest.raises(UserError, match="run forward again"):
        model.backward(np.ones_like(logits), cache)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (np.zeros((2, 3, 12, 8)), ["(2, 3, 12, 8)", "(B, 3, 8, 12)"]),
        (np.zeros((2, 8, 12, 3)), ["(2, 8, 12, 3)", "(B, 3, 8, 12)"]),
        (np.zeros((3, 8, 12)), ["(3, 8, 12)"]),
        (np.zeros((2, 3, 8, 12), "float32"), ["float32", "float64"]),
        (np.zeros((2, 3, 8, 12), "uint8"), ["uint8", "normalize"]),
    ],
)
def test_images_that_do_not_fit_are_refused_in_one_line(images, words):
    model = make()
    for call in (model, model.forward):
        with pytest.raises(UserError) as raised:
            call(images)
        assert "\n" not in str(raised.value)
        assert [word for word in words if word not in str(raised.value)] == []


@pytest.mark.parametrize("rate", [*DROPS, "patch_dropout"])
def test_training_with_dropout_needs_a_stream(rate):
    with pytest.raises(UserError, match="RandomStream"):
        make(**{rate: 0.1}).forward(sample_images(), train=True)
    make().forward(sample_images(), train=True)  # nothing to draw, nothing needed


def masks_of(cache):
    yield cache.embed.drop
    for block in cache.blocks:
        yield from (block.attn.attention.mask, block.mlp.drop, *block.branch1, *block.branch2)


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_micro_batches_agree_with_the_whole_batch(pool):
    model, images, labels = make(pool=pool, **DROPS), sample_images(8), np.arange(8) % 3

    def run(rows, first):
        stream = RandomStream(5, 2, first)
        logits, cache = model.forward(images[rows], train=True, stream=stream)
        masks = list(masks_of(cache))
        _, loss_cache = cross_entropy_forward(logits, labels[rows])
        return (
            logits,
            masks,
            model.backward(cross_entropy_backward(len(logits) / 8, loss_cache), cache),
        )

    logits, masks, dimages = run(slice(8), 0)
    grad = model.flat.grad.copy()
    model.flat.zero_grad()
    parts = [run(slice(0, 4), 0), run(slice(4, 8), 4)]
    for whole, *pieces in zip(masks, parts[0][1], parts[1][1], strict=True):
        if whole is None:  # the first block's drop path has rate 0
            assert pieces == [None, None]
        else:
            np.testing.assert_array_equal(np.concatenate(pieces), whole)
    assert sum(mask is not None for mask in masks) == 11
    np.testing.assert_allclose(np.concatenate([p[0] for p in parts]), logits, atol=1e-12)
    np.testing.assert_allclose(np.concatenate([p[2] for p in parts]), dimages, atol=1e-12)
    assert relative_error(model.flat.grad, grad) < 1e-12


def test_images_do_not_affect_each_other():
    model, images = make(), sample_images()
    logits = model(images)
    _, cache = model.forward(images)
    assert np.abs(cache.blocks[1].attn.probs[0] - cache.blocks[1].attn.probs[1]).max() > 1e-3
    order = [3, 1, 0, 2]
    np.testing.assert_allclose(model(images[order]), logits[order], atol=1e-12)


def test_the_class_token_and_the_positions_get_gradients():
    model, images = make("float32"), sample_images(dtype="float32")
    logits, cache = model.forward(images)
    model.backward(np.ones_like(logits), cache)
    token, pos_embed = model.cls_token, model.pos_embed
    # the class token and its place enter as one sum, so they have one gradient
    np.testing.assert_allclose(token.grad[0, 0], pos_embed.grad[0, 0], rtol=1e-6)
    before = model(images)
    token.data -= 0.1 * token.grad
    assert (model(images).sum() < before.sum()).all()


@pytest.mark.parametrize(
    "options",
    [
        {"representation_size": 5},
        {"pool": "map", "pos_embed": "sincos2d"},
        {"pool": "seq", "num_registers": 2},
        {"pool": "mean", "pos_embed": "relative"},
        {"pool": "mean", "num_registers": 2, "rope": "axial", "embed_prefix": False},
        {"distilled": True, "qk_norm": True, "layer_scale": 0.1},
        {"distilled": True, "num_classes": 0},
    ],
)
def test_no_float64_leaks_into_a_float32_model(options):
    model, images = make("float32", **options, **DROPS), sample_images(dtype="float32")
    logits, cache = model.forward(images, train=True, stream=RandomStream(0))
    caches = [array for array in arrays_in(cache) if array.dtype.kind == "f"]
    dimages = model.backward(np.ones_like(logits), cache)
    found = [logits, dimages, model.flat.grad, *caches]
    assert {str(array.dtype) for array in found} == {"float32"}
    assert len(caches) > 40


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_drop_path_rises_from_block_to_block(depth):
    rates = [block.drop_path.rate for block in make(depth=depth, drop_path=0.4).blocks]
    expected = {1: [0.0], 2: [0.0, 0.4], 5: [0.0, 0.1, 0.2, 0.3, 0.4]}
    assert rates == pytest.approx(expected[depth])


@pytest.mark.parametrize(("norm", "kind"), [("layernorm", LayerNorm), ("rmsnorm", RMSNorm)])
def test_every_norm_has_the_configs_epsilon(norm, kind):
    model = make(norm=norm, norm_eps=1e-3, pool="map", qk_norm=True, pre_norm=True)
    norms = [layer for _, layer in model.named_layers() if isinstance(layer, kind)]
    assert [layer.eps for layer in norms] == [1e-3] * (1 + 2 * 4 + 1 + 1)


@pytest.mark.parametrize(
    ("rope", "angles", "half"),
    [
        ("axial", rotary_axial(2, 3, 4, 50.0, 5), False),
        ("axial_xy", rotary_axial(2, 3, 4, 50.0, 5, columns_first=True), False),
        ("dinov3", rotary_dinov3(2, 3, 4, 50.0), True),
    ],
)
def test_every_block_rotates_by_the_angles_of_the_config(rope, angles, half):
    for block in make(rope=rope, rope_theta=50.0, rope_grid=5).blocks:
        np.testing.assert_array_equal(block.attn.rotary[:2], angles)
        assert block.attn.rotary.half == half
    assert make().blocks[0].attn.rotary is None


class Doubled(Identity):
    """A custom layer."""


def test_custom_layers_are_named():
    model = make()
    assert model.own_layers == ()
    model.norm_pre = Doubled()
    assert model.own_layers == ("Doubled",)


def test_fixed_positions_are_found_if_there_are_any():
    model = make(pos_embed="sincos2d")
    assert model.fixed_positions.shape == (1, 7, 8)
    np.testing.assert_array_equal(model.fixed_positions[0, 1:], sincos_2d(2, 3, 8))
    assert not model.fixed_positions[0, 0].any()
    assert make().fixed_positions is None


@pytest.mark.parametrize("pool", ["cls", "mean", "seq", "map"])
def test_features_are_the_heads_input_and_tokens_the_last_norms_output(pool):
    model, images = make(pool=pool, num_registers=2, final_norm="tokens"), sample_images()
    logits, cache = model.forward(images)
    np.testing.assert_array_equal(model.tokens(images), cache.tokens)
    features = model.features(images)
    assert features.shape == (4, 8)
    np.testing.assert_array_equal(model.head.forward(features)[0], logits)
    seen, (tokens, _) = model.observe(images, lambda _: None)
    np.testing.assert_array_equal(seen, logits)
    np.testing.assert_array_equal(tokens, cache.tokens)


@pytest.mark.parametrize("num_classes", [0, 3])
def test_a_distilled_model_averages_two_heads(num_classes):
    model, images = make(distilled=True, num_classes=num_classes), sample_images()
    cls, dist, *_ = model.tokens(images).swapaxes(0, 1)
    np.testing.assert_allclose(model.features(images), (cls + dist) / 2, atol=1e-14)
    if num_classes:
        cls, dist = model.head.forward(cls)[0], model.head_dist.forward(dist)[0]
    logits, cache = model.forward(images)
    np.testing.assert_allclose(logits, (cls + dist) / 2, atol=1e-14)
    dlogits, step = draw(1, *logits.shape), 1e-5 * draw(2, *images.shape)
    change = (model(images + step) - model(images - step)) / 2
    found = (model.backward(dlogits, cache) * step).sum()
    assert found == pytest.approx((dlogits * change).sum(), rel=1e-6)


@pytest.mark.parametrize(("dtype", "bytes_per_weight"), [("float32", 8 + 4), ("float64", 8 + 8)])
def test_memory_is_needed_for_the_draws_and_the_weights(dtype, bytes_per_weight, monkeypatch):
    calls = []
    monkeypatch.setattr("minivit.models.vit.require_memory", lambda *args: calls.append(args))
    count = make(dtype).num_parameters
    assert calls == [(f"a model of {count:,} parameters", {"weights": bytes_per_weight * count})]


def test_backward_reports_when_the_gradients_of_a_block_are_ready():
    model, seen = make(depth=3), []

    def done(i):
        gradients = [block.mlp.fc1.weight.grad.any() for block in model.blocks]
        seen.append((i, gradients))

    logits, cache = model.forward(sample_images())
    model.backward(draw(1, *logits.shape), cache, done=done)
    assert seen == [(i, [j >= i for j in range(3)]) for i in (2, 1, 0)]


def test_of_all_stages_only_the_last_is_kept():
    images, peaks = draw(0, 64, 3, 8, 12), []
    for depth in (2, 30):
        model = make(depth=depth)
        tracemalloc.start()
        model(images)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_the_cache_of_every_block_is_available():
    model, images, maps = make(), sample_images(), []
    model.observe(images, lambda cache: maps.append(cache.attn.probs))
    _, cache = model.forward(images)
    np.testing.assert_array_equal(maps, [block.attn.probs for block in cache.blocks])


def test_the_gradients_of_all_maps_are_returned():
    model = make()
    logits, cache = model.forward(sample_images())
    dprobs = np.full((2, 4, 2, 7, 7), np.nan)
    model.backward(np.ones_like(logits), cache, dprobs)
    assert np.isfinite(dprobs).all()
    assert dprobs.any((1, 2, 3, 4)).all()


@pytest.mark.parametrize("embed_prefix", [True, False])
def test_custom_positions_draw_from_the_stream_in_training(embed_prefix):
    config = ViTConfig(**SMALL, pos_embed="none", embed_prefix=embed_prefix)
    model = ViT(config, positions=lambda rng, config: Dropout(0.5))
    for train in (False, True):
        stream = RandomStream(0)
        model.forward(sample_images(dtype="float32"), train, stream)
        assert stream.draws == train


def test_gradients_of_two_backward_passes_add_up():
    model = make(distilled=True, num_registers=2)
    for _ in range(2):
        once = model.flat.grad.copy()
        logits, cache = model.forward(sample_images())
        model.backward(np.ones_like(logits), cache)
    np.testing.assert_allclose(model.flat.grad, 2.0 * once, atol=1e-12)
    gradients = model.flat.views(model.flat.grad)
    assert all(gradients[name].any() for name in ("cls_token", "dist_token", "reg_token"))


# Images of another size


@pytest.mark.parametrize("options", [{}, {"pool": "mean", "num_registers": 2}])
def test_at_another_size_positions_are_interpolated(options):
    model = make(**options)
    other = ViT(ViTConfig(**{**SMALL, "image_size": (12, 16), **options}), dtype="float64")
    views, other_views = (m.flat.views(m.flat.data) for m in (model, other))
    for name in views:
        other_views[name][...] = views[name] if name != "pos_embed" else 0
    other_views["pos_embed"][...] = resize_positions(views["pos_embed"], model.config, other.config)
    images = draw(0, 4, 3, 12, 16)
    np.testing.assert_allclose(model.at((12, 16))(images), other(images), rtol=1e-12)


def test_at_another_size_gradients_reach_the_models_own_parameters():
    model, dlogits = make(), draw(1, 4, 3)
    model.flat.zero_grad()
    small = model.at((4, 8))
    assert small.at((4, 8)) is small
    _, cache = small.forward(draw(0, 4, 3, 4, 8))
    small.backward(dlogits, cache)
    grads = model.flat.views(model.flat.grad)
    assert all(grads[name].any() for name in ("pos_embed", "patch_embed.proj.weight", "cls_token"))
    # every patch has one gradient, spread over the positions it was interpolated from
    np.testing.assert_allclose(
        grads["pos_embed"][0, 1:].sum(0), grads["patch_embed.proj.bias"], rtol=1e-9
    )


def test_sinusoidal_positions_are_interpolated_too():
    model = make(pos_embed="sincos2d")
    pos_embed = model.at((16, 24)).fixed_positions
    assert pos_embed.shape == (1, 1 + 4 * 6, 8)
    assert not pos_embed[:, :1].any()
    assert model.fixed_positions.shape == (1, 1 + 2 * 3, 8)  # its own are unchanged


@pytest.mark.parametrize("options", [{"pos_embed": "relative"}, {"rope": "axial", "dim": 16}])
def test_position_aware_attention_refuses_another_size(options):
    with pytest.raises(UserError, match="positions can be interpolated only if minivit adds them"):
        make(**options).at((4, 8))


def test_patch_dropout_needs_positions_that_are_added():
    with pytest.raises(UserError, match="patch_dropout needs positions that are added"):
        ViTConfig(patch_dropout=0.5, pos_embed="relative")


def test_patch_dropout_is_only_active_in_training():
    model, images = make(patch_dropout=0.5), sample_images()
    expected, _ = model.forward(images)
    _, cache = model.forward(images, train=True, stream=RandomStream(0))
    assert cache.tokens.shape == (4, 1 + 3, 8)
    np.testing.assert_array_equal(expected, make()(images))
