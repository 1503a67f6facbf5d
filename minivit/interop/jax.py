"""The paper's own checkpoints: flax parameters in an .npz, renamed to timm's names.

Kernels are (in, out), with heads on a separate axis.
"""

import re
from collections.abc import Mapping
from typing import Any

from minivit.interop.tensors import Tensor
from minivit.interop.timm import HALF

FACTS: dict[str, Any] = {
    "norm_eps": 1e-6,
    "activation": "gelu_tanh",  # flax's
    **HALF,
}

OUTER = re.compile(r"^(opt/target/|params/)")
NAMES = {
    "cls": "cls_token",
    "embedding/": "patch_embed.proj.",
    "Transformer/posembed_input/pos_embedding": "pos_embed",
    "Transformer/encoder_norm/": "norm.",
    "pre_logits/": "pre_logits.",
    "head/": "head.",
}
IN_BLOCK = {
    "LayerNorm_0/": "norm1.",
    "LayerNorm_2/": "norm2.",
    "MultiHeadDotProductAttention_1/query/": "attn.q.",
    "MultiHeadDotProductAttention_1/key/": "attn.k.",
    "MultiHeadDotProductAttention_1/value/": "attn.v.",
    "MultiHeadDotProductAttention_1/out/": "attn.proj.",
    "MlpBlock_3/Dense_0/": "mlp.fc1.",
    "MlpBlock_3/Dense_1/": "mlp.fc2.",
}
KINDS = {"kernel": "weight", "scale": "weight", "bias": "bias"}


def recognizes(names: set[str]) -> bool:
    """Whether these are the paper's names."""
    return any("Transformer/encoderblock_0/" in name for name in names)


def translate(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors with timm's names and layout, and the number of heads from the shapes."""
    found, facts = {}, dict(FACTS)
    for name, tensor in tensors.items():
        inner = OUTER.sub("", name)
        new = _renamed(inner)
        if new.endswith("attn.q.weight"):
            facts["num_heads"] = tensor.shape[1]
        found[new] = _to_torch_layout(new, tensor)
    return found, facts


def _renamed(name: str) -> str:
    block = re.match(r"Transformer/encoderblock_(\d+)/", name)
    table, prefix = (IN_BLOCK, f"blocks.{block[1]}.") if block else (NAMES, "")
    remainder = name[block.end() :] if block else name
    for old, new in table.items():
        if remainder.startswith(old):
            suffix = remainder.removeprefix(old)
            return prefix + new + KINDS.get(suffix, suffix)
    return name


def _to_torch_layout(name: str, tensor: Tensor) -> Tensor:
    """(in, out) -> (out, in), with a kernel's heads merged into one axis."""
    shape = tensor.shape
    if name.endswith((".q.bias", ".k.bias", ".v.bias")) and len(shape) == 2:
        return tensor.reshaped(shape[0] * shape[1])
    if not name.endswith("weight"):
        return tensor
    if name.endswith("attn.proj.weight") and len(shape) == 3:
        tensor = tensor.reshaped(shape[0] * shape[1], shape[2])
    elif ".attn." in name and len(shape) == 3:
        tensor = tensor.reshaped(shape[0], shape[1] * shape[2])
    if len(shape) == 4:
        return tensor.transposed(3, 2, 0, 1)
    return tensor.transposed() if len(tensor.shape) == 2 else tensor
