"""The masked model: what it sees, what it predicts, and the target colors."""

import numpy as np
import pytest
import tiny
from helpers import draw

from minivit.backend import RandomStream
from minivit.backend.random import Purpose, generator
from minivit.models import MaskedViT, ViT, ViTConfig, patch_colours, trace
from minivit.models.summary import rows
from minivit.viz import look

SIZES = {"image_size": (8, 12), "num_classes": 3, "dim": 8, "depth": 2, "num_heads": 2}


def model(pool="cls", outputs=5, **changes):
    config = ViTConfig(**{**SIZES, "pool": pool, **changes})
    return tiny.randomize(MaskedViT(config, outputs, dtype="float64"))


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_masked_patches_are_not_seen(pool):
    """Changing pixels under the mask has no effect; changing other pixels does."""
    masked_vit, images = model(pool), draw(0, 2, 3, 8, 12)
    predicted, cache = masked_vit.forward(images, stream=RandomStream(3))
    assert predicted.shape == (2, 3, 5)
    hidden = cache.corruption
    visible = ~np.isin(np.arange(6), hidden.chosen[0])
    for seen, which in ((False, hidden.masked[0] > 0), (True, visible)):
        patches = np.flatnonzero(which)
        for patch in patches:
            if hidden.selection[0, :, patch].any() != seen:
                continue  # it replaces another patch or is replaced itself
            row, column = divmod(int(patch), 3)
            other = images.copy()
            other[0, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 1.0
            again, _ = masked_vit.forward(other, stream=RandomStream(3))
            assert (np.abs(again[0] - predicted[0]).max() > 1e-6) == seen
            np.testing.assert_array_equal(again[1], predicted[1])


def test_the_hidden_patches_depend_only_on_the_stream():
    masked_vit, images = model(), draw(0, 2, 3, 8, 12)
    first, again, other = (
        masked_vit.forward(images, stream=RandomStream(seed))[1].corruption.chosen
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    _, without = masked_vit.forward(images)
    np.testing.assert_array_equal(without.corruption.chosen, first)
    second, _ = masked_vit.forward(images[1:], stream=RandomStream(0, 0, first=1))
    np.testing.assert_allclose(second[0], masked_vit.forward(images, stream=RandomStream(0))[0][1])


def test_the_encoder_matches_a_vit():
    """Same names and shapes, so fine-tuning can load them."""
    names = {name: p.data.shape for name, p in model().named_parameters()}
    vit = {name: p.data.shape for name, p in ViT(ViTConfig(**SIZES)).named_parameters()}
    extra = {"mask_token": (1, 1, 8), "decoder.weight": (8, 5), "decoder.bias": (5,)}
    assert names == vit | extra


def test_colors_by_hand():
    pixels = np.zeros((1, 3, 4, 8))
    pixels[0, 0, :, 4:] = 1.0  # the right patch is red
    pixels[0, 2, :2, 4:6] = 0.5  # except for its upper left quarter, which is purple
    np.testing.assert_array_equal(patch_colours(pixels, 4, 1), [[[0], [7 * 64 + 1]]])
    cells = patch_colours(pixels, 4, 2)
    np.testing.assert_array_equal(cells[0, 1], [7 * 64 + 4, 7 * 64, 7 * 64, 7 * 64])
    assert patch_colours(np.ones((1, 3, 4, 4)), 4, 4).tolist() == [[[511] * 16]]


def test_every_cell_keeps_its_position():
    pixels = np.random.default_rng(0).random((2, 3, 8, 12))
    cells = patch_colours(pixels, 4, 4).reshape(2, 2, 3, 4, 4)
    for b, r, c, y, x in np.ndindex(2, 2, 3, 4, 4):
        red, green, blue = (pixels[b, :, 4 * r + y, 4 * c + x] * 8).astype(int)
        assert cells[b, r, c, y, x] == 64 * red + 8 * green + blue


def test_it_contains_a_complete_vit():
    """Summary, trace and attention maps work for the masked model and for its encoder."""
    masked_vit = model()
    images = draw(0, 2, 3, 8, 12)
    assert sum(row.parameters for row in rows(masked_vit)) == masked_vit.num_parameters
    assert f"{masked_vit.num_parameters:,}" in masked_vit.summary()
    assert f"{masked_vit.vit.num_parameters:,}" in masked_vit.vit.summary()
    for found in (
        look(masked_vit, images, gradients=True),
        look(masked_vit.vit, images, gradients=True),
    ):
        assert found.maps.shape == (2, 2, 2, 7, 7)
        assert found.dmaps.any()
    for name in ("blocks.1.attn.probs", "decoder", "loss", "dmask_token", "blocks.0.dx"):
        assert trace(masked_vit, images[0]).only(name)
    assert trace(masked_vit.vit, images[0])["head"].array.shape == (1, 3)


def test_the_encoder_has_the_same_weights_and_gradients():
    masked_vit = model()
    names = dict(masked_vit.named_parameters())
    for name, parameter in masked_vit.vit.named_parameters():
        assert parameter is names[name]
    masked_vit.flat.data[...] += 1.0
    for flat in (masked_vit.flat, masked_vit.vit.flat):
        for name, view in flat.views(flat.data).items():
            np.testing.assert_array_equal(view, names[name].data)
    assert "decoder.weight" not in masked_vit.vit.flat.shapes


def test_a_replica_shares_weights_and_no_gradients():
    masked_vit = model()
    twin = masked_vit.replica()
    assert np.shares_memory(twin.flat.data, masked_vit.flat.data)
    assert not np.shares_memory(twin.flat.grad, masked_vit.flat.grad)
    assert twin.vit.flat.grad is twin.flat.grad
    dout, cache = twin.forward(draw(0, 2, 3, 8, 12))
    twin.backward(dout, cache)
    assert twin.flat.grad.any()
    assert not masked_vit.flat.grad.any()
    shared = [np.shares_memory(p.grad, twin.flat.grad) for _, p in twin.named_parameters()]
    assert all(shared)


def test_it_starts_like_the_vit_with_its_seed_and_a_small_mask_token():
    config = ViTConfig(dim=1024, depth=1, num_heads=4)
    parameters = dict(MaskedViT(config, 7, seed=3).named_parameters())
    for name, parameter in ViT(config, seed=3).named_parameters():
        np.testing.assert_array_equal(parameters[name].data, parameter.data)
    token = parameters["mask_token"].data.ravel()
    assert token.mean() == pytest.approx(0.0, abs=0.02 * 4 / 32)
    assert token.std() == pytest.approx(0.02, rel=4 / np.sqrt(2 * 1024))
    others = [generator(3, purpose).standard_normal(1024) for purpose in Purpose]
    correlation = np.corrcoef([*parameters["pos_embed"].data[0, :2], *others], token)[-1, :-1]
    assert np.abs(correlation).max() < 0.2, "no number is used twice, for whatever purpose"


def test_its_seed_is_zero_by_default():
    config = ViTConfig(**SIZES)
    np.testing.assert_array_equal(MaskedViT(config, 5).flat.data, MaskedViT(config, 5, 0).flat.data)
    assert (MaskedViT(config, 5, 1).flat.data != MaskedViT(config, 5, 0).flat.data).any()


def test_all_initial_weights_depend_on_the_seed():
    config = ViTConfig(**SIZES)
    parameters, other = (dict(MaskedViT(config, 5, seed).named_parameters()) for seed in (0, 1))
    for name in ("patch_embed.proj.weight", "mask_token", "decoder.weight"):
        assert (parameters[name].data != other[name].data).all(), name


def test_the_encoder_is_built_with_the_seed_dtype_and_device_of_the_model():
    calls = []

    def build(config, **options):
        calls.append(options)
        return ViT(config, **options)

    masked_vit = MaskedViT(ViTConfig(**SIZES), 5, 3, "float64", "cpu", build)
    assert calls == [{"seed": 3, "dtype": "float64", "device": "cpu"}]
    for name, parameter in ViT(ViTConfig(**SIZES), 3, "float64").named_parameters():
        np.testing.assert_array_equal(
            dict(masked_vit.named_parameters())[name].data, parameter.data
        )


@pytest.mark.parametrize("rate", ["dropout", "attn_dropout", "drop_path"])
def test_dropout_is_active_only_in_training(rate):
    images, stream = draw(0, 4, 3, 8, 12), RandomStream(3)
    evaluation, _ = model(**{rate: 0.5}).forward(images, stream=stream)
    np.testing.assert_array_equal(evaluation, model().forward(images, stream=RandomStream(3))[0])
    trained, _ = model(**{rate: 0.5}).forward(images, True, RandomStream(3))
    assert np.abs(trained - evaluation).max() > 1e-6
