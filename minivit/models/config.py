"""The configuration of a Vision Transformer, and named sizes."""

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal, get_args, get_origin

from minivit.errors import UserError
from minivit.ranges import Range, Ranged, whole_number

MAX_PIXELS = 4_096
MAX_STAGES = MAX_PIXELS.bit_length()  # each but the first halves the image
SIDE = Range(1, MAX_PIXELS, "attention over more tokens would not fit in memory", "pixels")
CLASSES = Range(0, 100_000, "JFT-300M has 18,291")
WIDTH = Range(1, 65_536, "that is already five times the width of GPT-3")
DEPTH = Range(0, 1_000, "the deepest Transformers have 1,000 layers")
HEADS = Range(1, 1_024, "GPT-3 has 96")
MLP_RATIO = Range(0.001, 64, "64 is already 16 times the usual hidden width")
STAGES = Range(1, 1_000, "ResNet-1001 has 111 in each stage", "bottlenecks", count=(1, MAX_STAGES))
RESIDUAL_CONVS = Range(0, 1_000, "the deepest residual networks have 1,000 layers")
REGISTERS = Range(0, 1_000, "four or eight are usual")
THETA = Range(1.001, 1e9, "100 and 10,000 are usual")
EPSILON = Range(1e-15, 0.1, "1e-12 to 1e-5 are usual")
RATE = Range(0, 0.99, "at 1 nothing would be left")


SIZES = dict.fromkeys(
    (
        *("image_size", "patch_size", "in_channels", "num_classes"),
        *("dim", "depth", "num_heads", "mlp_ratio"),
        *("attention_init", "dropout", "attn_dropout", "drop_path"),
    )
)
"""Sizes, rates and the initialization, with any value: for `ViTConfig.unsupported`."""

INFERENCE_FIELDS = {**SIZES, "patch_dropout": None}
"""`SIZES` and a field that only training uses: for code that runs or converts trained models."""


@dataclass(frozen=True, kw_only=True)
class ViTConfig(Ranged):
    """The sizes and options of a Vision Transformer; inconsistent ones raise UserError.

    The defaults are the preset `Micro/4`, for 32×32 images.
    """

    image_size: Annotated[int | tuple[int, int], SIDE] = 32
    """Side of the images in pixels, or height and width."""
    patch_size: Annotated[int, SIDE] = 4
    """Side of a patch in pixels; must divide the image's sides."""
    in_channels: Annotated[int, Range(1, 1_000, "hyperspectral images have hundreds")] = 3
    """Color channels of a pixel."""
    num_classes: Annotated[int, CLASSES] = 10
    """Number of classes; 0 for no head: the model then outputs its features."""
    dim: Annotated[int, WIDTH] = 128
    """Width of a token."""
    depth: Annotated[int, DEPTH] = 6
    """Number of encoder blocks."""
    num_heads: Annotated[int, HEADS] = 4
    """Number of attention heads; must divide dim."""
    mlp_ratio: Annotated[float, MLP_RATIO] = 2.0
    """Hidden width of the MLP relative to dim."""
    mlp: Literal["mlp", "swiglu"] = "mlp"
    """The MLP: two layers with an activation between them; or SwiGLU, whose first layer also
    outputs a gate.
    """
    stem: Literal["patch", "conv", "strided", "resnet"] = "patch"
    """How pixels become tokens: patches; or, on the same grid, convolutions with max pooling
    (conv), convolutions with stride 2 (strided), or a ResNet's feature map (hybrids; a ResNet with
    depth 0 is a ResNet alone).
    """
    residual_convs: Annotated[int, RESIDUAL_CONVS] = 0
    """Residual 3×3 convolutions at the end of stem conv, on the grid of tokens."""
    stages: Annotated[tuple[int, ...], STAGES] = (2, 2, 2)
    """Bottlenecks in each stage of stem resnet; the image is halved between stages."""
    pool: Literal["cls", "mean", "seq", "map"] = "cls"
    """The input of the head: a class token; or, without one, the mean of all patches, a mean with
    learned weights (sequence pooling), or the output of a learned query (attention pooling).
    """
    num_registers: Annotated[int, REGISTERS] = 0
    """Register tokens: extra tokens that the head does not use."""
    distilled: bool = False
    """A second class token with its own head, as in DeiT; the logits are the mean of both."""
    pos_embed: Literal["learned", "sincos2d", "relative", "relative_bias", "none"] = "learned"
    """Position embedding: learned 1-D, fixed 2-D sines and cosines, learned relative positions
    inside every attention (an embedding per offset, or a number per head), or none.
    """
    embed_prefix: bool = True
    """Whether the class token and the registers also have learned positions."""
    rope: Literal["none", "axial", "axial_xy", "dinov3"] = "none"
    """Rotary positions: queries and keys are rotated by angles that depend on row and column: as in
    EVA, as in EVA with columns first, or as in DINOv3.
    """
    rope_theta: Annotated[float, THETA] = 100.0
    """Base of the rotary frequencies."""
    rope_grid: Annotated[int | None, SIDE] = None
    """Side of the grid that axial rotary positions are scaled to; None: not scaled."""
    representation_size: Annotated[int | None, WIDTH] = None
    """Width of a tanh layer before the head, as in the paper's pre-training; None for none."""
    activation: Literal["gelu", "gelu_tanh", "quick_gelu"] = "gelu"
    """Exact GELU, its tanh form as in the paper's code, or its logistic form as in CLIP; not used
    with SwiGLU.
    """
    norm: Literal["layernorm", "rmsnorm"] = "layernorm"
    """Normalization of tokens: LayerNorm; or RMSNorm, without mean and shift."""
    norm_eps: Annotated[float, EPSILON] = 1e-6
    """Epsilon of the norms, added to the variance."""
    pre_norm: bool = False
    """A norm before the blocks, as in CLIP."""
    final_norm: Literal["tokens", "pooled", "none"] = "tokens"
    """The last norm: of all tokens, after pooling, or none."""
    qkv_bias: bool = True
    """Whether queries, keys and values have a bias."""
    qk_norm: bool = False
    """Normalize each head's queries and keys."""
    attention_init: Literal["xavier", "mimetic"] = "xavier"
    """Initial weights of the attention: Xavier-uniform, as in the paper's code; or mimetic: queries
    resemble keys, and the output is subtracted (for training from scratch on few images).
    """
    layer_scale: Annotated[float | None, Range(1e-12, 1, "branches start small")] = None
    """LayerScale: initial scale of each residual branch, such as 1e-5; None for none."""
    dropout: Annotated[float, RATE] = 0.0
    """Dropout after every dense layer except qkv, and after the position embedding."""
    attn_dropout: Annotated[float, RATE] = 0.0
    """Dropout on the attention weights."""
    drop_path: Annotated[float, RATE] = 0.0
    """Stochastic depth: rate of the last block; it increases linearly from 0 in the first."""
    patch_dropout: Annotated[float, RATE] = 0.0
    """PatchDropout: fraction of each image's patches that training drops, for speed."""

    def __post_init__(self) -> None:
        for name in ("image_size", "stages"):  # JSON has no tuples
            if isinstance(getattr(self, name), list):
                object.__setattr__(self, name, tuple(getattr(self, name)))
        super().__post_init__()
        self._check_choices()
        self._check_sizes()

    def _check_choices(self) -> None:
        for field in fields(self):
            choices, found = get_args(field.type), getattr(self, field.name)
            if get_origin(field.type) is Literal and found not in choices:
                raise UserError(f"{field.name} is {found}; expected one of {', '.join(choices)}")

    def _check_sizes(self) -> None:
        if not self.depth and self.stem != "resnet":
            raise UserError("depth is 0; expected at least 1: only a ResNet has no blocks")
        H, W = self.image_hw
        if H % self.patch_size or W % self.patch_size:
            raise UserError(
                f"patch_size {self.patch_size} does not divide the image of {H}×{W} pixels; "
                "choose one that divides both sides"
            )
        if self.dim % self.num_heads:
            raise UserError(
                f"num_heads {self.num_heads} does not divide dim {self.dim}; "
                "each head needs an equal share of the width"
            )
        P = self.patch_size
        if self.stem in ("conv", "strided") and (P < 2 or P & (P - 1) or self.dim % 2):
            raise UserError(
                f"stem {self.stem} needs a patch_size of 2, 4, 8 … and an even dim, found {P} and "
                f"{self.dim}; each of its stages halves the image"
            )
        if self.residual_convs and self.stem != "conv":
            raise UserError(
                f"residual_convs is {self.residual_convs}; expected 0 for stem {self.stem}: only "
                "stem conv has residual convolutions"
            )
        if self.stem == "resnet":
            self._check_stages()
        self._check_tokens()
        if self.hidden < 1:
            raise UserError(f"mlp_ratio is {self.mlp_ratio}; expected a hidden width of at least 1")
        if self.pos_embed == "sincos2d" and self.dim % 4:
            raise UserError(
                f"pos_embed sincos2d needs a dim that is a multiple of 4, found {self.dim}"
            )

    def _check_tokens(self) -> None:
        if self.distilled and (
            self.pool != "cls" or self.representation_size or self.final_norm == "pooled"
        ):
            raise UserError(
                "distilled needs pool cls, no representation_size, and no norm after pooling"
            )
        if self.patch_dropout and not self.positions_are_added:
            raise UserError(
                f"patch_dropout needs positions that are added to the tokens, found pos_embed "
                f"{self.pos_embed}, rope {self.rope}; use learned or sincos2d without rope"
            )
        head_dim = self.dim // self.num_heads
        if self.rope != "none" and head_dim % 4:
            raise UserError(f"rope needs heads whose width is a multiple of 4, found {head_dim}")

    def _check_stages(self) -> None:
        count = len(self.stages)
        if self.patch_size != 2 ** (count - 1):
            raise UserError(
                f"{count} stages make tokens of {2 ** (count - 1)} pixels, but patch_size is "
                f"{self.patch_size}; they must be equal"
            )
        if self.dim % (16 * self.patch_size):  # the narrowest bottleneck then has four channels
            raise UserError(
                f"dim {self.dim} cannot be halved from stage to stage; with {count} stages "
                f"choose a multiple of {16 * self.patch_size}"
            )

    @property
    def kind(self) -> str:
        """A name for this kind of model."""
        if self.stem == "patch":
            return "ViT"
        return "hybrid" if self.depth else "ResNet"

    @property
    def image_hw(self) -> tuple[int, int]:
        """Height and width of the images."""
        size = self.image_size
        return size if isinstance(size, tuple) else (size, size)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        H, W = self.image_hw
        return H // self.patch_size, W // self.patch_size

    @property
    def num_prefix_positions(self) -> int:
        """How many of the learned positions belong to tokens before the patches."""
        return self.num_positions - math.prod(self.grid)

    @property
    def positions_are_added(self) -> bool:
        """Whether positions enter the model only by addition to its tokens, before the blocks."""
        return self.pos_embed in ("learned", "sincos2d", "none") and self.rope == "none"

    def unsupported(self, known: Mapping[str, tuple | None]) -> tuple[str, Any] | None:
        """The first field whose value is not supported, and that value; None if all are supported.

        Args:
            known: the supported values of each field, or None for any value. Every other
            field must have its default.
        """
        for field in fields(self):
            value, values = getattr(self, field.name), known.get(field.name, (field.default,))
            if values is not None and value not in values:
                return field.name, value
        return None

    @property
    def num_class_tokens(self) -> int:
        """Number of leading tokens that the head uses: class token, distillation token."""
        return (self.pool == "cls") + self.distilled

    @property
    def num_prefix(self) -> int:
        """Number of tokens before the patches: class tokens, then registers."""
        return self.num_class_tokens + self.num_registers

    @property
    def num_tokens(self) -> int:
        """T: the patches and the tokens before them."""
        rows, columns = self.grid
        return rows * columns + self.num_prefix

    @property
    def num_positions(self) -> int:
        """Number of tokens with a learned position, if positions are learned."""
        return self.num_tokens - (0 if self.embed_prefix else self.num_prefix)

    @property
    def hidden(self) -> int:
        """F: the hidden width of the MLP."""
        # a ratio of two widths may be slightly too small
        return int(self.dim * self.mlp_ratio + 1e-6)

    @classmethod
    def preset(cls, name: str, **overrides: Any) -> "ViTConfig":
        """The configuration of a named size, such as "S/16"; after the slash is the patch size.

        Args:
            name: as in `preset_fields`. overrides: fields to change, e.g. `num_classes=100`.

        Raises:
            UserError: unknown name (did you mean …), unknown field, or inconsistent sizes.
        """
        unknown = set(overrides) - {field.name for field in fields(cls)}
        if unknown:
            raise UserError(f"ViTConfig has no field {', '.join(sorted(unknown))}")
        return cls(**{**preset_fields(name), **overrides})


PRESETS: dict[str, dict] = {
    # the paper's (table 1; Ti and S from Touvron et al., 2021): 224×224, 1,000 classes
    "Ti": {"dim": 192, "depth": 12, "num_heads": 3, "mlp_ratio": 4.0, "image_size": 224},
    "S": {"dim": 384, "depth": 12, "num_heads": 6, "mlp_ratio": 4.0, "image_size": 224},
    "B": {"dim": 768, "depth": 12, "num_heads": 12, "mlp_ratio": 4.0, "image_size": 224},
    "L": {"dim": 1024, "depth": 24, "num_heads": 16, "mlp_ratio": 4.0, "image_size": 224},
    "H": {"dim": 1280, "depth": 32, "num_heads": 16, "mlp_ratio": 4.0, "image_size": 224},
    # for 32×32 images and ten classes
    "Nano": {"dim": 96, "depth": 4, "num_heads": 4, "mlp_ratio": 2.0, "image_size": 32},
    "Micro": {"dim": 128, "depth": 6, "num_heads": 4, "mlp_ratio": 2.0, "image_size": 32},
    "Mini": {"dim": 192, "depth": 9, "num_heads": 3, "mlp_ratio": 4.0, "image_size": 32},
    "Lite": {"dim": 256, "depth": 7, "num_heads": 4, "mlp_ratio": 2.0, "image_size": 32},
}
"""Sizes by name, to be followed by a slash and the patch size."""

_PLAIN_STEM = {name: getattr(ViTConfig, name) for name in ("stem", "residual_convs", "stages")}

_RESNET = {"stem": "resnet", "depth": 0, "pool": "mean", "pos_embed": "none", "image_size": 32}
RESNETS: dict[str, dict] = {
    # BiT-style, three stages for 32×32; about as many parameters as Nano/4, Micro/4 and Lite/4
    "resnet-11": {**_RESNET, "dim": 384, "stages": (1, 1, 1)},
    "resnet-20": {**_RESNET, "dim": 512, "stages": (2, 2, 2)},
    "resnet-38": {**_RESNET, "dim": 768, "stages": (4, 4, 4)},
}
"""ResNets by name; the number counts layers, as in He et al."""


def preset_fields(name: str) -> dict:
    """The `ViTConfig` fields of a named model: "S/16", "hybrid-S/16" (convolutions instead of
    patches) or a name of `RESNETS`; among them all that decide its stem, so that one model replaces
    another. Raises UserError for any other name.
    """
    if name in RESNETS:
        return {**_PLAIN_STEM, **RESNETS[name], "patch_size": 4, "num_classes": 10}
    hybrid = "hybrid-" if name.startswith("hybrid-") else ""
    size, _, patch = name.removeprefix(hybrid).partition("/")
    patch_size = whole_number(patch)
    if size not in PRESETS or patch_size is None:
        spelled = {key.lower(): key for key in PRESETS}
        close = difflib.get_close_matches(size.lower(), spelled, 1, cutoff=0.4)
        hint = f'did you mean "{hybrid}{spelled[close[0]]}/{patch or 4}"? ' if close else ""
        raise UserError(
            f'model "{name}" is unknown; {hint}expected SIZE/PATCH with a size of '
            f"{', '.join(PRESETS)}, as in Micro/4, S/16 or hybrid-Micro/4; or "
            f"{', '.join(RESNETS)}"
        )
    found = {**_PLAIN_STEM, **PRESETS[size], "patch_size": patch_size}
    found["num_classes"] = 1000 if found["image_size"] == 224 else 10
    if hybrid:
        found["stem"] = "conv"
    return found


def preset_for_data(name: str) -> dict:
    """`preset_fields` without the image size and the number of classes, which depend on the data
    set.
    """
    fields = preset_fields(name)
    return {key: v for key, v in fields.items() if key not in ("image_size", "num_classes")}
