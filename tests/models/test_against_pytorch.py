"""The same Vision Transformer in PyTorch, by autograd: logits and every gradient must agree."""

import math

import numpy as np
import pytest
from helpers import draw, relative_error

from minivit import ViT, ViTConfig
from minivit.functional import cross_entropy_backward, cross_entropy_forward

torch = pytest.importorskip("torch")
torch.set_num_threads(1)
nn, F = torch.nn, torch.nn.functional


class TorchViT(nn.Module):
    """Written with what PyTorch brings, from the paper's equations; parameters named as timm's."""

    def __init__(self, config: ViTConfig):
        super().__init__()
        C, P, R = config.dim, config.patch_size, config.representation_size
        self.config = config
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(config.in_channels, C, P, P)})
        if config.pool == "cls":
            self.cls_token = nn.Parameter(torch.zeros(1, 1, C))
        if config.pos_embed == "learned":
            self.pos_embed = nn.Parameter(torch.zeros(1, config.num_tokens, C))
        self.blocks = nn.ModuleList(TorchBlock(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(C, eps=1e-6)
        if R is not None:
            self.pre_logits = nn.Linear(C, R)
        self.head = nn.Linear(R or C, config.num_classes)

    def forward(self, images):
        x = self.patch_embed["proj"](images).flatten(2).mT
        if self.config.pool == "cls":
            x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1)
        if self.config.pos_embed == "learned":
            x = x + self.pos_embed
        elif self.config.pos_embed == "sincos2d":
            x = x + sines(self.config).to(x)
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        x = x[:, 0] if self.config.pool == "cls" else x.mean(1)
        if hasattr(self, "pre_logits"):
            x = torch.tanh(self.pre_logits(x))
        return self.head(x)


class TorchBlock(nn.Module):
    def __init__(self, config: ViTConfig):
        super().__init__()
        C, hidden = config.dim, config.hidden
        self.num_heads = config.num_heads
        self.approximate = {"gelu": "none", "gelu_tanh": "tanh"}[config.activation]
        self.norm1, self.norm2 = nn.LayerNorm(C, eps=1e-6), nn.LayerNorm(C, eps=1e-6)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(C, 3 * C), "proj": nn.Linear(C, C)})
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(C, hidden), "fc2": nn.Linear(hidden, C)})

    def forward(self, x):
        q, k, v = (
            part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for part in self.attn["qkv"](self.norm1(x)).chunk(3, -1)
        )
        heads = F.scaled_dot_product_attention(q, k, v)
        x = x + self.attn["proj"](heads.transpose(1, 2).flatten(2))
        hidden = F.gelu(self.mlp["fc1"](self.norm2(x)), approximate=self.approximate)
        return x + self.mlp["fc2"](hidden)


def sines(config):
    """(T, C), entry by entry; the class token has none."""
    rows, columns = config.grid
    n = config.dim // 4
    omega = [10_000 ** (-i / (n - 1)) for i in range(n)]
    table = [
        [f(place * w) for place in (x, y) for f in (math.sin, math.cos) for w in omega]
        for y in range(rows)
        for x in range(columns)
    ]
    return torch.tensor([[0.0] * config.dim] * (config.pool == "cls") + table, dtype=torch.float64)


def in_torchs_layout(name, array, config):
    """PyTorch stores (out, in), and a convolution's kernel as (out, channel, row, column)."""
    if name == "patch_embed.proj.weight":
        P = config.patch_size
        return array.reshape(P, P, config.in_channels, -1).transpose(3, 2, 0, 1)
    return array.T if array.ndim == 2 else array


def make_twins(dtype, **options):
    config = ViTConfig(**{"image_size": 8, "num_classes": 4, "dim": 12, "depth": 2, **options})
    model = ViT(config, dtype=dtype)
    model.flat.data[...] = 0.25 * draw(0, model.flat.data.size)
    twin = TorchViT(config).to(getattr(torch, dtype))
    weights = {
        name: torch.from_numpy(in_torchs_layout(name, p.data, config).copy())
        for name, p in model.named_parameters()
    }
    twin.load_state_dict(weights)  # strict: names and shapes must be the same
    return model, twin


CASES = {
    "defaults": {"num_heads": 3},
    "one token a picture": {"num_heads": 2, "patch_size": 8, "depth": 1},
    "wide picture, tanh": {
        "image_size": (4, 12),
        "patch_size": 2,
        "num_heads": 2,
        "activation": "gelu_tanh",
    },
    "tall picture, sines": {"image_size": (12, 8), "num_heads": 4, "pos_embed": "sincos2d"},
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
