"""Export of models to other libraries: timm, Hugging Face, and (`to_onnx.py`) ONNX."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from minivit.backend import to_host
from minivit.engine import Trained
from minivit.errors import UserError
from minivit.files import make_folder, write_atomically
from minivit.interop.to_onnx import ONNX, require_no_own_layers
from minivit.models import ViT
from minivit.models.config import INFERENCE_FIELDS

TRANSFORMERS: Mapping[str, tuple | None] = {
    **INFERENCE_FIELDS,
    "pool": ("cls", "mean"),
    "pos_embed": ("learned", "sincos2d"),
    "activation": ("gelu", "gelu_tanh"),
    "layer_scale": None,
}
TIMM: Mapping[str, tuple | None] = {
    **TRANSFORMERS,
    "pos_embed": ("learned", "sincos2d", "none"),
    "norm": ("layernorm", "rmsnorm"),
}
"""What each target supports; see `ViTConfig.unsupported`."""


def to_timm(trained: Trained, file: Path) -> str:
    """Write weights for timm to a .safetensors file.

    Returns:
        the call that creates the model for them, as Python code.

    Raises:
        UserError: timm's VisionTransformer lacks a part of the model.
    """
    config = trained.model.config
    _require(trained.model, "timm's VisionTransformer", TIMM)
    tensors = in_torch_layout(trained)
    make_folder(file.parent)
    write_atomically(file, save(tensors, {"format": "pt"}))
    H, W = config.image_hw
    arguments: dict[str, Any] = {
        "img_size": H if H == W else (H, W),
        "patch_size": config.patch_size,
        "in_chans": config.in_channels,
        "num_classes": config.num_classes,
        "embed_dim": config.dim,
        "depth": config.depth,
        "num_heads": config.num_heads,
        "mlp_ratio": config.hidden / config.dim,
    }
    if config.pool == "mean":
        arguments |= {"class_token": False, "global_pool": "avg", "fc_norm": False}
    if config.pos_embed == "none":
        arguments["pos_embed"] = "none"
    if config.layer_scale is not None:
        arguments["init_values"] = config.layer_scale
    if config.activation == "gelu_tanh":
        arguments["act_layer"] = "gelu_tanh"
    if config.norm == "rmsnorm":
        arguments["norm_layer"] = "rmsnorm"
    arguments_text = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    return f"timm.models.vision_transformer.VisionTransformer({arguments_text})"


def in_torch_layout(trained: Trained) -> dict[str, np.ndarray]:
    """The weights by name in PyTorch's layout: linear (out, in), the patch projection (out, in, P,
    P); including computed positions.
    """
    config, found = trained.model.config, {}
    for name, parameter in trained.model.named_parameters():
        array = to_host(parameter.data)
        if name == "patch_embed.proj.weight":
            P = config.patch_size
            array = array.reshape(P, P, config.in_channels, config.dim).transpose(3, 2, 0, 1)
        elif array.ndim == 2:
            array = array.T
        found[name] = np.ascontiguousarray(array)
    if config.pos_embed == "sincos2d":
        found["pos_embed"] = np.ascontiguousarray(to_host(trained.model.fixed_positions))
    return found


def to_huggingface(trained: Trained, folder: Path) -> str:
    """Write a folder for `from_pretrained`: config.json, preprocessor_config.json and weights.

    A model with a class token becomes a ViT; one with mean pooling becomes an I-JEPA, the same
    model without that token. LayerScale is folded into the matrices before it.

    Returns:
        the call that loads it, as Python code.

    Raises:
        UserError: transformers' ViT and I-JEPA lack a part of the model.
    """
    config = trained.model.config
    _require(trained.model, "transformers' ViT and I-JEPA", TRANSFORMERS)
    kind, name = ("vit", "ViT") if config.pool == "cls" else ("ijepa", "IJepa")
    tensors: dict[str, np.ndarray] = {}
    for key, array in _folded(in_torch_layout(trained), config.depth).items():
        tensors |= _huggingface_names(key, array, kind)
    make_folder(folder)
    labels = dict(enumerate(trained.class_names))
    _write_json(folder / "config.json", {
        "architectures": [f"{name}ForImageClassification"],
        "model_type": kind,
        "hidden_size": config.dim,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.num_heads,
        "intermediate_size": config.hidden,
        "hidden_act": {"gelu": "gelu", "gelu_tanh": "gelu_pytorch_tanh"}[config.activation],
        "layer_norm_eps": 1e-6,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "image_size": list(config.image_hw),
        "patch_size": config.patch_size,
        "num_channels": config.in_channels,
        "qkv_bias": True,
        "id2label": labels,
        "label2id": {label: i for i, label in labels.items()},
    })  # fmt: skip
    H, W = config.image_hw
    _write_json(folder / "preprocessor_config.json", {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": {"height": H, "width": W},
        "resample": 3,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(trained.statistics.mean),
        "image_std": list(trained.statistics.std),
    })  # fmt: skip
    write_atomically(folder / "model.safetensors", save(tensors, {"format": "pt"}))
    return f"transformers.{name}ForImageClassification.from_pretrained({str(folder)!r})"


def _write_json(file: Path, content: Mapping[str, Any]) -> None:
    write_atomically(file, json.dumps(content, indent=2, ensure_ascii=False).encode())


def _folded(tensors: dict[str, np.ndarray], depth: int) -> dict[str, np.ndarray]:
    """γ (W x + b) = (γ W) x + γ b: LayerScale merged into the layer before it."""
    for i in range(depth):
        for scale, layer in (("ls1", "attn.proj"), ("ls2", "mlp.fc2")):
            gamma = tensors.pop(f"blocks.{i}.{scale}.gamma", None)
            if gamma is not None:
                for kind in ("weight", "bias"):
                    name = f"blocks.{i}.{layer}.{kind}"
                    tensors[name] = (tensors[name].T * gamma).T
    return tensors


HUGGINGFACE = {
    "cls_token": "{kind}.embeddings.cls_token",
    "pos_embed": "{kind}.embeddings.position_embeddings",
    "patch_embed.proj": "{kind}.embeddings.patch_embeddings.projection",
    "norm": "{kind}.layernorm",
    "head": "classifier",
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "attn.proj": "attention.output.dense",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}
"""Hugging Face's names by ours; names within a block are without the prefix."""


def _huggingface_names(name: str, array: np.ndarray, kind: str) -> dict[str, np.ndarray]:
    if name in ("cls_token", "pos_embed"):
        return {HUGGINGFACE[name].format(kind=kind): array}
    layer, _, part = name.rpartition(".")
    if not layer.startswith("blocks."):
        return {f"{HUGGINGFACE[layer].format(kind=kind)}.{part}": array}
    _, i, inner = layer.split(".", 2)
    block = f"{kind}.encoder.layer.{i}"
    if inner != "attn.qkv":
        return {f"{block}.{HUGGINGFACE[inner]}.{part}": array}
    projections = zip(("query", "key", "value"), np.split(array, 3), strict=True)
    return {
        f"{block}.attention.attention.{projection}.{part}": np.ascontiguousarray(rows)
        for projection, rows in projections
    }


def _require(model: ViT, target: str, known: Mapping[str, tuple | None]) -> None:
    """Raises UserError for a model that the target does not support."""
    require_no_own_layers(model)
    config = model.config
    unknown = config.unsupported(known)
    if unknown is not None:
        advice = "; export to onnx instead" if config.unsupported(ONNX) is None else ""
        raise UserError("{} is {}, which is not supported by {}{}".format(*unknown, target, advice))
