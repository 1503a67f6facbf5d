"""The fused step, run on a CPU by the kernels that g++ builds, beside the model in float64."""

import numpy as np
import pytest
from cuda import philox
from cuda.device_on_cpu import OnCpu
from cuda.lt_on_cpu import LtOnCpu
from cuda.on_cpu import from_bf16, to_bf16

from minivit.data import Field
from minivit.engine.fused import FusedStep
from minivit.errors import UserError
from minivit.functional import cross_entropy_backward, cross_entropy_forward, patchify_forward
from minivit.models import ViT, ViTConfig
from minivit.optim import AdamW, clip_by_global_norm

SMALL = {"image_size": 8, "patch_size": 2, "num_classes": 5, "dim": 32, "depth": 2, "num_heads": 2}
KINDS = {
    "mean, sines, tanh": {"pool": "mean", "pos_embed": "sincos2d", "activation": "gelu_tanh"},
    "class token, learned, exact": {},
    "dropout everywhere": {"dropout": 0.3, "attn_dropout": 0.2, "drop_path": 0.5, "pool": "mean"},
}
PLAIN, EPILOGUES = "plain products", "products with epilogues"
LABELS, SEED, STEP = np.array([4, 0, 2], np.int32), (7 << 32) + 11, 3


class Masks:
    """In place of a `RandomStream`: the numbers that the kernels draw, in the model's order."""

    def __init__(self, config):
        C, F, T = config.dim, config.hidden, config.num_tokens
        order = [(0, (3, T, C))]
        for i in range(config.depth):
            shapes = [(3, config.num_heads, T, T), (3, T, C), (3,), (3, T, F), (3, T, C), (3,)]
            sites = [1 + 6 * i + use for use in range(6)]
            order += [
                draw for draw in zip(sites, shapes, strict=True) if i or draw[1] != (3,)
            ]  # the first block's path is never dropped
        self.order = iter(order)

    def uniform(self, shape):
        where, expected = next(self.order)
        assert shape == expected
        # the kernels drop what lies below the rate, the pairs what lies above 1 - rate
        return 1.0 - 2.0**-25 - philox.uniform(SEED, STEP, where, shape)


def prepare(options, device=None):
    """A model in float64 whose weights are bf16's, a batch, and the step that shall do the same."""
    config = ViTConfig(**{**SMALL, **options})
    model, single = ViT(config, dtype="float64"), ViT(config)
    rng = np.random.default_rng(0)
    twins = zip(model.named_parameters(), single.named_parameters(), strict=True)
    for (_, parameter), (_, twin) in twins:
        parameter.data[...] = from_bf16(to_bf16(0.3 * rng.standard_normal(parameter.data.shape)))
        twin.data[...] = parameter.data
    images = from_bf16(to_bf16(rng.standard_normal((3, 3, 8, 8)))).astype(float)
    step = FusedStep(single, 3, device or OnCpu())
    step.round_weights()
    patches, _ = patchify_forward(images, 2)
    step.patches[...] = to_bf16(patches.reshape(step.patches.shape))
    step.draws[[Field.FIRST, Field.SECOND]] = LABELS
    step.draws[Field.KEPT] = np.ones(3, np.float32).view(np.int32)
    step.key[...] = (SEED & 0xFFFFFFFF, SEED >> 32, STEP)
    return model, images, step


@pytest.mark.parametrize("products", [PLAIN, EPILOGUES])
@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_loss_gradients_and_update(options, products):
    library = LtOnCpu() if products == EPILOGUES else None
    model, images, step = prepare(options, OnCpu(library))
    logits, cache = model.forward(images, True, Masks(model.config))
    loss, loss_cache = cross_entropy_forward(logits, LABELS)
    model.backward(cross_entropy_backward(1.0, loss_cache), cache)
    step.flat.grad[...] = np.nan  # is all written
    step.forward(train=True)
    step.loss()
    step.backward()
    scale = np.abs(logits).max()
    np.testing.assert_allclose(from_bf16(step.logits), logits, atol=2e-2 * scale, rtol=0)
    assert step.sums[0] == pytest.approx(loss, rel=2e-2)
    assert step.sums[1] == (logits.argmax(1) == LABELS).sum()
    for name, parameter in model.named_parameters():
        found, right = step.d[name], parameter.grad
        error = np.linalg.norm(found - right) / max(np.linalg.norm(right), 1e-3)
        assert error < 3e-2, name
    if library:
        tanh = options.get("activation") == "gelu_tanh"
        assert {164, 192} <= set(library.done) if tanh else not {164, 192} & set(library.done)
        assert 256 in library.done

    step.state[...] = (0.01, 1 - 0.9, 1 - 0.95)
    optimizer, ours = (
        AdamW(flat, (0.9, 0.95), weight_decay=0.1) for flat in (model.flat, step.flat)
    )
    model.flat.grad[...] = step.flat.grad
    step.update(ours, 0.5)
    clip_by_global_norm(model.flat.grad, 0.5)
    optimizer.step(0.01)
    np.testing.assert_allclose(step.flat.data, model.flat.data, atol=1e-5)
    np.testing.assert_array_equal(step.weights, to_bf16(step.flat.data))


def test_where_cublaslt_knows_no_epilogue_the_kernels_serve():
    options = KINDS["mean, sines, tanh"]
    gradients = []
    for epilogues in ((1, 4), (1, 4, 164, 192, 256)):
        library = LtOnCpu(epilogues)
        _, _, step = prepare(options, OnCpu(library))
        step.forward(train=True)
        step.loss()
        step.backward()
        assert set(library.done) <= set(epilogues)
        gradients.append(step.flat.grad.copy())
    error = np.linalg.norm(gradients[0] - gradients[1]) / np.linalg.norm(gradients[0])
    assert 0 < error < 1e-2


def test_the_map_that_can_be_asked_for():
    model, images, step = prepare(KINDS["mean, sines, tanh"])
    _, cache = model.forward(images)
    step.forward()
    T = model.config.num_tokens
    for i, block in enumerate(cache.blocks):
        found = np.zeros((3, 2, T, T), np.float32)
        step.attention_map(i, found)
        np.testing.assert_allclose(found.sum(-1), 1, rtol=1e-4)
        np.testing.assert_allclose(found, block.attn.probs, atol=2e-2)


def test_at_rest_nothing_is_dropped():
    model, images, step = prepare(KINDS["dropout everywhere"])
    step.forward()
    logits = model(images)
    scale = np.abs(logits).max()
    np.testing.assert_allclose(from_bf16(step.logits), logits, atol=2e-2 * scale, rtol=0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"stem": "conv"}, "stem conv"),
        ({"pool": "seq"}, "sequence pooling"),
        ({"num_heads": 4}, "heads of 8 numbers"),
    ],
)
def test_what_there_is_no_kernel_for(options, words):
    with pytest.raises(UserError, match=words):
        FusedStep(ViT(ViTConfig(**{**SMALL, **options})), 3, OnCpu())


def test_philox_gives_its_authors_numbers():
    """Random123's known answers for philox4x32-10: counter and key all zeros, all ones."""
    zeros = philox.words(0, 0, 0, np.array([0]))[0]
    assert [f"{word:08x}" for word in zeros] == ["6627e8d5", "e169c58d", "bc57ac4c", "9b00dbd8"]
    ones = philox.words(2**64 - 1, 2**32 - 1, 2**32 - 1, np.array([2**64 - 1], np.uint64))[0]
    assert [f"{word:08x}" for word in ones] == ["408f276d", "41c83b0e", "a20bc7c6", "6d5451fd"]
