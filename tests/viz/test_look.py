"""A `Look` at a model: what it records, and that it does not disturb the model."""

import numpy as np
import pytest
import tiny
from helpers import draw

from minivit.errors import UserError
from minivit.models import ViT, ViTConfig
from minivit.viz.look import look
from minivit.viz.methods import METHODS, method

CONFIG = ViTConfig(image_size=(8, 12), patch_size=4, num_classes=3, dim=8, depth=3, num_heads=2)
PREFIXES: dict[str, dict] = {
    "class token": {},
    "none": {"pool": "mean"},
    "registers": {"pool": "mean", "num_registers": 2},
    "class token, registers": {"num_registers": 3, "embed_prefix": False},
    "two class tokens": {"distilled": True},
    "two class tokens, registers": {"distilled": True, "num_registers": 2},
}
"""Models by what comes before their patches."""


def model(**changes):
    fields = {**vars(CONFIG), **changes}
    return tiny.randomize(ViT(ViTConfig(**fields), dtype="float64"))


def test_maps_are_in_the_order_of_the_blocks():
    one, images = model(), draw(0, 2, 3, 8, 12)
    seen = look(one, images)
    logits, cache = one.forward(images)
    np.testing.assert_array_equal(seen.logits, logits)
    np.testing.assert_array_equal(seen.classes, logits.argmax(-1))
    assert seen.maps.shape == (3, 2, 2, 7, 7)
    for layer, block in enumerate(cache.blocks):
        np.testing.assert_array_equal(seen.maps[layer], block.attn.probs)
    np.testing.assert_allclose(seen.maps.sum(-1), 1.0)
    assert seen.tokens.shape == (4, 2, 7, 8)
    assert seen.dmaps is None


def test_images_do_not_affect_each_other():
    one, images = model(), draw(0, 3, 3, 8, 12)
    together = look(one, images, gradients=True)
    for i in range(3):
        alone = look(one, images[i : i + 1], gradients=True)
        np.testing.assert_allclose(together.maps[:, i], alone.maps[:, 0])
        np.testing.assert_allclose(together.dmaps[:, i], alone.dmaps[:, 0])
    assert np.abs(together.maps[:, 0] - together.maps[:, 1]).max() > 1e-3


@pytest.mark.parametrize("changes", PREFIXES.values(), ids=PREFIXES)
def test_gradients_of_maps_against_finite_differences(changes, monkeypatch):
    """A small change to one weight of one map changes the class logit as its gradient predicts."""
    one, images = model(**changes), draw(0, 2, 3, 8, 12)
    classes = np.array([2, 0])
    seen = look(one, images, classes, gradients=True)
    from minivit.functional import attention

    softmax, nudge = attention.softmax_forward, 1e-6
    rng = np.random.default_rng(0)
    for layer, image in ((0, 0), (1, 1), (2, 0)):
        index = tuple(int(rng.integers(n)) for n in seen.maps.shape[2:])
        moved = []
        for sign in (1, -1):
            calls = iter(range(3))

            def perturbed(scores, calls=calls, sign=sign, layer=layer, at=(image, *index)):
                probs, cache = softmax(scores)
                if next(calls) == layer:
                    probs[at] += sign * nudge
                return probs, cache

            monkeypatch.setattr(attention, "softmax_forward", perturbed)
            moved.append(one(images)[image, classes[image]])
            monkeypatch.setattr(attention, "softmax_forward", softmax)
        slope = (moved[0] - moved[1]) / (2 * nudge)
        assert seen.dmaps[(layer, image, *index)] == pytest.approx(slope, rel=1e-5, abs=1e-9)


def test_gradients_with_dropout_refer_to_the_map_before_dropout():
    from minivit.functional import attention_backward, attention_forward

    q, k, v, dout = (draw(i, 1, 1, 3, 2) for i in range(4))
    mask = np.array([[[[2.0, 0.0, 2.0], [2.0, 2.0, 2.0], [0.0, 2.0, 0.0]]]])
    _, cache = attention_forward(q, k, v, mask)
    dprobs = np.empty((1, 1, 3, 3))
    attention_backward(dout, cache, dprobs=dprobs)
    np.testing.assert_allclose(dprobs, (dout @ v.swapaxes(-1, -2)) * mask)


def test_the_model_is_unchanged():
    one, images = model(), draw(0, 2, 3, 8, 12)
    one.flat.grad[...] = 7.0
    weights, pixels = one.flat.data.copy(), images.copy()
    look(one, images, gradients=True)
    assert (one.flat.grad == 7.0).all()
    np.testing.assert_array_equal(one.flat.data, weights)
    np.testing.assert_array_equal(images, pixels)


def test_an_untrained_head_is_refused():
    with pytest.raises(UserError, match="train the model"):
        look(ViT(CONFIG), draw(0, 1, 3, 8, 12).astype(np.float32), gradients=True)


def test_a_resnet_has_no_attention_to_look_at():
    one = ViT(ViTConfig(image_size=8, dim=64, depth=0, stem="resnet"))
    with pytest.raises(UserError, match="no attention"):
        look(one, draw(0, 1, 3, 8, 8).astype(np.float32))


@pytest.mark.parametrize("changes", PREFIXES.values(), ids=PREFIXES)
@pytest.mark.parametrize("name", METHODS)
def test_every_method_gives_a_map_with_contrast_for_each_image(name, changes):
    one = model(**changes)
    seen = look(one, draw(0, 2, 3, 8, 12), gradients=True)
    maps = method(name)(seen, one.config)
    assert maps.shape == (2, 2, 3)
    assert (maps >= 0).all()
    assert (np.ptp(maps, axis=(1, 2)) > 0).all()
    assert not np.allclose(maps[0], maps[1])


def softmax_matrices(one, images):
    """The mean over the heads (L, N, T, T), from the weights, one image and one head at a time."""
    _, cache = one.forward(images)
    D, layers = one.config.dim // one.config.num_heads, []
    for block, block_cache in zip(one.blocks, cache.blocks, strict=True):
        x = block_cache.norm1.xhat * block.norm1.weight.data + block.norm1.bias.data
        q, k, _ = np.split(x @ block.attn.qkv.weight.data + block.attn.qkv.bias.data, 3, -1)
        heads = []
        for start in range(0, one.config.dim, D):
            shown = slice(start, start + D)
            scores = np.exp(q[..., shown] @ k[..., shown].swapaxes(1, 2) / np.sqrt(D))
            heads.append(scores / scores.sum(-1, keepdims=True))
        layers.append(np.mean(heads, 0))
    return np.stack(layers)


@pytest.mark.parametrize("name", PREFIXES)
def test_maps_are_taken_from_the_softmax_over_all_tokens(name):
    """The six patches are the last tokens; two class tokens count half each."""
    one, images = model(**PREFIXES[name]), draw(0, 2, 3, 8, 12)
    layers, seen = softmax_matrices(one, images), look(one, images)
    rolled_out = identity = np.eye(one.config.num_tokens)
    for layer in layers:
        rolled_out = (layer + identity) / 2 @ rolled_out
    queries = {"class token": [0], "two class tokens": [0, 1]}.get(
        name.partition(",")[0], range(-6, 0)
    )
    for how, joint in (("attention", layers[-1]), ("rollout", rolled_out)):
        expected = sum(joint[:, token, -6:] for token in queries) / len(queries)
        found = method(how)(seen, one.config)
        np.testing.assert_allclose(found, expected.reshape(2, 2, 3), rtol=1e-9)


def test_a_method_without_gradients_says_what_it_needs():
    one = model()
    seen = look(one, draw(0, 1, 3, 8, 12))
    for name in ("relevance", "gradient-rollout", "input-gradient"):
        with pytest.raises(UserError, match="gradients=True"):
            method(name)(seen, one.config)
    with pytest.raises(UserError, match="rollout"):
        method("lime")
