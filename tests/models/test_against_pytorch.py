"""The same Vision Transformer in PyTorch, by autograd: logits and every gradient must agree."""

import numpy as np
import pytest
from helpers import draw, relative_error
from torch_twin import F, in_torchs_layout, make_twins, torch

from minivit.functional import cross_entropy_backward, cross_entropy_forward

CASES = {
    "defaults": {"num_heads": 3},
    "one token an image": {"num_heads": 2, "patch_size": 8, "depth": 1},
    "wide image, tanh": {
        "image_size": (4, 12),
        "patch_size": 2,
        "num_heads": 2,
        "activation": "gelu_tanh",
    },
    "tall image, sines": {"image_size": (12, 8), "num_heads": 4, "pos_embed": "sincos2d"},
    "mean, sines, one channel": {
        "image_size": (8, 12),
        "in_channels": 1,
        "num_heads": 1,
        "pool": "mean",
        "pos_embed": "sincos2d",
    },
    "mean, no positions, pre-logits": {
        "num_heads": 3,
        "pool": "mean",
        "pos_embed": "none",
        "representation_size": 7,
        "mlp_ratio": 4.0,
        "depth": 4,
    },
    "class token, pre-logits, tanh": {
        "num_heads": 6,
        "representation_size": 20,
        "activation": "gelu_tanh",
    },
    "convolutions, sequence pooling": {"num_heads": 3, "stem": "conv", "pool": "seq"},
    "relative positions": {"num_heads": 3, "image_size": (8, 12), "pos_embed": "relative"},
    "relative positions, mean": {"num_heads": 2, "pool": "mean", "pos_embed": "relative"},
    "convolutions, class token, wide": {
        "image_size": (16, 24),
        "patch_size": 8,
        "num_heads": 2,
        "stem": "conv",
        "pos_embed": "none",
    },
    "RMSNorm": {"num_heads": 3, "norm": "rmsnorm", "depth": 3},
    "LayerScale": {"num_heads": 3, "layer_scale": 0.1, "pool": "mean"},
    "RMSNorm, LayerScale": {"num_heads": 2, "norm": "rmsnorm", "layer_scale": 1e-5},
    "a larger one": {"image_size": 32, "dim": 64, "depth": 3, "num_heads": 4, "num_classes": 10},
}


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-9), ("float32", 1e-4)])
@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_logits_and_every_gradient_agree(options, dtype, tolerance):
    model, twin = make_twins(dtype, **options)
    config = model.config
    images = draw(1, 5, config.in_channels, *config.image_hw).astype(dtype)
    labels = np.arange(5) % config.num_classes

    logits, cache = model.forward(images)
    loss, loss_cache = cross_entropy_forward(logits, labels, 0.1)
    dimages = model.backward(cross_entropy_backward(1.0, loss_cache), cache)

    torch_images = torch.from_numpy(images).requires_grad_()
    torch_logits = twin(torch_images)
    torch_loss = F.cross_entropy(torch_logits, torch.from_numpy(labels), label_smoothing=0.1)
    torch_loss.backward()

    assert relative_error(logits, torch_logits.detach()) <= tolerance
    assert float(loss) == pytest.approx(torch_loss.item(), rel=tolerance)
    errors = {"images": relative_error(dimages, torch_images.grad)}
    gradients = dict(twin.named_parameters())
    for name, p in model.named_parameters():
        found = in_torchs_layout(name, p.grad, config)
        errors[name] = relative_error(found, gradients[name].grad)
    assert len(errors) == len(gradients) + 1
    assert {name: error for name, error in errors.items() if not error <= tolerance} == {}


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
@pytest.mark.parametrize("soft", [False, True])
def test_the_loss_agrees(smoothing, soft):
    logits = 3.0 * draw(0, 6, 5)
    rng = np.random.default_rng(0)
    targets = rng.dirichlet(np.ones(5), 6) if soft else rng.integers(5, size=6)
    loss, cache = cross_entropy_forward(logits, targets, smoothing)
    z = torch.from_numpy(logits).requires_grad_()
    expected = F.cross_entropy(z, torch.from_numpy(targets), label_smoothing=smoothing)
    expected.backward()
    assert float(loss) == pytest.approx(expected.item(), rel=1e-12)
    assert relative_error(cross_entropy_backward(1.0, cache), z.grad) <= 1e-12
