"""Transfer of weights to another model: another image size, other classes."""

import dataclasses
from dataclasses import replace

import numpy as np

from minivit.backend import to_device, to_host
from minivit.engine.trained import Pretrained, Trained, require_layers
from minivit.errors import UserError
from minivit.functional import interpolate_forward, resize_positions_forward
from minivit.functional.interpolate import Mode
from minivit.models import Model, ViTConfig

HEAD = ("head.", "pre_logits.")
PRETEXT = ("mask_token", "decoder.")  # only for masked patch prediction

MAY_DIFFER = {
    "image_size": "positions are interpolated",
    "num_classes": "the head is new",
    "representation_size": "a part of the head",
    "attention_init": "the weights are replaced",
    "dropout": "no weights",
    "attn_dropout": "no weights",
    "drop_path": "no weights",
    "patch_dropout": "no weights",
}
"""Fields of `ViTConfig` in which the new model may differ from the source of its weights, with the
reason. In every other field the two must agree.
"""


def transfer(
    model: Model, source: Pretrained, class_names: tuple[str, ...], mode: Mode = "bicubic"
) -> list[str]:
    """Initialize a model with the weights of another (paper, section 3.2).

    All weights are copied; position embeddings are interpolated if the grid differs, except for the
    class token's; the head (with its pre-logits) is not copied if the classes or its sizes differ.

    Args:
        model: its weights are replaced. source: what it starts from. class_names: the model's.

    Returns:
        what was changed, one line each.

    Raises:
        UserError: the models differ in more than image size and classes, or positions that are not
        minivit's belong to another grid.
    """
    old = source.vit
    _require_same_encoder(old, model.config)
    require_layers(model, source.own_layers, "the model to start from")
    arrays = {name: a for name, a in source.weights.items() if not name.startswith(PRETEXT)}
    changes = []
    if "pos_embed" in arrays and old.grid != model.config.grid:
        arrays["pos_embed"] = resize_positions(arrays["pos_embed"], old, model.config, mode)
        changes.append(f"position embeddings: {_hw(old.grid)} -> {_hw(model.config.grid)}, {mode}")
    if old.pos_embed == "relative" and old.grid != model.config.grid:
        for name in [name for name in arrays if name.endswith("relative_table")]:
            arrays[name] = resize_offsets(arrays[name], old.grid, model.config.grid, mode)
        changes.append(f"relative positions: {_hw(old.grid)} -> {_hw(model.config.grid)}, {mode}")
    new_head = _new_head(source, model.config, class_names)
    if new_head:
        changes.append(f"head: new, zero, {new_head}")
        arrays = {name: a for name, a in arrays.items() if not name.startswith(HEAD)}
    views = model.flat.views(model.flat.data)
    for name, array in arrays.items():
        if array.shape != views[name].shape:
            raise UserError(
                f"{name} is {array.shape}, expected {views[name].shape}: only minivit's own "
                "positions can be interpolated to another grid; keep the image size"
            )
        views[name][...] = to_device(np.asarray(array, to_host(views[name]).dtype), model.device)
    return changes


def _new_head(source: Pretrained, config: ViTConfig, class_names: tuple[str, ...]) -> str:
    """Why the source's head cannot be used, in words; "" if it can."""
    if source.class_names != tuple(class_names):
        return f"for {len(class_names)} other classes"
    for name in ("num_classes", "representation_size"):
        had, has = getattr(source.vit, name), getattr(config, name)
        if had != has:
            return f"its {name} is {has}, not {had}"
    return ""


def resized(trained: Trained, size: tuple[int, int]) -> Trained:
    """The same model for images of another (height, width), with interpolated positions.

    Raises:
        UserError: the size is not a multiple of the patch size.
    """
    if size == trained.preprocess.size:
        return trained
    old = trained.model
    config = replace(old.config, image_size=size)
    model = trained.build(config, seed=None, dtype=str(old.dtype), device=old.device)
    weights = old.flat.host_views(old.flat.data)
    names, preprocess = trained.class_names, replace(trained.preprocess, size=size)
    source = Pretrained(
        old.config,
        weights,
        trained.statistics,
        preprocess,
        names,
        own_layers=old.own_layers,
    )
    transfer(model, source, names)
    return replace(trained, model=model, preprocess=preprocess)


def resize_positions(
    pos_embed: np.ndarray, old: ViTConfig, new: ViTConfig, mode: Mode = "bicubic"
) -> np.ndarray:
    """Position embeddings (1, T, C) of one grid, interpolated to another: (1, T', C)."""
    prefix = old.num_prefix_positions
    return resize_positions_forward(pos_embed, prefix, old.grid, new.grid, mode)[0]


def resize_offsets(
    table: np.ndarray, old: tuple[int, int], new: tuple[int, int], mode: Mode = "bicubic"
) -> np.ndarray:
    """Relative positions (R, D) of one grid, interpolated to another: the offsets, too, form a
    grid.
    """
    grid = table.reshape(1, 2 * old[0] - 1, 2 * old[1] - 1, -1)
    resized, _ = interpolate_forward(grid, (2 * new[0] - 1, 2 * new[1] - 1), mode)
    return resized.reshape(-1, table.shape[-1])


def freeze_all_but(model: Model, part: str) -> None:
    """Freeze all but a part of the model.

    part: "all"; "head"; or "attention", the attention layers and the head (Touvron et al., 2022).
    """
    is_trained = {
        "all": lambda name: True,
        "head": lambda name: name.startswith(HEAD),
        "attention": lambda name: name.startswith(HEAD) or ".attn." in name,
    }[part]
    model.flat.frozen = {name for name, _ in model.named_parameters() if not is_trained(name)}


def _require_same_encoder(old: ViTConfig, new: ViTConfig) -> None:
    for field in dataclasses.fields(ViTConfig):
        have, need = getattr(new, field.name), getattr(old, field.name)
        if field.name not in MAY_DIFFER and have != need:
            raise UserError(
                f"{field.name} is {have}, but {need} in the run to start from; only the image size "
                "and the classes may differ"
            )


def _hw(grid: tuple[int, int]) -> str:
    return f"{grid[0]}×{grid[1]}"
