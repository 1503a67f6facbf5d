"""Small versions of published Vision Transformers, with random weights, saved as by their
libraries."""

import json
import re

import numpy as np
import pytest


def randomized(model):
    """Randomize every number: zeros and ones hide mistakes."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            small = parameter.ndim < 2 or "token" in name or "embed" in name
            scale = 0.3 if small else 1.2 / np.sqrt(np.prod(parameter.shape[1:]))
            one = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            parameter.copy_(torch.randn_like(parameter) * scale + one)
    return model.double().eval()


def saved_by_timm(name, folder, **sizes):
    """Save a timm model with two blocks as save_for_hf does; returns (model, image side).

    sizes: other arguments of timm.create_model, such as embed_dim.
    """
    timm = pytest.importorskip("timm")
    patch = int(re.search(r"patch(\d+)|_p(\d+)|s(\d+)_", name)[0].strip("patch_s"))
    side = 4 * patch
    model = randomized(timm.create_model(name, pretrained=False, depth=2, img_size=side, **sizes))
    save(model.state_dict(), folder)
    settings = {
        "architecture": name,
        "num_classes": model.num_classes,
        "global_pool": model.global_pool,
        "pretrained_cfg": {
            "input_size": [3, side, side],
            "mean": [0.1, 0.2, 0.3],
            "std": [1, 2, 3],
        },
    }
    (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    return model, side


def save(tensors, folder):
    """Save tensors by name to model.safetensors in the folder."""
    torch_io = pytest.importorskip("safetensors.torch")
    whole = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
    torch_io.save_file(whole, folder / "model.safetensors")


def relative(found, expected):
    """The largest difference divided by the largest expected value."""
    expected = expected.numpy() if hasattr(expected, "numpy") else expected
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / np.abs(expected).max())
