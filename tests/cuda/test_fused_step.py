"""The fused step, run on a CPU with kernels compiled by g++, against the model in float64."""

import dataclasses

import numpy as np
import pytest
from cuda import philox
from cuda.device_on_cpu import OnCpu
from cuda.lt_on_cpu import LtOnCpu

from minivit.backend import to_host
from minivit.backend.cuda import from_bf16, to_bf16
from minivit.data import Field
from minivit.engine.fused import KERNELS, FusedStep, require_kernels
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
LABELS, SEED, STEP = np.array([4, 0, 2], np.int32), (7 << 32) + 11, 3


class Masks:
    """Replaces a `RandomStream`: the numbers that the kernels draw, in the model's order."""

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
        # the kernels drop numbers below the rate, the NumPy functions those above 1 - rate
        return 1.0 - 2.0**-25 - philox.uniform(SEED, STEP, where, shape)


def prepare(options, device):
    """A float64 model with bf16 weights, a batch, and the fused step that must give the same
    result."""
    config = ViTConfig(**{**SMALL, **options})
    model = ViT(config, dtype="float64")
    single = ViT(config, device="cpu" if isinstance(device, OnCpu) else "cuda")
    rng = np.random.default_rng(0)
    for _, parameter in model.named_parameters():
        parameter.data[...] = from_bf16(to_bf16(0.3 * rng.standard_normal(parameter.data.shape)))
    device.upload(single.flat.data, model.flat.data.astype(np.float32))
    images = from_bf16(to_bf16(rng.standard_normal((3, 3, 8, 8)))).astype(float)
    step = FusedStep(single, 3, device)
    step.round_weights()
    patches, _ = patchify_forward(images, 2)
    device.upload(step.patches, to_bf16(patches.reshape(step.patches.shape)))
    set_inputs(step)
    return model, images, step


def part_of(step, rows):
    """The step of a rank that computes some rows of the given step's batch."""
    single = ViT(step.config)
    single.flat.data[...] = step.flat.data
    part = FusedStep(single, 3, step.device, rows=rows)
    part.round_weights()
    patches = step.device.download(step.patches).reshape(3, -1)
    step.device.upload(part.patches, patches[rows.start : rows.stop].reshape(part.patches.shape))
    set_inputs(part)
    return part


def set_inputs(step, state=(0.0, 1.0, 1.0)):
    """Labels, key and state, in one copy as in training."""
    host = np.zeros(step.inputs.shape, np.int32)
    draws = host[:-7].reshape(len(Field), 3)
    draws[[Field.FIRST, Field.SECOND]] = LABELS
    draws[Field.KEPT] = np.ones(3, np.float32).view(np.int32)
    key = [SEED & 0xFFFFFFFF, SEED >> 32, STEP, step.rows.start]
    host[-7:-3] = np.array(key, np.uint32).view(np.int32)
    host[-3:] = np.array(state, np.float32).view(np.int32)
    step.device.upload(step.inputs, host)


def logits_of(step):
    return from_bf16(step.device.download(step.logits))


def close_to(found, expected):
    np.testing.assert_allclose(found, expected, atol=2e-2 * np.abs(expected).max(), rtol=0)


def gradients_of(step):
    """forward, loss, backward; the gradients by name, on the host."""
    step.flat.grad[...] = np.nan  # backward must write every gradient
    step.forward(train=True)
    step.loss()
    step.backward()
    return step.flat.host_views(step.flat.grad)


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_loss_gradients_and_update(device, options):
    model, images, step = prepare(options, device)
    logits, cache = model.forward(images, True, Masks(model.config))
    loss, loss_cache = cross_entropy_forward(logits, LABELS)
    model.backward(cross_entropy_backward(1.0, loss_cache), cache)
    gradients = gradients_of(step)
    close_to(logits_of(step), logits)
    found = device.download(step.sums)
    assert found[0] == pytest.approx(loss, rel=2e-2)
    assert found[1] == (logits.argmax(1) == LABELS).sum()
    for name, parameter in model.named_parameters():
        expected = parameter.grad
        error = np.linalg.norm(gradients[name] - expected) / max(np.linalg.norm(expected), 1e-3)
        assert error < 3e-2, name

    set_inputs(step, (0.01, 1 - 0.9, 1 - 0.95))
    optimizer, kernel_optimizer = (
        AdamW(flat, (0.9, 0.95), weight_decay=0.1) for flat in (model.flat, step.flat)
    )
    model.flat.grad[...] = to_host(step.flat.grad)
    step.update(kernel_optimizer, 0.5)
    clip_by_global_norm(model.flat.grad, 0.5)
    optimizer.step(0.01)
    trained = to_host(step.flat.data)
    np.testing.assert_allclose(trained, model.flat.data, atol=1e-5)
    np.testing.assert_array_equal(device.download(step.weights), to_bf16(trained))


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_the_gradients_of_ranks_add_up_to_those_of_one_process(options):
    _, _, step = prepare(options, OnCpu(LtOnCpu()))
    whole, sums = gradients_of(step), step.sums.copy()
    whole = {name: gradient.copy() for name, gradient in whole.items()}
    added, added_sums = dict.fromkeys(whole, 0.0), 0.0
    for rows in (range(1), range(1, 3)):
        part = part_of(step, rows)
        for name, gradient in gradients_of(part).items():
            added[name] = added[name] + gradient
        added_sums = added_sums + part.sums
    np.testing.assert_allclose(added_sums, sums, rtol=1e-6)
    for name, expected in whole.items():
        error = np.linalg.norm(added[name] - expected) / max(np.linalg.norm(expected), 1e-3)
        assert error < 1e-5, name


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_running_twice_gives_the_same_bits(device, options):
    _, _, step = prepare(options, device)
    first, second = gradients_of(step), gradients_of(step)
    for name, found in second.items():
        np.testing.assert_array_equal(found, first[name], name)


def test_a_replay_gives_the_same_result_as_the_function(device):
    _, _, step = prepare(KINDS["class token, learned, exact"], device)
    first = gradients_of(step)

    def whole():
        step.forward(train=True)
        step.loss()
        step.backward()

    again = device.replay(whole)
    for _ in range(3):  # called, captured, replayed
        step.flat.grad[...] = np.nan
        again()
        for name, found in step.flat.host_views(step.flat.grad).items():
            np.testing.assert_array_equal(found, first[name], name)


def test_a_product_applies_gelu_only_where_supported():
    for options in KINDS.values():
        library = LtOnCpu()
        _, _, step = prepare(options, OnCpu(library))
        gradients_of(step)
        known = options.get("activation") == "gelu_tanh"
        assert ({164, 192} <= set(library.done)) == known
        assert 256 in library.done


def test_gelu_uses_its_own_kernel_if_rows_are_not_a_multiple_of_eight():
    library = LtOnCpu()
    _, _, step = prepare({**KINDS["mean, sines, tanh"], "mlp_ratio": 1.125}, OnCpu(library))
    gradients_of(step)
    assert not {164, 192} & set(library.done)


def test_more_tokens_than_fit_in_shared_memory_are_refused():
    config = ViTConfig(**{**SMALL, "image_size": 128, "num_heads": 1, "dim": 64})
    with pytest.raises(UserError, match="attention over 4097 tokens needs"):
        FusedStep(ViT(config), 1, OnCpu())


def test_without_cublaslt_epilogues_the_kernels_are_used():
    options = KINDS["mean, sines, tanh"]
    found = []
    for epilogues in ((1, 4), (1, 4, 164, 192, 256)):
        library = LtOnCpu(epilogues)
        _, _, step = prepare(options, OnCpu(library))
        gradients_of(step)
        assert set(library.done) <= set(epilogues)
        found.append(step.flat.grad.copy())
    error = np.linalg.norm(found[0] - found[1]) / np.linalg.norm(found[0])
    assert 0 < error < 1e-2


def test_the_attention_map_can_be_requested(device):
    model, images, step = prepare(KINDS["mean, sines, tanh"], device)
    _, cache = model.forward(images)
    step.forward()
    T = model.config.num_tokens
    for i, block in enumerate(cache.blocks):
        array = device.zeros((3, 2, T, T), "float32")
        step.attention_map(i, array)
        found = device.download(array)
        np.testing.assert_allclose(found.sum(-1), 1, rtol=1e-4)
        np.testing.assert_allclose(found, block.attn.probs, atol=2e-2)


def test_nothing_is_dropped_in_evaluation(device):
    model, images, step = prepare(KINDS["dropout everywhere"], device)
    step.forward()
    close_to(logits_of(step), model(images))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"stem": "conv"}, "stem conv"),
        ({"pool": "seq"}, "pool seq"),
        ({"num_heads": 4}, "heads of 8 numbers"),
    ],
)
def test_options_without_a_kernel_are_refused(options, words):
    with pytest.raises(UserError, match=words):
        FusedStep(ViT(ViTConfig(**{**SMALL, **options})), 3, OnCpu())


OTHER = {
    "image_size": 16, "patch_size": 2, "in_channels": 1, "num_classes": 7, "dim": 64, "depth": 3,
    "num_heads": 1, "mlp_ratio": 3.0, "stem": "conv", "stages": (1, 1), "pool": "mean",
    "pos_embed": "none", "representation_size": 5, "activation": "gelu_tanh", "norm": "rmsnorm",
    "layer_scale": 0.1, "dropout": 0.1, "attn_dropout": 0.1, "drop_path": 0.1,
    "mlp": "swiglu", "num_registers": 1, "distilled": True, "embed_prefix": False, "rope": "axial",
    "rope_theta": 9.0, "rope_grid": 4, "norm_eps": 1e-5, "pre_norm": True, "final_norm": "none",
    "qkv_bias": False, "qk_norm": True, "patch_dropout": 0.5, "residual_convs": 1,
    "attention_init": "mimetic",
}  # fmt: skip
"""Another value than the default for every field of a model."""


@pytest.mark.parametrize("field", dataclasses.fields(ViTConfig), ids=lambda field: field.name)
def test_every_field_is_supported_or_must_have_its_default(field):
    """A new field fails here until it has a value in OTHER: either it is refused, or it is in
    KERNELS and its step is verified."""
    changes = {field.name: OTHER[field.name]}
    if field.name == "residual_convs":
        changes["stem"] = "conv"
    config = ViTConfig(**{"dim": 32, "num_heads": 2, **changes})
    assert getattr(config, field.name) != field.default
    if field.name in KERNELS:
        require_kernels(config)
    else:
        with pytest.raises(UserError, match=f"bf16 is not supported for ({'|'.join(changes)}) "):
            require_kernels(config)


def test_a_field_without_a_decision_is_refused():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Newer(ViTConfig):
        novelty: int = 0

    require_kernels(Newer())
    with pytest.raises(UserError, match="bf16 is not supported for novelty 1"):
        require_kernels(Newer(novelty=1))


def test_philox_gives_the_published_numbers():
    """Random123's known answers for philox4x32-10, with counter and key all zeros and all ones."""
    zeros = philox.words(0, 0, 0, np.array([0]))[0]
    assert [f"{word:08x}" for word in zeros] == ["6627e8d5", "e169c58d", "bc57ac4c", "9b00dbd8"]
    ones = philox.words(2**64 - 1, 2**32 - 1, 2**32 - 1, np.array([2**64 - 1], np.uint64))[0]
    assert [f"{word:08x}" for word in ones] == ["408f276d", "41c83b0e", "a20bc7c6", "6d5451fd"]
