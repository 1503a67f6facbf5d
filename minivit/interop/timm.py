"""timm's Vision Transformers (Wightman, 2019): the architecture from names and shapes of tensors.

minivit's own names are timm's, so every other family is first converted to these.
"""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, get_args

import numpy as np

from minivit.config import overlay
from minivit.data.preprocess import Interpolation
from minivit.errors import UserError
from minivit.interop.tensors import Tensor
from minivit.models import ViTConfig

Facts = Mapping[str, Any]
"""Facts that no tensor shows: fields of `ViTConfig`; mean, std, class_names; and size, resize,
crop_share and interpolation of `Preprocess`.
"""

HALF = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
CLIP = {
    "mean": (0.48145466, 0.4578275, 0.40821073),
    "std": (0.26862954, 0.26130258, 0.27577711),
}

DEFAULTS: Facts = {"norm_eps": 1e-6, "activation": "gelu", **HALF}
"""Defaults of timm's VisionTransformer, used if nothing else is known."""

RULES: tuple[tuple[str, dict[str, Any]], ...] = (
    (r"^deit|dinov2|intern|_rope_(ape_)?224", IMAGENET),
    (r"clip|radio", CLIP),
    (r"clip|_pe_", {"norm_eps": 1e-5}),
    (r"quickgelu", {"activation": "quick_gelu"}),
    (
        r"giantopt_patch16_siglip|so400m_patch16_siglip|base_patch32_siglip|large_\w+siglip\w*512",
        {"activation": "gelu_tanh"},
    ),
    (r"dinov3|lingbot", {"rope": "dinov3", "norm_eps": 1e-5, **IMAGENET}),
    (r"_rope_reg", {"rope": "axial", "rope_theta": 1e4, "rope_grid": 16}),
    (r"_rope_(224|ape)", {"rope": "axial_xy", "rope_theta": 100.0}),
    (r"tipsv2|miil", {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}),
    (r"base_patch16_gap_224|giantopt", {"num_heads": 16}),
    (r"huge_plus", {"num_heads": 20}),
)
"""Facts that follow from an architecture's name (a regular expression) but that no tensor shows."""

HEADS = {1152: 16, 1280: 16, 1408: 16, 1664: 16, 4096: 32}
"""Number of heads by width, for widths whose heads are not 64 wide."""

UNSUPPORTED = (
    (r"_rpn_", "its norms come after attention and MLP"),
    (r"rope_mixed", "its rotary frequencies are learned"),
    (r"_r\d*_s\d+|resnet", "its stem is a ResNet"),
    (r"_mci_", "its stem is a MobileCLIP"),
    (r"sapiens2", "its keys and values have fewer heads"),
    (r"_pe_", "its rotary positions are those of the Perception Encoder"),
)
"""Architectures, by name, that need an unsupported part that their tensors do not always show."""

KNOWN_UNUSED = (
    r"(.*\.)?(mask_token|cls_mask_token)",  # for pre-training on hidden patches
    r"(.*\.)?rope\.(periods|freqs|pos_embed.*|bands)",  # also computed here
    r"(.*\.)?relative_position_index|.*num_batches_tracked",
)
"""Optional tensors (regular expressions)."""


def facts_of(architecture: str) -> dict[str, Any]:
    """Facts that follow from a timm name such as "vit_base_patch16_clip_224".

    Raises:
        UserError: an architecture with an unsupported part.
    """
    for pattern, reason in UNSUPPORTED:
        if re.search(pattern, architecture):
            raise UserError(f"{architecture} is not supported: {reason}; see minivit models")
    found: dict[str, Any] = {}
    for pattern, facts in RULES:
        if re.search(pattern, architecture):
            found |= facts
    return found


def facts_from_json(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Facts in the config.json next to the weights, as timm writes it for the Hugging Face hub."""
    found = facts_of(str(settings.get("architecture", "")))
    cfg = settings.get("pretrained_cfg")
    cfg = cfg if isinstance(cfg, Mapping) else {}
    named = {"mean": "mean", "std": "std", "class_names": "label_names"}
    found |= {key: cfg[name] for key, name in named.items() if cfg.get(name) is not None}
    size = cfg.get("input_size")
    if isinstance(size, list | tuple) and len(size) == 3:
        found["image_size"] = tuple(size[1:])
    found |= _preprocess(cfg)
    arguments = settings.get("model_args")
    arguments = arguments if isinstance(arguments, Mapping) else {}
    for name, key in (("num_heads", "num_heads"), ("image_size", "img_size")):
        if key in arguments:
            found[name] = arguments[key]
    return found


RESIZE = {"center": "crop", "squash": "stretch"}
"""timm's crop modes."""


def _preprocess(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """timm's crop mode, interpolation and crop share, if supported."""
    found: dict[str, Any] = {}
    mode, interpolation, crop_pct = (
        cfg.get(key) for key in ("crop_mode", "interpolation", "crop_pct")
    )
    if isinstance(mode, str) and mode in RESIZE:
        found["resize"] = RESIZE[mode]
    if interpolation in get_args(Interpolation):
        found["interpolation"] = interpolation
    if isinstance(crop_pct, int | float) and 0 < crop_pct <= 1:
        found["crop_share"] = float(crop_pct)
    return found


def unify(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Unify tensors that timm itself stores in several ways: query, key and value together, both
    halves of SwiGLU's first layer together, LayerScale as `ls1.gamma`.
    """
    found = dict(tensors)
    for prefix in {name.partition("attn.")[0] for name in tensors if name.startswith("blocks.")}:
        if not re.fullmatch(r"blocks\.\d+\.", prefix):
            continue
        for i in "12":
            if f"{prefix}gamma_{i}" in found:
                found[f"{prefix}ls{i}.gamma"] = found.pop(f"{prefix}gamma_{i}")
        _join_qkv(found, f"{prefix}attn.")
        for kind in ("weight", "bias"):
            gate, value = f"{prefix}mlp.fc1_g.{kind}", f"{prefix}mlp.fc1_x.{kind}"
            if gate in found and value in found:
                found[f"{prefix}mlp.fc1.{kind}"] = Tensor.joined(
                    (found.pop(gate), found.pop(value))
                )
    return found


def _join_qkv(found: dict[str, Tensor], attn: str) -> None:
    """attn.q, attn.k and attn.v (`.weight`, `.bias`), or q_bias and v_bias -> attn.qkv."""
    if f"{attn}q.weight" in found:
        parts = [found.pop(f"{attn}{part}.weight") for part in "qkv"]
        found[f"{attn}qkv.weight"] = Tensor.joined(parts)
    for bias in ("q.bias", "q_bias"):
        if f"{attn}{bias}" not in found:
            continue
        width = found[f"{attn}{bias}"].shape[0]
        biases = [
            found.pop(f"{attn}{bias.replace('q', part, 1)}", Tensor.zeros(width)) for part in "qkv"
        ]  # a bias of the keys adds a constant to a row of scores, to which softmax is invariant
        found[f"{attn}qkv.bias"] = Tensor.joined(biases)


def describe(tensors: Mapping[str, Tensor], facts: Facts) -> ViTConfig:
    """The model that tensors with timm's names belong to.

    Args:
        facts: what else is known; see `Facts`.

    Raises:
        UserError: not a Vision Transformer, or one with unsupported parts.
    """
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    patch = shapes.get("patch_embed.proj.weight")
    if patch is None or len(patch) != 4 or patch[2] != patch[3]:
        raise UserError(
            "not a supported Vision Transformer: there is no projection of square patches; see "
            "minivit models"
        )
    C, channels, P, _ = patch
    numbers = set(_numbers(shapes, r"blocks\.(\d+)\."))
    depth = len(numbers)
    if numbers != set(range(depth)):
        raise UserError(f"it has blocks 0 to {depth - 1}, but not all of them; download it again")
    first = {n.removeprefix("blocks.0."): s for n, s in shapes.items() if n.startswith("blocks.0.")}
    if "attn.qkv.weight" not in first or "mlp.fc2.weight" not in first:
        first_name = next(iter(sorted(first)), "none")
        raise UserError(f"its blocks are of an unsupported kind ({first_name}, …)")
    hidden = first["mlp.fc2.weight"][1]
    width = first["mlp.fc1.weight"][0]
    registers = shapes.get("reg_token", (1, 0, C))[1]
    distilled, classes = "dist_token" in shapes, "cls_token" in shapes
    prefix = registers + classes + distilled
    grid, embedded = _grid(shapes, prefix, facts, P)
    final = "tokens" if "norm.weight" in shapes else "none"
    fields = {
        "image_size": grid[0] * P if grid[0] == grid[1] else (grid[0] * P, grid[1] * P),
        "patch_size": P,
        "in_channels": channels,
        "num_classes": shapes.get("head.weight", (0,))[0],
        "dim": C,
        "depth": depth,
        "num_heads": facts.get("num_heads") or _heads(C, first),
        "mlp_ratio": hidden / C,
        "mlp": "swiglu" if width == 2 * hidden else "mlp",
        "pool": _pool(shapes, classes),
        "pos_embed": _positions(shapes),
        "embed_prefix": embedded,
        "num_registers": registers,
        "distilled": distilled,
        "pre_norm": "norm_pre.weight" in shapes,
        "final_norm": "pooled" if "fc_norm.weight" in shapes else final,
        "norm": "layernorm" if "norm1.bias" in first else "rmsnorm",
        "norm_eps": facts.get("norm_eps", DEFAULTS["norm_eps"]),
        "qkv_bias": "attn.qkv.bias" in first,
        "qk_norm": "attn.q_norm.weight" in first,
        "activation": facts.get("activation", DEFAULTS["activation"]),
        "layer_scale": 1.0 if "ls1.gamma" in first else None,
        "rope": facts.get("rope", "none"),
        "rope_theta": facts.get("rope_theta", 100.0),
        "rope_grid": facts.get("rope_grid"),
        "representation_size": shapes.get("pre_logits.weight", (None,))[0],
    }
    return overlay(ViTConfig(), fields)


def _numbers(names: Iterable[str], pattern: str) -> Iterable[int]:
    return (int(found[1]) for found in (re.match(pattern, name) for name in names) if found)


def _heads(C: int, first: Mapping[str, tuple]) -> int:
    if "attn.q_norm.weight" in first:
        return C // first["attn.q_norm.weight"][0]
    heads = HEADS.get(C, C // 64)
    if not heads or C % heads:
        raise UserError(
            f"the file does not specify the number of heads for width {C}; give num_heads"
        )
    return heads


def _pool(shapes: Mapping[str, tuple], classes: bool) -> str:
    if "attn_pool.latent" in shapes:
        return "map"
    return "cls" if classes else "mean"


def _positions(shapes: Mapping[str, tuple]) -> str:
    if "pos_embed" in shapes:
        return "learned"
    return "relative_bias" if any("rel_pos.mlp." in name for name in shapes) else "none"


def _grid(
    shapes: Mapping[str, tuple], prefix: int, facts: Facts, P: int
) -> tuple[tuple[int, int], bool]:
    """Rows and columns of patches, and whether the prefix tokens have positions."""
    size = facts.get("image_size")
    size = (size, size) if isinstance(size, int) else size
    if "pos_embed" not in shapes:
        H, W = size or (224, 224)
        return (H // P, W // P), True
    T = shapes["pos_embed"][1]
    if size:
        grid = size[0] // P, size[1] // P
        for embedded in (True, False):
            if math.prod(grid) == T - prefix * embedded:
                return grid, embedded
    for embedded in (True, False):
        side = math.isqrt(max(T - prefix * embedded, 0))
        if side and side * side == T - prefix * embedded:
            return (side, side), embedded
    raise UserError(f"its {T} positions do not form a square of patches; give image_size=(H, W)")


def tabulate(tensors: Mapping[str, Tensor], vit: ViTConfig) -> dict[str, Tensor]:
    """Relative positions that an MLP computes from the logarithms of offsets (timm's RelPosMlp), as
    a table of its outputs, which is all that a model of one image size needs.
    """
    found = {name: tensor for name, tensor in tensors.items() if "rel_pos.mlp." not in name}
    for i in range(vit.depth):
        own, shared = f"blocks.{i}.attn.rel_pos.mlp.", "shared_rel_pos.mlp."
        prefix = own if f"{own}fc1.weight" in tensors else shared
        if f"{prefix}fc1.weight" in tensors:
            kinds = ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias")
            mlp = [tensors[f"{prefix}{kind}"] for kind in kinds]
            found[f"blocks.{i}.attn.relative_table"] = _table(mlp, vit.grid)
    return found


def _table(mlp: list[Tensor], grid: tuple[int, int]) -> Tensor:
    """(R, H): an MLP with ReLU, applied to the logarithm of each offset (float32 in timm)."""
    sides = [np.arange(1 - side, side, dtype=np.float32) for side in grid]
    offsets = np.stack(np.meshgrid(*sides, indexing="ij"), -1).reshape(-1, 2)
    logs = np.sign(offsets) * np.log(1 + np.abs(offsets))

    def read() -> np.ndarray:
        w1, b1, w2, b2 = (part.read() for part in mlp)
        return np.maximum(logs.astype(w1.dtype) @ w1.T + b1, 0) @ w2.T + b2

    return Tensor((len(offsets), mlp[2].shape[0]), read)


def weights(
    tensors: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]
) -> tuple[dict[str, Tensor], list[str], list[str]]:
    """Tensors with timm's names, converted to those of a minivit model.

    Linear weights are (out, in) in timm and (in, out) here; convolutions are (out, in, P, P) in
    timm and (P·P·in, out) here, as patches are flattened.

    Args:
        shapes: of the model's parameters, by name.

    Returns:
        tensors by the model's names; names known to be unused; names of tensors filled
        with zeros.

    Raises:
        UserError: a tensor is missing, has a wrong shape, or is unknown.
    """
    remaining, found, zeros = dict(tensors), {}, []
    for name, shape in shapes.items():
        tensor = remaining.pop(name, None)
        if tensor is None and name == "patch_embed.proj.bias":  # CLIP has none
            tensor = Tensor.zeros(*shape)
            zeros.append(name)
        if tensor is None:
            raise UserError(f"{name} is missing; the file is incomplete, or of an unknown kind")
        tensor = _to_model_layout(name, tensor, shape)
        if tensor.shape != shape:
            raise UserError(
                f"{name} has the shape {tensor.shape}, expected {shape}; config and weights do not "
                "match"
            )
        found[name] = tensor
    unused = sorted(name for name in remaining if is_unused(name))
    unexpected = sorted(set(remaining) - set(unused))
    if unexpected:
        raise UserError(
            f"{unexpected[0]} does not belong to any supported part; see minivit models"
        )
    return found, unused, zeros


def is_unused(name: str) -> bool:
    """Whether this tensor is optional."""
    return any(re.fullmatch(pattern, name) for pattern in KNOWN_UNUSED)


def _to_model_layout(name: str, tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    if name == "patch_embed.proj.weight" and len(tensor.shape) == 4:
        C, channels, P, Q = tensor.shape
        return tensor.transposed(2, 3, 1, 0).reshaped(P * Q * channels, C)
    if len(shape) == 2 and len(tensor.shape) == 2 and name.endswith("weight"):
        return tensor.transposed()
    return tensor
