"""The same Vision Transformer in idiomatic PyTorch (fused attention, fused AdamW)."""

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.shape import Shape


class Block(nn.Module):
    def __init__(self, shape: Shape):
        super().__init__()
        dim, hidden = shape.dim, int(shape.dim * shape.mlp_ratio)
        self.num_heads = shape.num_heads
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.fc1, self.fc2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
        self.act = nn.GELU(approximate="tanh" if shape.activation == "gelu_tanh" else "none")

    def forward(self, x):
        B, T, C = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(B, T, 3, self.num_heads, C // self.num_heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        heads = F.scaled_dot_product_attention(q, k, v)
        x = x + self.proj(heads.transpose(1, 2).reshape(B, T, C))
        return x + self.fc2(self.act(self.fc1(self.norm2(x))))


class ViT(nn.Module):
    def __init__(self, shape: Shape):
        super().__init__()
        patch = shape.patch_size
        self.patch_embed = nn.Conv2d(3, shape.dim, patch, patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, shape.dim))
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, shape.tokens, shape.dim))
        self.blocks = nn.Sequential(*(Block(shape) for _ in range(shape.depth)))
        self.norm = nn.LayerNorm(shape.dim, eps=1e-6)
        self.head = nn.Linear(shape.dim, shape.num_classes)

    def forward(self, images):
        x = self.patch_embed(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.pos_embed
        return self.head(self.norm(self.blocks(x))[:, 0])


def contender(shape: Shape, train: bool, compiled: bool, bf16: bool):
    """A function that runs one training step, or one forward pass over the batch."""
    torch.set_num_threads(shape.threads)
    torch.set_float32_matmul_precision("high")  # on a GPU: TF32, as in minivit-tf32
    torch.manual_seed(0)
    model = ViT(shape).to(shape.device)
    mode = "max-autotune" if shape.device == "cuda" else "default"
    forward = torch.compile(model, mode=mode) if compiled else model
    size = shape.batch, 3, shape.image_size, shape.image_size
    images = torch.randn(size, device=shape.device)
    labels = torch.arange(shape.batch, device=shape.device) % shape.num_classes
    autocast = torch.autocast(shape.device, torch.bfloat16, enabled=bf16)
    if not train:
        model.eval()

        def infer():
            with torch.no_grad(), autocast:
                return forward(images)

        return infer
    decay = [p for p in model.parameters() if p.ndim >= 2]
    no_decay = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": decay, "weight_decay": 0.05}, {"params": no_decay, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, fused=True)

    def step():
        optimizer.zero_grad(set_to_none=True)
        with autocast:
            loss = F.cross_entropy(forward(images).float(), labels, label_smoothing=0.1)
        loss.backward()
        optimizer.step()
        return loss.item() if shape.device == "cpu" else loss  # item() would wait for a GPU

    return step
