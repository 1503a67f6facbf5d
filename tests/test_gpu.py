"""A training step on a GPU agrees with the CPU. Skipped if there is no GPU."""

import numpy as np
import pytest
import tiny
from helpers import draw, relative_error

from minivit import RandomStream, UserError, ViT, ViTConfig
from minivit.backend import to_device, to_host, use_tf32
from minivit.data import shapes
from minivit.functional import cross_entropy_backward, cross_entropy_forward
from minivit.optim import SGD, AdamW, clip_by_global_norm

pytestmark = pytest.mark.gpu

CONFIGS = {
    "class token": {},
    "dropout": {"dropout": 0.2, "attn_dropout": 0.2, "drop_path": 0.4},
    "mean, sines, tanh": {"pool": "mean", "pos_embed": "sincos2d", "activation": "gelu_tanh"},
    "pre-logits": {"representation_size": 24},
}


def train(device, optimizer_class, options, steps=2):
    """Logits, gradient and weights after some training steps from the same random weights."""
    config = ViTConfig(image_size=(16, 24), dim=32, depth=2, num_heads=4, **options)
    model = ViT(config, device=device)
    model.flat.data[...] = to_device(0.1 * draw(0, model.flat.data.size).astype("float32"), device)
    images = to_device(draw(1, 8, 3, 16, 24).astype("float32"), device)
    labels = to_device(np.arange(8) % 10, device)
    optimizer = optimizer_class(model.flat, weight_decay=0.05)
    for step in range(steps):
        model.flat.zero_grad()
        logits, cache = model.forward(images, train=True, stream=RandomStream(0, step))
        _, loss_cache = cross_entropy_forward(logits, labels, 0.1)
        model.backward(cross_entropy_backward(1.0, loss_cache), cache)
        gradient = to_host(model.flat.grad).copy()
        clip_by_global_norm(model.flat.grad, 1.0)
        optimizer.step(1e-3)
    return to_host(logits), gradient, to_host(model.flat.data)


@pytest.mark.parametrize("optimizer_class", [AdamW, SGD])
@pytest.mark.parametrize("options", CONFIGS.values(), ids=list(CONFIGS))
def test_training_steps_agree_with_the_cpu(options, optimizer_class, cupy):
    host, device = (train(d, optimizer_class, options) for d in ("cpu", "cuda"))
    for name, expected, found in zip(("logits", "gradient"), host, device, strict=False):
        assert relative_error(found, expected) <= 1e-4, name
    # Adam divides by the gradient's size: if the gradient is rounding error, so is the step
    difference = np.abs(device[2] - host[2])
    assert difference.max() <= 5e-3
    assert np.median(difference) <= 1e-6


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("tf32", 2e-3)])
def test_a_gradient_agrees_with_float64_on_the_cpu(precision, tolerance, cupy):
    """bf16: tests/cuda/test_fused_step.py."""
    config = ViTConfig(image_size=16, dim=64, depth=2, num_heads=4)
    host, device = ViT(config, dtype="float64"), ViT(config, device="cuda")
    host.flat.data[...] = 0.1 * draw(0, host.flat.data.size)
    device.flat.data[...] = to_device(host.flat.data.astype("float32"), "cuda")
    host.flat.data[...] = to_host(device.flat.data)
    images, labels = draw(1, 16, 3, 16, 16), np.arange(16) % 10
    use_tf32(precision == "tf32")
    for model, kind in ((host, "float64"), (device, "float32")):
        logits, cache = model.forward(to_device(images.astype(kind), model.device))
        _, loss_cache = cross_entropy_forward(logits, to_device(labels, model.device))
        model.backward(cross_entropy_backward(1.0, loss_cache), cache)
    use_tf32(False)
    assert relative_error(to_host(device.flat.grad), host.flat.grad) <= tolerance


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_the_loss_falls_as_on_a_cpu(precision, cupy, tmp_path):
    """200 steps on the shapes, the same batches: the curve, smoothed over 20 steps."""
    data = shapes.load(num_train=3_400, num_test=10)
    vit = {"image_size": 32, "num_classes": 10, "dim": 64, "depth": 2, "num_heads": 4}
    options = {"vit": vit, "epochs": 4, "batch_size": 64, "val_fraction": 0.05, "log_every": 20}
    curves = []
    for device_options in ({}, {"device": "cuda", "precision": precision}):
        training = tiny.trainer(
            tmp_path / device_options.get("device", "cpu"), data, **options, **device_options
        )
        training.fit()
        lines = [line for line in training.run.metrics() if line["kind"] == "step"]
        curves.append([line["loss"] for line in lines])
    assert len(curves[0]) == 10
    np.testing.assert_allclose(curves[1], curves[0], rtol=0.05)
    assert curves[1][-1] < 0.9 * curves[1][0]


def test_a_model_on_a_gpu_refuses_images_on_the_host(cupy):
    model = ViT(ViTConfig(dim=8, depth=1), device="cuda")
    with pytest.raises(UserError, match="images is a numpy array, weights is a cupy array"):
        model(np.zeros((1, 3, 32, 32), "float32"))


def test_the_summary_works_on_a_gpu(cupy):
    config = ViTConfig(dim=8, depth=1)
    assert ViT(config, device="cuda").summary() == ViT(config).summary()
