"""Loading of trained Vision Transformers: minivit's own runs, or published weights."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from minivit.backend import to_device, use_device
from minivit.data import Preprocess, Statistics
from minivit.data.dataset import is_name
from minivit.engine import Pretrained, Run, Trained, load_model, load_pretrained
from minivit.engine.checkpoint import FORMAT
from minivit.engine.trained import require_layers
from minivit.engine.transfer import resize_positions, resized
from minivit.errors import UserError
from minivit.files import read_json, reading
from minivit.interop import huggingface, jax, timm
from minivit.interop.tensors import Tensor, find_weights, read_tensors
from minivit.models import Build, ViT, ViTConfig

OVERRIDABLE = (
    "num_heads",
    "norm_eps",
    "activation",
    "image_size",
    "mean",
    "std",
    "rope",
    "rope_theta",
)
"""What the caller may specify if a file does not."""


@dataclass(frozen=True)
class Published:
    """A file of weights, recognized but not yet read.

    weights: by minivit's names. preprocess: how image files are meant to be prepared; their size
    may differ from the config's. notes: what was assumed or left out, one line each.
    """

    vit: ViTConfig
    weights: Mapping[str, Tensor]
    statistics: Statistics
    preprocess: Preprocess
    class_names: tuple[str, ...]
    name: str
    notes: tuple[str, ...]


def load(
    path: Path | str,
    device: str = "cpu",
    dtype: str = "float32",
    size: tuple[int, int] | None = None,
    build: Build = ViT,
    **overrides: Any,
) -> Trained:
    """Load a trained model, with its normalization and class names.

    Args:
        path: a run's directory or a checkpoint of it; or a published Vision Transformer: a
            .safetensors file with the names of timm or Hugging Face, the paper's .npz, or a folder
            with one, its shards and its config.json.
        device: "cpu", "cuda" or "cuda:N". dtype: "float32" or "float64". size: height and width of
        the images, to which positions are interpolated (bicubic); None: the size in the file or the
        run. build: the function that made the model of a run, if it has layers of your own (see
        `Trainer`). overrides: facts that are missing from the file, those in `OVERRIDABLE`, or
        `architecture`, timm's name.

    Raises:
        UserError: an unknown kind of file, a damaged file, or a pickle.
    """
    path = Path(path)
    if is_minivit(path):
        trained = load_model(path, device, build)
        return resized(trained, size) if size else trained
    found = at_size(read_published(path, **overrides), size)
    use_device(device)
    model = build(found.vit, seed=None, dtype=dtype, device=device)
    require_layers(model, (), found.name)
    views = model.flat.views(model.flat.data)
    for name, tensor in found.weights.items():
        views[name][...] = to_device(tensor.read().astype(dtype, copy=False), device)
    return Trained(
        model, found.statistics, found.preprocess, found.class_names, found.name, found.notes
    )


def load_start(path: Path) -> Pretrained:
    """What training may start from: a run's best weights, or a published file's.

    Raises:
        UserError: as for `load`.
    """
    if is_minivit(path):
        return load_pretrained(path)
    found = at_size(read_published(path), None)
    weights = {name: tensor.read() for name, tensor in found.weights.items()}
    return Pretrained(found.vit, weights, found.statistics, found.preprocess, found.class_names)


def at_size(found: Published, size: tuple[int, int] | None) -> Published:
    """The same for images of another size; None: for the size in the file."""
    size = size or found.preprocess.size
    if size == found.vit.image_hw:
        return found
    vit = dataclasses.replace(found.vit, image_size=size)
    preprocess = dataclasses.replace(found.preprocess, size=size)
    if vit.pos_embed == "relative_bias":
        raise UserError(
            f"{found.name}: its relative positions are for {found.vit.image_hw} pixels; use images "
            "of that size"
        )
    weights = dict(found.weights)
    table = weights.get("pos_embed")
    if table is not None:
        shape = (1, vit.num_positions, vit.dim)
        weights["pos_embed"] = Tensor(shape, lambda: resize_positions(table.read(), found.vit, vit))
    return dataclasses.replace(found, vit=vit, weights=weights, preprocess=preprocess)


def is_minivit(path: Path) -> bool:
    """Whether it should be read as a minivit run or checkpoint."""
    if path.is_dir() and path.suffix != ".safetensors":
        with reading(path):
            return (path / "checkpoints").is_dir() or Run(path).metrics_file.exists()
    if path.suffix != ".safetensors":
        return not path.exists()  # most users need a run's error message
    if not path.is_file():
        return True
    try:
        with safe_open(path, "numpy") as file:
            return (file.metadata() or {}).get("format", "").startswith(FORMAT.split("-")[0])
    except (SafetensorError, OSError):
        return True


def read_published(path: Path, architecture: str | None = None, **overrides: Any) -> Published:
    """The contents of a file of published weights; see `load`."""
    unknown = sorted(set(overrides) - set(OVERRIDABLE))
    if unknown:
        raise UserError(f"{unknown[0]} cannot be given; expected one of {', '.join(OVERRIDABLE)}")
    with reading(path):
        file = find_weights(path)
        settings = _read_sibling(file, "config.json")
        images = _read_sibling(file, "preprocessor_config.json")
        tensors = read_tensors(file)
    try:
        return _interpret(path, tensors, settings, images or {}, architecture, overrides)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _read_sibling(file: Path, name: str) -> dict[str, Any] | None:
    config = file.with_name(name)
    return read_json(config) if config.is_file() else None


def _interpret(
    path: Path,
    tensors: Mapping[str, Tensor],
    settings: dict[str, Any] | None,
    images: Mapping[str, Any],
    architecture: str | None,
    overrides: Mapping[str, Any],
) -> Published:
    names, notes = set(tensors), list[str]()
    kind = huggingface.kind_of(names, settings)
    unused: list[str] = []
    facts: dict[str, Any] = {}
    if jax.recognizes(names):
        tensors, facts = jax.translate(tensors)
        family = "the paper's names"
    elif kind is not None:
        tensors, unused, notes = huggingface.translate(tensors, kind)
        facts = huggingface.facts_from_json(kind, settings or {}, images)
        family = f"Hugging Face, {kind}"
    else:
        if architecture:
            facts = timm.facts_of(architecture)
        elif settings:
            facts = timm.facts_from_json(settings)
        family = "timm" + f", {architecture}" * bool(architecture)
    facts |= overrides
    tensors = timm.unify(tensors)
    vit = timm.describe(tensors, facts)
    tensors = timm.tabulate(tensors, vit)
    weights, ignored, zeros = timm.weights(tensors, ViT(vit, seed=None).flat.shapes)
    known_facts, facts = set(facts), {**timm.DEFAULTS, **facts}
    mean, std = (_per_channel(facts[name], vit.in_channels) for name in ("mean", "std"))
    normalization = {"mean": mean, "std": std}
    for name in ("num_heads", "norm_eps", "activation", "mean", "std"):
        if name not in known_facts:
            value = normalization.get(name) or getattr(vit, name)
            notes.append(
                f"{name} is not in the file; {value} is assumed, as in most of this family"
            )
        elif name in normalization and len(facts[name]) != len(normalization[name]):
            notes.append(f"{name} is given for RGB; {normalization[name]} is used, for grayscale")
    notes += [f"{name}: missing from the file, zeros are used" for name in zeros]
    if unused or ignored:
        notes.append(f"not used: {_abbreviate([*unused, *ignored])}")
    return Published(
        vit,
        weights,
        Statistics(mean, std),
        Preprocess(
            facts.get("size", vit.image_hw),
            vit.in_channels,
            **{name: facts[name] for name in RESIZE_FIELDS if name in facts},
        ),
        class_names(vit.num_classes, facts.get("class_names")),
        path.name,
        (family, *notes),
    )


def _per_channel(numbers: Sequence[float], channels: int) -> tuple[float, ...]:
    """Mean or deviation per channel. Many files of grayscale models give them for RGB: then that of
    the luma is used, which is exact for the mean and close for the deviation.
    """
    if channels == 1 and len(numbers) == 3:
        red, green, blue = map(float, numbers)
        return ((299 * red + 587 * green + 114 * blue) / 1000,)
    return tuple(map(float, numbers))


RESIZE_FIELDS = ("resize", "crop_share", "interpolation")


def _abbreviate(names: list[str]) -> str:
    return ", ".join(names[:4]) + f" and {len(names) - 4} more" * (len(names) > 4)


def class_names(count: int, names: Any = None) -> tuple[str, ...]:
    """The names that came with the weights; else ImageNet's for 1,000 classes, else numbers."""
    named = isinstance(names, list | tuple) and len(names) == count
    if named and all(isinstance(name, str) and is_name(name) for name in names):
        generic = all(name == f"LABEL_{i}" for i, name in enumerate(names))
        if not generic:
            return tuple(names)
    return imagenet() if count == 1000 else tuple(f"class {i}" for i in range(count))


@cache
def imagenet() -> tuple[str, ...]:
    """Names of ImageNet-1k's classes, in order (Russakovsky et al., 2015)."""
    text = resources.files("minivit.interop").joinpath("imagenet.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines())
