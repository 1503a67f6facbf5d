"""A Vision Transformer in PyTorch, independent of minivit's, for tests that compare the two.

Importing this skips the tests of a module if PyTorch is not installed.
"""

import math
from itertools import pairwise

import pytest
from helpers import draw

from minivit import ViT, ViTConfig

torch = pytest.importorskip("torch")
torch.set_num_threads(1)
nn, F = torch.nn, torch.nn.functional


class TorchViT(nn.Module):
    """Written from the paper's equations with PyTorch's layers; parameters are named as in timm."""

    def __init__(self, config: ViTConfig):
        super().__init__()
        C, P, R = config.dim, config.patch_size, config.representation_size
        self.config = config
        if config.stem == "patch":
            self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(config.in_channels, C, P, P)})
        else:
            halvings = int(math.log2(P))
            widths = [config.in_channels] + [C // 2] * (halvings - 1) + [C]
            convs = [nn.Conv2d(a, b, 3, padding=1, bias=False) for a, b in pairwise(widths)]
            self.patch_embed = nn.ModuleDict({"convs": nn.ModuleList(convs)})
        if config.pool == "seq":
            self.sequence_pool = nn.Linear(C, 1, bias=False)
        if config.pool == "cls":
            self.cls_token = nn.Parameter(torch.zeros(1, 1, C))
        if config.pos_embed == "learned":
            self.pos_embed = nn.Parameter(torch.zeros(1, config.num_tokens, C))
        self.blocks = nn.ModuleList(TorchBlock(config) for _ in range(config.depth))
        self.norm = make_norm(config)
        if R is not None:
            self.pre_logits = nn.Linear(C, R)
        self.head = nn.Linear(R or C, config.num_classes)

    def forward(self, images):
        if self.config.stem == "patch":
            x = self.patch_embed["proj"](images)
        else:
            x = images
            for conv in self.patch_embed["convs"]:
                x = F.max_pool2d(F.relu(conv(x)), 3, 2, 1)
        x = x.flatten(2).mT
        if self.config.pool == "cls":
            x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1)
        if self.config.pos_embed == "learned":
            x = x + self.pos_embed
        elif self.config.pos_embed == "sincos2d":
            x = x + sines(self.config).to(x)
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        if self.config.pool == "seq":
            weights = F.softmax(self.sequence_pool(x), 1)
            x = (weights * x).sum(1)
        else:
            x = x[:, 0] if self.config.pool == "cls" else x.mean(1)
        if hasattr(self, "pre_logits"):
            x = torch.tanh(self.pre_logits(x))
        return self.head(x)


def make_norm(config: ViTConfig) -> nn.Module:
    kind = {"layernorm": nn.LayerNorm, "rmsnorm": nn.RMSNorm}[config.norm]
    return kind(config.dim, eps=1e-6)


class LayerScale(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x):
        return self.gamma * x


class TorchBlock(nn.Module):
    def __init__(self, config: ViTConfig):
        super().__init__()
        C, hidden = config.dim, config.hidden
        self.num_heads = config.num_heads
        self.approximate = {"gelu": "none", "gelu_tanh": "tanh"}[config.activation]
        self.norm1, self.norm2 = make_norm(config), make_norm(config)
        if config.layer_scale is not None:
            self.ls1, self.ls2 = LayerScale(C), LayerScale(C)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(C, 3 * C), "proj": nn.Linear(C, C)})
        self.grid = config.grid
        if config.pos_embed == "relative":
            rows, columns = config.grid
            table = torch.zeros((2 * rows - 1) * (2 * columns - 1), C // config.num_heads)
            self.attn.relative_table = nn.Parameter(table)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(C, hidden), "fc2": nn.Linear(hidden, C)})

    def forward(self, x):
        q, k, v = (
            part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for part in self.attn["qkv"](self.norm1(x)).chunk(3, -1)
        )
        scores = q @ k.mT
        if hasattr(self.attn, "relative_table"):
            scores = scores + self.by_offset(q)
        self.probs = F.softmax(scores / math.sqrt(q.shape[-1]), -1)  # for tests that inspect it
        self.probs.retain_grad()
        heads = self.probs @ v
        h = self.attn["proj"](heads.transpose(1, 2).flatten(2))
        x = x + (self.ls1(h) if hasattr(self, "ls1") else h)
        hidden = F.gelu(self.mlp["fc1"](self.norm2(x)), approximate=self.approximate)
        h = self.mlp["fc2"](hidden)
        return x + (self.ls2(h) if hasattr(self, "ls2") else h)

    def by_offset(self, q):
        """The product of each query with the embedding of the offset to each patch; the class token
        has none."""
        rows, columns = self.grid
        first = q.shape[2] - rows * columns
        table = self.attn.relative_table.unflatten(0, (2 * rows - 1, 2 * columns - 1))
        positions = [divmod(i, columns) for i in range(rows * columns)]
        keys = torch.stack(
            [
                table[y - b + rows - 1, x - a + columns - 1]
                for y, x in positions
                for b, a in positions
            ]
        ).unflatten(0, (rows * columns, -1))
        return F.pad(torch.einsum("bhid,ijd->bhij", q[:, :, first:], keys), (first, 0, first, 0))


def sines(config):
    """The position table (T, C), entry by entry; the class token has none."""
    rows, columns = config.grid
    n = config.dim // 4
    omega = [10_000 ** (-i / (n - 1)) for i in range(n)]
    table = [
        [f(position * w) for position in (x, y) for f in (math.sin, math.cos) for w in omega]
        for y in range(rows)
        for x in range(columns)
    ]
    return torch.tensor([[0.0] * config.dim] * (config.pool == "cls") + table, dtype=torch.float64)


def in_torchs_layout(name, array, config):
    """PyTorch stores (out, in), and a convolution's kernel as (out, channel, row, column)."""
    if name == "patch_embed.proj.weight":
        P = config.patch_size
        return array.reshape(P, P, config.in_channels, -1).transpose(3, 2, 0, 1)
    if array.ndim == 4:  # a convolution's, (row, column, in, out)
        return array.transpose(3, 2, 0, 1)
    if name.endswith("relative_table"):
        return array
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
