"""The equations that a trace prints describe what the code computes."""

import math

import numpy as np
import pytest
from helpers import draw

import minivit
from minivit import functional as F
from minivit.layers import Layer
from minivit.models.tracing import SPECS

KINDS = {
    "class token": {},
    "mean, sines": {"pool": "mean", "pos_embed": "sincos2d", "activation": "gelu_tanh"},
    "LayerScale": {"layer_scale": 0.2},
    "RMSNorm, LayerScale": {"norm": "rmsnorm", "layer_scale": 0.1, "pos_embed": "relative"},
}
IMAGE = draw(5, 3, 8, 12)


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_the_equation_of_a_block_gives_the_traced_numbers(options):
    """The equation is evaluated with the block's own layers."""
    small = {"image_size": (8, 12), "dim": 16, "depth": 2, "num_heads": 2, "num_classes": 3}
    model = minivit.ViT(minivit.ViTConfig(**{**small, **options}), dtype="float64")
    found = minivit.trace(model, IMAGE)
    for i, block in enumerate(model.blocks):
        layers = {
            name: lambda value, layer=layer: layer.forward(value)[0]
            for name, layer in block.members()
            if isinstance(layer, Layer)
        }
        residual, out = found[f"blocks.{i}.residual"], found[f"blocks.{i}"]
        branch = f"blocks.{i}.ls1" if "layer_scale" in options else f"blocks.{i}.attn"
        values = {"x": residual.array - found[branch].array, "residual": residual.array}
        for step in (residual, out):
            evaluated = eval(step.equation, {"__builtins__": {}}, {**layers, **values})
            np.testing.assert_allclose(evaluated, step.array, rtol=1e-9, atol=1e-12)
        inner = "ls1(attn(norm1(x)))" if "layer_scale" in options else "attn(norm1(x))"
        assert residual.equation == f"x + {inner}"


x, dy, W, b = draw(0, 2, 3, 4), draw(1, 2, 3, 4), draw(2, 4, 4), draw(3, 4)
D = 4
probs = np.exp(x) / np.exp(x).sum(-1, keepdims=True)
mean, std = x.mean(-1, keepdims=True), x.std(-1, keepdims=True)
rms = np.sqrt((x * x).mean(-1, keepdims=True))
logits, labels = x[:, 0], np.array([1, 3])
p = np.exp(logits[:1]) / np.exp(logits[:1]).sum(-1, keepdims=True)
cdf = np.vectorize(lambda v: (1 + math.erf(v / math.sqrt(2))) / 2)(x)
pdf = np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
hidden = F.corruption(np.random.default_rng(0).random((2, 3, 3)))
S, m = hidden.selection, hidden.masked[..., None]
sigmoid = 1 / (1 + np.exp(-1.702 * x))
tanh_u = np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))


def forward(name, *arguments):
    """The result of the pair's forward."""
    return getattr(F, f"{name}_forward")(*arguments)[0]


def backward(name, *arguments):
    """The result of the pair's backward for dy, after a forward pass with these arguments."""
    out, cache = getattr(F, f"{name}_forward")(*arguments)
    return getattr(F, f"{name}_backward")(dy.reshape(np.shape(out)), cache)


def rows(array):
    return array.reshape(-1, D)


def layernorm_gradients():
    xhat, dxhat = (x - mean) / std, W[0] * dy
    dx = dxhat - dxhat.mean(-1, keepdims=True) - xhat * (dxhat * xhat).mean(-1, keepdims=True)
    return dx / std, (dy * xhat).sum((0, 1)), dy.sum((0, 1))


def rmsnorm_gradients():
    xhat, dxhat = x / rms, W[0] * dy
    dx = (dxhat - xhat * (dxhat * xhat).mean(-1, keepdims=True)) / rms
    return dx, (dy * xhat).sum((0, 1))


def attention_gradients():
    q, k, v = (draw(seed, 2, 1, 3, D) for seed in (7, 8, 9))
    _, cache = F.attention_forward(q, k, v)
    weights, dheads = cache.probs, dy[:, None]
    dweights = dheads @ v.swapaxes(-1, -2)
    dscores = weights * (dweights - (dweights * weights).sum(-1, keepdims=True))
    expected = dscores @ k / 2, dscores.swapaxes(-1, -2) @ q / 2, weights.swapaxes(-1, -2) @ dheads
    return F.attention_backward(dheads, cache), expected


def attention_output():
    q, k, v = (draw(seed, 2, 1, 3, D) for seed in (7, 8, 9))
    return forward("attention", q, k, v), forward("softmax", q @ k.swapaxes(-1, -2) / 2) @ v


def flash_attention_output():
    q, k, v = (draw(seed, 2, 1, 3, D) for seed in (7, 8, 9))
    return forward("flash_attention", q, k, v), forward("softmax", q @ k.swapaxes(-1, -2) / 2) @ v


def flash_attention_gradients():
    q, k, v = (draw(seed, 2, 1, 3, D) for seed in (7, 8, 9))
    _, cache = F.flash_attention_forward(q, k, v)
    return F.flash_attention_backward(dy[:, None], cache), attention_gradients()[1]


FORMULAS = {
    "y = x W + b": lambda: (forward("linear", x, W, b), x @ W + b),
    "dy Wᵀ; xᵀ dy; Σ dy": lambda: (
        backward("linear", x, W, b), (dy @ W.T, rows(x).T @ rows(dy), dy.sum((0, 1)))),
    "y = γ (x - mean) / std + β": lambda: (
        forward("layernorm", x, W[0], b, 0.0), W[0] * (x - mean) / std + b),
    "(dx̂ - mean(dx̂) - x̂ mean(dx̂ x̂)) / std; Σ dy x̂; Σ dy": lambda: (
        backward("layernorm", x, W[0], b, 0.0), layernorm_gradients()),
    "y = γ x / rms": lambda: (forward("rmsnorm", x, W[0], 0.0), W[0] * x / rms),
    "(dx̂ - x̂ mean(dx̂ x̂)) / rms; Σ dy x̂": lambda: (
        backward("rmsnorm", x, W[0], 0.0), rmsnorm_gradients()),
    "y = γ x": lambda: (forward("layer_scale", x, b), b * x),
    "γ dy; Σ dy x": lambda: (backward("layer_scale", x, b), (b * dy, (dy * x).sum((0, 1)))),
    "y = max(x, 0)": lambda: (forward("relu", x), np.maximum(x, 0)),
    "dy where x > 0": lambda: (backward("relu", x), np.where(x > 0, dy, 0)),
    "[class token; patches]": lambda: (
        forward("class_token", x, b[None, None]), np.concatenate([np.tile(b, (2, 1, 1)), x], 1)),
    "[registers; patches]": lambda: (
        forward("registers", x, W[None]), np.concatenate([np.tile(W, (2, 1, 1)), x], 1)),
    "table[offset]": lambda: (
        forward("relative_bias", W[:3, :2], np.array([[1, 2], [0, 1]]), 2)[0],
        W[:3, :2][np.array([[1, 2], [0, 1]])].transpose(2, 0, 1)),
    "x cos + turn(x) sin": lambda: (
        forward("rotary", x[:, None], np.cos(dy[0]), np.sin(dy[0]), True)[:, 0],
        x * np.cos(dy[0]) + np.concatenate([-x[..., 2:], x[..., :2]], -1) * np.sin(dy[0])),
    "x σ(1.702 x)": lambda: (forward("quick_gelu", x), x / (1 + np.exp(-1.702 * x))),
    "dy c (1 + 1.702 x (1 - c))": lambda: (
        backward("quick_gelu", x), dy * sigmoid * (1 + 1.702 * x * (1 - sigmoid))),
    "a σ(a) b": lambda: (
        forward("swiglu", x), x[..., :2] / (1 + np.exp(-x[..., :2])) * x[..., 2:]),
    "x + position": lambda: (forward("position", x, dy[:1]), x + dy[:1]),
    "dy; Σ dy over the batch": lambda: (
        backward("position", x, x[:1]), (dy, dy.sum(0, keepdims=True))),
    "exp(s) / Σ exp(s)": lambda: (forward("softmax", x), probs),
    "probs (dprobs - Σ dprobs probs)": lambda: (
        backward("softmax", x), probs * (dy - (dy * probs).sum(-1, keepdims=True))),
    "probs v": attention_output,
    "dscores k / √D; dscoresᵀ q / √D; probsᵀ dheads": attention_gradients,
    "softmax(q kᵀ / √D) v, a block at a time": flash_attention_output,
    "dscores k / √D; dscoresᵀ q / √D; softmax(q kᵀ / √D)ᵀ dheads": flash_attention_gradients,
    "x Φ(x)": lambda: (forward("gelu", x), x * cdf),
    "dy (Φ(x) + x φ(x))": lambda: (backward("gelu", x), dy * (cdf + x * pdf)),
    "x (1 + tanh(√(2/π) (x + 0.0447 x³))) / 2": lambda: (
        forward("gelu_tanh", x), x * (1 + tanh_u) / 2),
    "tanh(x)": lambda: (forward("tanh", x), np.tanh(x)),
    "dy (1 - tanh²)": lambda: (backward("tanh", x), dy * (1 - np.tanh(x) ** 2)),
    "mean of the tokens": lambda: (forward("mean_pool", x), x.mean(1)),
    "S x + m mask_token": lambda: (
        forward("corrupt", x, b[None, None], S, hidden.masked), S @ x + m * b),
    "Sᵀ dy; Σ m dy": lambda: (
        backward("corrupt", x, b[None, None], S, hidden.masked),
        (S.swapaxes(1, 2) @ dy, (m * dy).sum((0, 1))[None, None])),
    "-log p[label]": lambda: (forward("cross_entropy", logits[:1], labels[:1]), -np.log(p[0, 1])),
    "p - target": lambda: (
        F.cross_entropy_backward(1.0, F.cross_entropy_forward(logits[:1], labels[:1])[1]),
        p - np.eye(D)[labels[:1]]),
    "mean of (predicted - target)²": lambda: (
        forward("squared_error", x, dy), ((x - dy) ** 2).mean()),
    "2 (predicted - target) / n": lambda: (
        F.squared_error_backward(1.0, F.squared_error_forward(x, dy)[1]), 2 * (x - dy) / x.size),
}  # fmt: skip
"""Equations of SPECS: the numbers of the pair, and those of the equation written out in NumPy."""

IN_WORDS = {
    "each P×P square as a row of P·P·3 numbers", "y = windows(x) W", "the largest of each window",
    "y = γ (x - mean) / std + β, per group of channels", "a third of qkv each, cut into heads",
    "q · table[offset]", "the heads of a token side by side", "(w - mean) / std",
    "the rows of selected tokens", "mean of the tokens, with their weights",
    "each row back to its place, zero elsewhere", "p dy + dscores wᵀ; xᵀ dscores",
    "dout / T for each token", "dy times the derivative",
    "Σ dbias table / √D; Σ dbias q / √D", "all rows but the first; the first",
    "to the largest of each window", "as LayerNorm, per group of channels",
    "without its mean and its component along the weight", "dy Wᵀ put back; windowsᵀ dy",
    "each number back to its pixel", "rotated back", "Σ dbias over each offset",
    "all rows but the registers'; the registers', summed",
    "da = dy b σ (1 + a (1 - σ)), db = dy a σ",
}  # fmt: skip
"""Those that say in words what the pair's own tests check."""


@pytest.mark.parametrize("spec", SPECS.values(), ids=lambda spec: spec.equation)
def test_an_equation_describes_what_its_pair_computes(spec):
    """A new or changed equation fails until it is in FORMULAS or IN_WORDS."""
    if spec.equation in IN_WORDS:
        return
    found, expected = (
        value if isinstance(value, tuple) else (value,) for value in FORMULAS[spec.equation]()
    )
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-12)
