"""Named tensors of a file, read one at a time on demand, without PyTorch or JAX.

Safetensors, in one file or in shards, and NumPy's .npz. Both contain only numbers; a pickle (.pth,
.bin, .pt), which may contain a program, is refused.
"""

import contextlib
import json
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from minivit.data.npy import array_names, read_array, read_header
from minivit.data.zip_archive import ZIP_ERRORS, open_member, open_zip
from minivit.errors import UserError, pasteable, shown
from minivit.files import check_regular, read_json, reading

PICKLES = (".pth", ".pt", ".bin", ".ckpt")
INDEX = "model.safetensors.index.json"
FLOATS = ("F64", "F32", "F16", "BF16")
MAX_NAME_LENGTH = 300
MAX_TENSORS = 100_000


@dataclass(frozen=True)
class Tensor:
    """A tensor that is read when `read()` is called: float32, or float64 if the file has float64.

    shape: known in advance. Reshaping, transposing and concatenating give a new one without
    reading.
    """

    shape: tuple[int, ...]
    read: Callable[[], np.ndarray]

    def reshaped(self, *shape: int) -> "Tensor":
        """As `ndarray.reshape`, without -1."""
        return Tensor(shape, lambda: self.read().reshape(shape))

    def transposed(self, *axes: int) -> "Tensor":
        """As `ndarray.transpose`; without axes, all are reversed."""
        order = axes or tuple(reversed(range(len(self.shape))))
        shape = tuple(self.shape[axis] for axis in order)
        return Tensor(shape, lambda: self.read().transpose(order))

    def rows(self, start: int, stop: int) -> "Tensor":
        """`tensor[start:stop]`."""
        return Tensor((stop - start, *self.shape[1:]), lambda: self.read()[start:stop])

    @staticmethod
    def joined(parts: Sequence["Tensor"], axis: int = 0) -> "Tensor":
        """As `np.concatenate`."""
        first = parts[0].shape
        length = sum(part.shape[axis] for part in parts)
        shape = (*first[:axis], length, *first[axis + 1 :])
        return Tensor(shape, lambda: np.concatenate([part.read() for part in parts], axis))

    @staticmethod
    def zeros(*shape: int) -> "Tensor":
        """As `np.zeros`."""
        return Tensor(shape, lambda: np.zeros(shape, np.float32))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, or of a folder with one, by name.

    Args:
        path: a .safetensors or .npz file, an index of shards (model.safetensors.index.json), or a
            folder with one of these.

    Raises:
        UserError: no such file, a pickle, a damaged file, or one with something other than numbers.
    """
    file = find_weights(path)
    if file.name.endswith(".index.json"):
        return _shards(file)
    return _npz(file) if file.suffix == ".npz" else _safetensors(file)


def find_weights(path: Path) -> Path:
    """The file with the weights: `path` itself, or the one in the folder `path`.

    Raises:
        UserError: there is none, several, or a pickle.
    """
    if path.is_dir():
        found = [path / INDEX] if (path / INDEX).is_file() else sorted(path.glob("*.safetensors"))
        found = found or sorted(path.glob("*.npz"))
        pickles = sorted(file for file in path.iterdir() if file.suffix in PICKLES)
        if len(found) > 1:
            raise UserError(f"{path}: contains {len(found)} files of weights; choose one of them")
        if found:
            return found[0]
        if not pickles:
            raise UserError(f"{path}: no weights in it; expected a .safetensors or .npz file")
        path = pickles[0]
    if path.suffix in PICKLES:
        raise UserError(_pickle_message(path))
    with reading(path, "a .safetensors or .npz file"):
        check_regular(path)
    if path.suffix not in (".safetensors", ".npz") and not path.name.endswith(".index.json"):
        raise UserError(f"{path}: expected a .safetensors or .npz file, or a folder with one")
    return path


def _pickle_message(path: Path) -> str:
    paths = f"{pasteable(path)} {pasteable(path.with_suffix('.safetensors'))}"
    return (
        f"{path}: a pickle, which may run any program when it is read; convert it with PyTorch: "
        "python -c 'import sys, torch; from safetensors.torch import save_file; "
        "save_file({k: v.contiguous() for k, v in torch.load(sys.argv[1], "
        f"weights_only=True).items()}}, sys.argv[2])' {paths}"
    )


def _shards(index: Path) -> dict[str, Tensor]:
    """All files named in an index, which must be next to it."""
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(f, str) for f in weight_map.values()):
        raise UserError(f'{index}: no "weight_map" of names to files; download it again')
    found: dict[str, Tensor] = {}
    for name in sorted(set(weight_map.values())):
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise UserError(f"{index}: names {ascii(name)[:80]}, which is not a file next to it")
        found |= _safetensors(index.with_name(name))
    missing = sorted(set(weight_map) - set(found))
    if missing:
        raise UserError(f"{index}: its files lack {ascii(missing[0])[:80]}; download them again")
    return found


def _safetensors(file: Path) -> dict[str, Tensor]:
    try:
        with safe_open(file, "numpy") as opened:
            slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118
            kinds = {name: (s.get_dtype(), tuple(s.get_shape())) for name, s in slices.items()}
    except FileNotFoundError:
        raise UserError(f"{file}: no such file; download it again") from None
    except (SafetensorError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{file}: not a complete safetensors file ({reason}); download it again"
        ) from None
    _check_names(file, kinds)
    return {
        name: Tensor(shape, _reader(file, name, dtype)) for name, (dtype, shape) in kinds.items()
    }


def _reader(file: Path, name: str, dtype: str) -> Callable[[], np.ndarray]:
    def read() -> np.ndarray:
        if dtype not in FLOATS:
            raise UserError(f"{file}: {name} is {dtype}; expected one of {', '.join(FLOATS)}")
        if dtype == "BF16":
            return _finite(_bfloat16(file, name), file, name)
        with safe_open(file, "numpy") as opened:
            found = opened.get_tensor(name)
        return _finite(found.astype(np.float32) if dtype == "F16" else found, file, name)

    return read


def _bfloat16(file: Path, name: str) -> np.ndarray:
    """NumPy has no bfloat16: it is the upper half of a float32. safetensors has checked the
    header.
    """
    with open(file, "rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        entry = json.loads(opened.read(length))[name]
        start, stop = entry["data_offsets"]
        opened.seek(8 + length + start)
        upper = np.frombuffer(opened.read(stop - start), "<u2")
    return (upper.astype(np.uint32) << 16).view(np.float32).reshape(entry["shape"])


def _npz(file: Path) -> dict[str, Tensor]:
    """Shapes are read from the headers; NumPy refuses objects, which would need a pickle."""
    with _zip_errors(file), open_zip(file, "a .npz file") as archive:
        shapes = {name: _npy_shape(archive, name, file) for name in array_names(archive)}
    _check_names(file, shapes)
    return {name: Tensor(shape, _npz_reader(file, name)) for name, shape in shapes.items()}


def _npy_shape(archive: zipfile.ZipFile, name: str, file: Path) -> tuple[int, ...]:
    member = f"{name}.npy"
    with open_member(archive, member) as opened:
        header = read_header(opened)
    if header.dtype.hasobject or header.dtype.kind not in "fiu":
        raise UserError(f"{file}: holds {header.dtype.str!a}, not numbers; expected JAX's weights")
    if header.size > archive.getinfo(member).file_size:
        raise ValueError(f"{name[:80]} is truncated")
    return header.shape


@contextlib.contextmanager
def _zip_errors(file: Path) -> Iterator[None]:
    """Wraps code that reads a .npz."""
    try:
        yield
    except UserError:
        raise
    except ZIP_ERRORS as error:
        raise UserError(
            f"{file}: not a complete .npz file ({shown(error)}); download it again"
        ) from None


def _npz_reader(file: Path, name: str) -> Callable[[], np.ndarray]:
    def read() -> np.ndarray:
        with _zip_errors(file), open_zip(file, "a .npz file") as archive:
            found = read_array(archive, name)
        is_double = found.dtype == np.float64
        return _finite(found if is_double else found.astype(np.float32), file, name)

    return read


def _finite(array: np.ndarray, file: Path, name: str) -> np.ndarray:
    if not np.isfinite(array).all():
        raise UserError(f"{file}: {name} has numbers that are infinite or NaN; download it again")
    return array


def _check_names(file: Path, kinds: dict[str, Any]) -> None:
    for name in kinds:
        if len(name) > MAX_NAME_LENGTH or not name.isprintable():
            raise UserError(
                f"{file}: a tensor is named {ascii(name)[:80]}; no model has such a name"
            )
    if len(kinds) > MAX_TENSORS:
        raise UserError(f"{file}: {len(kinds):,} tensors; expected at most {MAX_TENSORS:,}")
