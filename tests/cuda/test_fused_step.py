"""The fused step, run on a CPU by the kernels that g++ builds, beside the model in float64."""

import numpy as np
import pytest
from cuda.on_cpu import call, from_bf16, to_bf16

from minivit.engine.fused import FusedStep
from minivit.errors import UserError
from minivit.functional import cross_entropy_backward, cross_entropy_forward, patchify_forward
from minivit.models import ViT, ViTConfig
from minivit.optim import AdamW, clip_by_global_norm


class OnCpu:
    """A `Device` of NumPy arrays; a matrix product rounds as a GPU's does, once, at its end."""

    def zeros(self, shape, dtype):
        return np.zeros(shape, dtype)

    def launch(self, file, kernel, grid, block, *arguments, shared=0, **sizes):
        call(file, kernel, grid, block, *arguments, shared=shared, **sizes)

    def matmul(self, a, b, out, *, bias=None, turn_a=False, turn_b=False):
        a, b = (from_bf16(x) if x.dtype == np.uint16 else x for x in (a, b))
        product = (a.T if turn_a else a) @ (b.T if turn_b else b)
        if bias is not None:
            product = product + bias
        out[...] = to_bf16(product) if out.dtype == np.uint16 else product


SMALL = {"image_size": 8, "patch_size": 2, "num_classes": 5, "dim": 32, "depth": 2, "num_heads": 2}
KINDS = {
    "mean, sines, tanh": {"pool": "mean", "pos_embed": "sincos2d", "activation": "gelu_tanh"},
    "class token, learned, exact": {},
}


def prepare(options):
    """A model in float64 whose weights are bf16's, a batch, and the step that shall do the same."""
    config = ViTConfig(**{**SMALL, **options})
    model = ViT(config, dtype="float64")
    rng = np.random.default_rng(0)
    for _, parameter in model.named_parameters():
        parameter.data[...] = from_bf16(to_bf16(0.3 * rng.standard_normal(parameter.data.shape)))
    images = from_bf16(to_bf16(rng.standard_normal((3, 3, 8, 8)))).astype(float)
    labels = np.array([4, 0, 2], np.int32)
    step = FusedStep(model, 3, OnCpu())
    patches, _ = patchify_forward(images, 2)
    step.patches[...] = to_bf16(patches.reshape(step.patches.shape))
    step.first[...] = step.second[...] = labels
    step.share[...] = 1
    return model, images, labels, step


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_loss_gradients_and_update(options):
    model, images, labels, step = prepare(options)
    logits, cache = model.forward(images)
    loss, loss_cache = cross_entropy_forward(logits, labels)
    model.backward(cross_entropy_backward(1.0, loss_cache), cache)
    step.forward()
    step.loss()
    step.backward()
    scale = np.abs(logits).max()
    np.testing.assert_allclose(from_bf16(step.logits), logits, atol=2e-2 * scale, rtol=0)
    assert step.sums[0] == pytest.approx(loss, rel=2e-2)
    assert step.sums[1] == (logits.argmax(1) == labels).sum()
    for name, parameter in model.named_parameters():
        found, right = step.d[name], parameter.grad
        error = np.linalg.norm(found - right) / max(np.linalg.norm(right), 1e-3)
        assert error < 3e-2, name

    step.state[...] = (0.01, 1 - 0.9, 1 - 0.95)
    step.update((0.9, 0.95), 0.1, 0.5)
    model.flat.grad[...] = step.grad
    clip_by_global_norm(model.flat.grad, 0.5)
    AdamW(model.flat, (0.9, 0.95), weight_decay=0.1).step(0.01)
    np.testing.assert_allclose(step.theta, model.flat.data, atol=1e-5)
    np.testing.assert_array_equal(step.weights, to_bf16(step.theta))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"stem": "conv"}, "stem conv"),
        ({"pool": "seq"}, "sequence pooling"),
        ({"drop_path": 0.1}, "dropout or drop path"),
        ({"num_heads": 4}, "heads of 8 numbers"),
    ],
)
def test_what_there_is_no_kernel_for(options, words):
    with pytest.raises(UserError, match=words):
        FusedStep(ViT(ViTConfig(**{**SMALL, **options})), 3, OnCpu())
