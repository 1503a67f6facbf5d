"""Hugging Face's Vision Transformers: their tensors by timm's names, and the facts in
config.json.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

from minivit.errors import UserError
from minivit.interop.tensors import Tensor
from minivit.interop.timm import CLIP, HALF, IMAGENET


class Kind(NamedTuple):
    """A model type. marker: a tensor that only this type has, for files without a config.json.
    facts: its defaults.
    """

    summary: str
    marker: str
    facts: dict[str, Any]


KINDS: dict[str, Kind] = {
    "clip_vision_model": Kind("CLIP's vision tower", "pre_layrnorm", {"norm_eps": 1e-5, **CLIP}),
    "siglip_vision_model": Kind("SigLIP's vision tower", "head.probe", {"norm_eps": 1e-6, **HALF}),
    "dinov3_vit": Kind("DINOv3", "mlp.up_proj", {"norm_eps": 1e-5, "rope": "dinov3", **IMAGENET}),
    "dinov2_with_registers": Kind(
        "DINOv2 with registers", "register_tokens", {"norm_eps": 1e-6, **IMAGENET}
    ),
    "dinov2": Kind("DINOv2", "layer_scale1", {"norm_eps": 1e-6, **IMAGENET}),
    "deit": Kind("DeiT", "distillation_token", {"norm_eps": 1e-12, **IMAGENET}),
    "vit_mae": Kind("MAE's encoder", "decoder", {"norm_eps": 1e-12, **IMAGENET}),
    "ijepa": Kind("I-JEPA", "ijepa.", {"norm_eps": 1e-12, **IMAGENET}),
    "vit": Kind("ViT, DINO", "layernorm_before", {"norm_eps": 1e-12, **HALF}),
}
"""By `model_type` of config.json, most specific first."""

ALIASES = {"clip": "clip_vision_model", "siglip": "siglip_vision_model"}
"""Models with a text tower; only the vision tower is read."""

ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "quick_gelu": "quick_gelu",
    "silu": "gelu",  # for SwiGLU, which supports no other
}

OUTER = re.compile(
    r"^(vit|deit|ijepa|dinov2|dinov2_with_registers|clip|siglip|dinov3_vit|vision_model|backbone|model)\."
)
UNUSED = re.compile(
    r"(embeddings\.mask_token|(.*\.)?pooler\..*|visual_projection\..*|decoder.*|mask_token"
    r"|text_model\..*|text_projection\..*|logit_scale|logit_bias|(.*\.)?position_ids)"
)
"""Tensors that are not needed to classify images: for pre-training, for text."""

NAMES = (
    (r"embeddings\.(cls_token|class_embedding)", "cls_token"),
    (r"embeddings\.(position_embeddings|position_embedding\.weight)", "pos_embed"),
    (r"embeddings\.patch_embedding(s\.projection|s|)\.", "patch_embed.proj."),
    (r"embeddings\.distillation_token", "dist_token"),
    (r"embeddings\.register_tokens", "reg_token"),
    (r"(encoder\.)?layers?\.(\d+)\.", r"blocks.\2."),
    (r"pre_layrnorm\.", "norm_pre."),
    (r"(layernorm|post_layernorm|norm)\.", "norm."),
    (r"(classifier|cls_classifier)\.", "head."),
    (r"distillation_classifier\.", "head_dist."),
    (r"head\.probe", "attn_pool.latent"),
    (r"head\.attention\.out_proj\.", "attn_pool.proj."),
    (r"head\.attention\.", "attn_pool."),
    (r"head\.layernorm\.", "attn_pool.norm."),
    (r"head\.mlp\.", "attn_pool.mlp."),
)
"""Prefixes of Hugging Face's names (regular expressions), and timm's; the first match counts."""

IN_BLOCK = (
    (r"(layernorm_before|layer_norm1|norm1)\.", "norm1."),
    (r"(layernorm_after|layer_norm2|norm2)\.", "norm2."),
    (r"attention\.attention\.([qkv])(uery|ey|alue)\.", r"attn.\1."),
    (r"(attention|self_attn)\.([qkv])_proj\.", r"attn.\2."),
    (r"(attention\.output\.dense|attention\.o_proj|self_attn\.out_proj)\.", "attn.proj."),
    (r"(intermediate\.dense|mlp\.fc1|mlp\.weights_in)\.", "mlp.fc1."),
    (r"(output\.dense|mlp\.fc2|mlp\.weights_out|mlp\.down_proj)\.", "mlp.fc2."),
    (r"mlp\.gate_proj\.", "mlp.fc1_g."),
    (r"layer_scale([12])\.lambda1", r"ls\1.gamma"),
)
"""The same for names within a block."""


def kind_of(names: set[str], settings: Mapping[str, Any] | None) -> str | None:
    """The model type, by config.json or by names; None: not Hugging Face's.

    Raises:
        UserError: an unsupported type.
    """
    if settings is not None and "model_type" in settings:
        found = str(settings["model_type"])
        found = ALIASES.get(found, found)
        if found not in KINDS:
            raise UserError(
                f"model_type {ascii(found)[:60]} is not supported; expected one of "
                f"{', '.join(KINDS)}"
            )
        return found
    if not any(re.search(r"(^|\.)embeddings\.", name) for name in names):
        return None
    return next((kind for kind in KINDS if any(KINDS[kind].marker in n for n in names)), None)


def translate(
    tensors: Mapping[str, Tensor], kind: str
) -> tuple[dict[str, Tensor], list[str], list[str]]:
    """Tensors by timm's names; those known to be unused; notes for the user."""
    found: dict[str, Tensor] = {}
    unused = []
    for name, tensor in tensors.items():
        inner = name
        while OUTER.match(inner) and not UNUSED.fullmatch(inner):
            inner = OUTER.sub("", inner)
        if UNUSED.fullmatch(inner):
            unused.append(name)
        else:
            found[_renamed(inner)] = tensor
    gated = any("fc1_g" in name for name in found)
    for name in [name for name in found if ".mlp.up_proj." in name]:
        found[name.replace("up_proj", "fc1_x" if gated else "fc1")] = found.pop(name)
    return _reshaped(found, unused)


def _renamed(name: str) -> str:
    for pattern, new in NAMES:
        name, count = re.subn(f"^{pattern}", new, name)
        if count:
            break
    block = re.match(r"blocks\.\d+\.", name)
    if block:
        inner = name[block.end() :]
        for pattern, new in IN_BLOCK:
            inner, count = re.subn(f"^{pattern}", new, inner)
            if count:
                break
        name = block[0] + inner
    return name


def _reshaped(
    found: dict[str, Tensor], unused: list[str]
) -> tuple[dict[str, Tensor], list[str], list[str]]:
    """Convert tensors that have the same numbers in another form."""
    notes: list[str] = []
    for name in ("cls_token", "pos_embed"):
        if name in found and len(found[name].shape) < 3:
            tensor = found[name]
            found[name] = tensor.reshaped(1, *((1,) * (2 - len(tensor.shape))), *tensor.shape)
    for kind in ("weight", "bias"):
        packed = found.pop(f"attn_pool.in_proj_{kind}", None)
        if packed is not None:
            C = packed.shape[0] // 3
            found[f"attn_pool.q.{kind}"] = packed.rows(0, C)
            found[f"attn_pool.kv.{kind}"] = packed.rows(C, 3 * C)
    if found.get("reg_token") is not None and found["reg_token"].shape[1] == 0:
        del found["reg_token"]
    if "dist_token" in found and "head_dist.weight" not in found:  # no head uses it: a register
        found["reg_token"] = found.pop("dist_token")
    elif "reg_token" in found and "pos_embed" in found:
        # positions of class token and patches, but not of the registers between them
        pos, cls = found["pos_embed"], found["cls_token"]
        found["cls_token"] = Tensor(cls.shape, lambda: cls.read() + pos.read()[:, :1])
        shape = (1, pos.shape[1] - 1, pos.shape[2])
        found["pos_embed"] = Tensor(shape, lambda: pos.read()[:, 1:])
    head, C = found.get("head.weight"), found["cls_token"].shape[-1] if "cls_token" in found else 0
    if head is not None and C and head.shape[1] == 2 * C:
        unused += ["classifier.weight", "classifier.bias"]
        notes.append("its head takes class token and mean of the patches together and is left out")
        del found["head.weight"], found["head.bias"]
    return found, unused, notes


def facts_from_json(
    kind: str, settings: Mapping[str, Any], images: Mapping[str, Any]
) -> dict[str, Any]:
    """The facts in config.json and preprocessor_config.json.

    Args:
        images: the contents of preprocessor_config.json; empty if there is none.
    """
    vision = settings.get("vision_config")
    if isinstance(vision, Mapping):  # next to a text tower
        settings = {**settings, **vision}
    found = dict(KINDS[kind].facts)
    names = {
        "num_heads": "num_attention_heads",
        "norm_eps": "layer_norm_eps",
        "image_size": "image_size",
        "rope_theta": "rope_theta",
    }
    found |= {key: settings[name] for key, name in names.items() if name in settings}
    act = settings.get("hidden_act")
    if act is not None:
        if act not in ACTIVATIONS:
            raise UserError(
                f"hidden_act {ascii(act)[:40]} is not supported; expected one of "
                f"{', '.join(ACTIVATIONS)}"
            )
        found["activation"] = ACTIVATIONS[act]
    labels = settings.get("id2label")
    if isinstance(labels, Mapping):
        found["class_names"] = [labels[key] for key in sorted(labels, key=int)]
    for key, name in (("mean", "image_mean"), ("std", "image_std")):
        if isinstance(images.get(name), list):
            found[key] = tuple(images[name])
    return found | _preprocess(images)


RESAMPLE = {2: "bilinear", 3: "bicubic"}
"""Pillow's resampling codes, as in preprocessor_config.json."""


def _preprocess(images: Mapping[str, Any]) -> dict[str, Any]:
    """Size, shape and interpolation from preprocessor_config.json."""
    found: dict[str, Any] = {}
    resample = images.get("resample")
    if isinstance(resample, int) and resample in RESAMPLE:
        found["interpolation"] = RESAMPLE[resample]
    crop, size = _size(images, "crop_size"), _size(images, "size")
    if images.get("do_center_crop") and crop:
        found["size"] = crop
        shortest = images.get("size")
        shortest = shortest.get("shortest_edge") if isinstance(shortest, Mapping) else shortest
        if isinstance(shortest, int) and shortest >= min(crop):
            found["crop_share"] = min(crop) / shortest
    elif size:
        found |= {"size": size, "resize": "stretch"}
    return found


def _size(images: Mapping[str, Any], name: str) -> tuple[int, int] | None:
    """Height and width, as a pair or as one number for both."""
    value = images.get(name)
    if isinstance(value, Mapping):
        sides = value.get("height"), value.get("width")
    else:
        sides = value, value
    whole = all(isinstance(side, int) and side > 0 for side in sides)
    return cast(tuple[int, int], sides) if whole else None
