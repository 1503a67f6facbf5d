"""Checkpoints: one safetensors file, whose header holds everything but the arrays, as JSON.

It is one file so that a single rename replaces it: a crash leaves the old checkpoint or the new
one, never half of each. A digest of the contents detects a damaged file. No pickle is ever read.
"""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from minivit.backend import Array, get_xp
from minivit.errors import UserError, shown
from minivit.files import open_plain, parse_json, reading, write_atomically

FORMAT = "minivit-1"


@dataclass
class Checkpoint:
    """weights: by timm's names. groups: further arrays with the same names, by kind ("ema", "m",
    "v"). state: everything else, as JSON values (numbers, strings, lists, dicts).
    """

    weights: dict[str, np.ndarray]
    groups: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    state: dict = field(default_factory=dict)


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, completely or not at all. Raises WriteError (a full disk, for
    example).
    """
    tensors = dict(checkpoint.weights)
    for group, arrays in checkpoint.groups.items():
        tensors.update((f"{group}/{name}", array) for name, array in arrays.items())
    tensors = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    state = json.dumps(checkpoint.state)
    header = {"format": FORMAT, "state": state, "sha256": _digest(tensors, state)}
    write_atomically(path, save(tensors, header))


def _digest(tensors: dict[str, np.ndarray], state: str) -> str:
    """SHA-256 of the state, and of every tensor's name, type, shape and bytes."""
    digest = hashlib.sha256(state.encode())
    for name, array in sorted(tensors.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint written by `save_checkpoint`.

    Raises:
        UserError: no such file, truncated or altered, not safetensors, or not a minivit
        checkpoint.
    """
    with reading(path, "a checkpoint of a run that was saved at least once"):
        open_plain(path).close()  # safetensors does not report what is wrong if it is not a file
        metadata, tensors = _read(path)
    if metadata.get("format") != FORMAT:
        raise UserError(
            f"{path}: format {shown(metadata.get('format'))}, expected {FORMAT!r}; "
            "it was not written by this version of minivit"
        )
    digest = metadata.get("sha256")  # missing in the first versions
    if digest is not None and digest != _digest(tensors, metadata.get("state", "")):
        raise UserError(f"{path}: its contents differ from what was saved; the file is damaged")
    checkpoint = Checkpoint({}, {}, _read_state(metadata, path))
    for name, array in tensors.items():
        group, slash, parameter = name.rpartition("/")
        target = checkpoint.groups.setdefault(group, {}) if slash else checkpoint.weights
        target[parameter] = array
    return checkpoint


def _read(path: Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """The header and the tensors."""
    try:
        with safe_open(path, "numpy") as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(
            f"{path}: not a complete safetensors file ({shown(error, 200)}); the file is damaged, "
            "use another"
        ) from None


def _read_state(metadata: dict[str, str], path: Path) -> dict[str, Any]:
    try:
        state = parse_json(metadata.get("state", ""))
    except (ValueError, RecursionError):
        state = None
    if not isinstance(state, dict):
        raise UserError(f"{path}: its state is not a JSON object; the file is damaged, use another")
    return state


def copy_into(views: dict[str, Array], arrays: dict[str, np.ndarray], source: str) -> None:
    """Fill a model's arrays (NumPy or CuPy) with those of a checkpoint.

    Raises:
        UserError: names or shapes differ: the checkpoint is of another model.
    """
    missing, unexpected = sorted(views.keys() - arrays.keys()), sorted(arrays.keys() - views.keys())
    if missing or unexpected:
        found = f"lacks {missing[0]}" if missing else f"also has {unexpected[0]}"
        raise UserError(f"{source}: a checkpoint of another model: it {found}; use its own config")
    for name, view in views.items():
        if view.shape != arrays[name].shape:
            raise UserError(
                f"{source}: a checkpoint of another model: {name} is {arrays[name].shape}, "
                f"expected {view.shape}; use its own config"
            )
    for name, view in views.items():
        view[...] = get_xp(view).asarray(arrays[name], view.dtype)
