"""The ResNet and the convolutional stem against PyTorch's convolutions and autograd."""

import numpy as np
import pytest
from helpers import draw, relative_error

from minivit import UserError, ViT, ViTConfig
from minivit.layers import (
    Bottleneck,
    ConvStem,
    FlatParameters,
    ResidualConv,
    ResNet,
    StridedStem,
)
from minivit.layers.resnet import StandardizedConv
from minivit.models.cost import num_parameters


@pytest.mark.parametrize("size", [1, 3, 5])
def test_a_convolution_keeps_the_size_of_the_grid(size):
    conv = StandardizedConv(np.random.default_rng(0), 2, 3, size)
    assert conv.forward(draw(0, 1, 6, 7, 2))[0].shape == (1, 6, 7, 3)


def test_a_bottleneck_keeps_the_size_of_the_grid_by_default():
    x = draw(0, 1, 6, 7, 8)
    assert Bottleneck(np.random.default_rng(0), 8, 8).forward(x)[0].shape == x.shape


def test_pytorch_agrees_on_a_resnet():
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    layer = ResNet(np.random.default_rng(0), (1, 2), 3, 32)
    FlatParameters(layer, "float64")
    named = dict(layer.named_parameters())
    for i, parameter in enumerate(named.values()):
        parameter.data[...] = draw(i, *parameter.data.shape)
    images = draw(99, 3, 3, 8, 6)
    y, cache = layer.forward(images)
    assert y.shape == (3, 4 * 3, 32)
    dy = draw(98, *y.shape)
    dimages = layer.backward(dy, cache)

    twins = {name: torch.from_numpy(p.data.copy()).requires_grad_() for name, p in named.items()}
    x = torch.from_numpy(images).requires_grad_()

    def conv(name, x, stride=1):
        weight = twins[f"{name}.weight"]
        variance, mean = torch.var_mean(weight, (0, 1, 2), correction=0)
        weight = ((weight - mean) / (variance + 1e-10).sqrt()).permute(3, 2, 0, 1)
        return F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)

    def norm_relu(name, x):
        groups = max(1, x.shape[1] // 8)
        return F.relu(F.group_norm(x, groups, twins[f"{name}.weight"], twins[f"{name}.bias"]))

    h = conv("root", x)
    for block, (stride, has_shortcut) in enumerate([(1, True), (2, True), (1, False)]):
        stage = f"stages.{block}"
        first = norm_relu(f"{stage}.norms.0", h)
        shortcut = conv(f"{stage}.shortcut", first, stride) if has_shortcut else h
        inner = norm_relu(f"{stage}.norms.1", conv(f"{stage}.convs.0", first))
        inner = norm_relu(f"{stage}.norms.2", conv(f"{stage}.convs.1", inner, stride))
        h = shortcut + conv(f"{stage}.convs.2", inner)
    tokens = norm_relu("norm", h).flatten(2).mT
    tokens.backward(torch.from_numpy(dy))

    assert relative_error(y, tokens.detach()) <= 1e-9
    assert relative_error(dimages, x.grad) <= 1e-8
    for name, parameter in named.items():
        assert relative_error(parameter.grad, twins[name].grad) <= 1e-8, name


def test_pytorch_agrees_on_the_convolutional_stem():
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    layer = ConvStem(np.random.default_rng(0), 4, 3, 8)
    images = draw(0, 2, 3, 8, 12)
    tokens, cache = layer.forward(images)
    assert tokens.shape == (2, 2 * 3, 8)
    dtokens = draw(1, *tokens.shape)
    dimages = layer.backward(dtokens, cache)

    x = twin = torch.from_numpy(images).requires_grad_()
    weights = [torch.from_numpy(conv.weight.data).requires_grad_() for conv in layer.convs]
    for weight in weights:
        x = F.max_pool2d(F.relu(F.conv2d(x, weight.permute(3, 2, 0, 1), padding=1)), 3, 2, 1)
    x = x.flatten(2).mT
    x.backward(torch.from_numpy(dtokens))
    assert relative_error(tokens, x.detach()) <= 1e-12
    assert relative_error(dimages, twin.grad) <= 1e-12
    for conv, weight in zip(layer.convs, weights, strict=True):
        assert relative_error(conv.weight.grad, weight.grad) <= 1e-12


def test_pytorch_agrees_on_a_residual_convolution():
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    layer = ResidualConv(np.random.default_rng(0), 8)
    layer.norm.weight.data, layer.norm.bias.data = draw(1, 8), draw(2, 8)
    x, dy = draw(3, 2, 3, 5, 8), draw(4, 2, 3, 5, 8)
    y, cache = layer.forward(x)
    dx = layer.backward(dy.copy(), cache)

    twin = torch.from_numpy(x).requires_grad_()
    weights = {
        name: torch.from_numpy(p.data).requires_grad_() for name, p in layer.named_parameters()
    }
    normed = F.layer_norm(twin, (8,), weights["norm.weight"], weights["norm.bias"], eps=1e-6)
    kernel = weights["conv.weight"].permute(3, 2, 0, 1)
    h = F.conv2d(F.relu(normed).permute(0, 3, 1, 2), kernel, padding=1)
    expected = twin + h.permute(0, 2, 3, 1)
    expected.backward(torch.from_numpy(dy))
    assert relative_error(y, expected.detach()) <= 1e-12
    assert relative_error(dx, twin.grad) <= 1e-12
    for name, p in layer.named_parameters():
        assert relative_error(p.grad, weights[name].grad) <= 1e-12, name


@pytest.mark.parametrize(
    ("patch_size", "strides"), [(2, [2, 1]), (4, [2, 1, 2]), (8, [2, 1, 2, 2])]
)
def test_pytorch_agrees_on_the_strided_stem(patch_size, strides):
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    layer = StridedStem(np.random.default_rng(0), patch_size, 3, 8)
    images = draw(0, 2, 3, 16, 24)
    tokens, cache = layer.forward(images)
    assert tokens.shape == (2, 16 * 24 // patch_size**2, 8)
    dtokens = draw(1, *tokens.shape)
    dimages = layer.backward(dtokens, cache)

    x = twin = torch.from_numpy(images).requires_grad_()
    weights = [torch.from_numpy(conv.weight.data).requires_grad_() for conv in layer.convs]
    for i, (weight, stride) in enumerate(zip(weights, strides, strict=True)):
        x = F.conv2d(F.relu(x) if i else x, weight.permute(3, 2, 0, 1), padding=1, stride=stride)
    x = x.flatten(2).mT
    x.backward(torch.from_numpy(dtokens))
    assert relative_error(tokens, x.detach()) <= 1e-12
    assert relative_error(dimages, twin.grad) <= 1e-12
    for conv, weight in zip(layer.convs, weights, strict=True):
        assert relative_error(conv.weight.grad, weight.grad) <= 1e-12


@pytest.mark.parametrize("stages", [(1, 1, 1), (2, 1, 3)])
@pytest.mark.parametrize("depth", [0, 1])
def test_the_parameters_and_tokens_of_a_resnet_match_the_counts(stages, depth):
    config = ViTConfig(image_size=16, dim=64, depth=depth, stem="resnet", stages=stages)
    model = ViT(config)
    assert model.flat.num_parameters == num_parameters(config)
    logits, cache = model.forward(draw(0, 2, 3, 16, 16).astype(np.float32))
    assert cache.tokens.shape == (2, 17, 64)
    assert logits.shape == (2, 10)
    assert f"{num_parameters(config):,}" in model.summary()


def test_named_resnets_are_about_as_large_as_the_small_vits():
    small, large = (ViTConfig.preset(name) for name in ("resnet-20", "resnet-38"))
    assert small.depth == large.depth == 0
    for resnet, vit in ((small, "Micro/4"), (large, "Lite/4")):
        ratio = num_parameters(resnet) / num_parameters(ViTConfig.preset(vit))
        assert 0.9 < ratio < 1.1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"stages": (2, 2)}, "2 stages make tokens of 2 pixels, but patch_size is 4"),
        ({"stages": (2, 0, 2)}, "stages is 0; expected 1 to 1,000 bottlenecks"),
        ({"dim": 96, "num_heads": 4}, "multiple of 64"),
        ({"depth": -1}, "depth is -1; expected 0 to 1,000"),
    ],
)
def test_stages_that_do_not_fit_are_refused(options, words):
    with pytest.raises(UserError, match=words):
        ViTConfig(**{"stem": "resnet", **options})


def test_a_vit_needs_blocks():
    with pytest.raises(UserError, match="depth is 0; expected at least 1"):
        ViTConfig(depth=0)
