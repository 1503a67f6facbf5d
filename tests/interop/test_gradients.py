"""Gradients of all parameters and of the images in whole DINOv2 and DINOv3 models, against
PyTorch's for the same models in timm."""

import pytest
from published_small import relative, save, saved_by_timm

from minivit.interop import load

SIZES = {"embed_dim": 48, "num_heads": 3, "num_classes": 5, "global_pool": "token"}
NAMES = [
    "vit_small_patch14_dinov2",
    "vit_small_patch14_reg4_dinov2",
    "vit_giant_patch14_reg4_dinov2",  # SwiGLU
    "vit_small_patch16_dinov3",  # rotary positions, no bias of queries, keys and values
    "vit_small_plus_patch16_dinov3",  # SwiGLU, in two matrices
    "vit_small_plus_patch16_dinov3_qkvb",
]


def gradients_of(model, folder):
    """PyTorch's gradients with minivit's names and layout: saved like weights and read by the same
    reader, which moves numbers without changing them."""
    leaves = [*model.named_parameters(), *fixed_biases(model)]
    save({name: leaf.grad for name, leaf in leaves}, folder)
    loaded = load(folder, dtype="float64", num_heads=SIZES["num_heads"]).model
    return {name: parameter.data for name, parameter in loaded.named_parameters()}


def fixed_biases(model):
    """The biases of the keys, which timm keeps at zero and minivit trains; with rotary positions
    they have gradients."""
    return [item for item in model.named_buffers() if item[0].endswith("k_bias")]


@pytest.mark.parametrize("name", NAMES)
def test_gradients_agree_with_pytorch(tmp_path, name):
    torch = pytest.importorskip("torch")
    reference, side = saved_by_timm(name, tmp_path, **SIZES)
    model = load(tmp_path, dtype="float64", num_heads=SIZES["num_heads"]).model
    images = torch.randn(2, 3, side, side, dtype=torch.float64, requires_grad=True)
    dlogits = torch.randn(2, SIZES["num_classes"], dtype=torch.float64)
    for _, bias in fixed_biases(reference):
        bias.requires_grad_()

    expected = reference(images)
    expected.backward(dlogits)
    logits, cache = model.forward(images.detach().numpy())
    dimages = model.backward(dlogits.numpy(), cache)

    assert relative(logits, expected.detach()) < 1e-9
    assert relative(dimages, images.grad) < 1e-9
    expected_gradients = gradients_of(reference, tmp_path)
    assert any("ls2.gamma" in parameter for parameter in expected_gradients)
    for parameter, p in model.named_parameters():
        assert relative(p.grad, expected_gradients[parameter]) < 1e-9, parameter
