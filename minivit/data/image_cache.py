"""Image files decoded once: uint8 images in a file in the cache folder, for all runs.

    CACHE/images-DIGEST.npy     (N, C, H, W), which `StoredImages` reads
    CACHE/images-DIGEST.json    which of them could not be read, and why; the SHA-256 of the .npy

The digest covers the files' contents, their order, and the preprocessing: a folder that was moved
or copied reuses its cached images, one that was changed does not.
"""

import contextlib
import hashlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from tqdm import tqdm

from minivit.backend.machine import physical_cores, require_memory
from minivit.data.download import sha256_of
from minivit.data.file_sets import FileSet
from minivit.data.image_decoding import decode_image, no_warnings
from minivit.data.preprocess import Preprocess
from minivit.data.stored import Images, StoredImages
from minivit.errors import UserError
from minivit.files import make_folder, read_json, remove_parts, write_atomically, writing

VERSION = "1"
"""Version of the decoding: when it changes, cached images are not reused."""
MAX_QUEUED = 64
MAX_QUEUED_BYTES = 250_000_000
"""Maximum numbers of files and bytes read ahead while others are decoded; a file may be larger."""


class Decoded(NamedTuple):
    """images: (N, C, H, W), zeros where a file could not be read. unreadable: the reasons, by
    index.
    """

    images: Images
    unreadable: dict[int, str]


def decoded_once(
    files: FileSet, names: Sequence[str], preprocess: Preprocess, cache: Path | None
) -> Decoded:
    """The images in the given files.

    Args:
        cache: the folder of the cache; None: decode them into memory.

    Raises:
        UserError: not enough memory. WriteError: not enough space in the cache.
    """
    shape = (len(names), preprocess.channels, *preprocess.size)
    if cache is None:
        needs = {"images": int(np.prod(shape, dtype=np.int64))}
        require_memory(f"a set of {len(names):,} images", needs)
        images = np.zeros(shape, np.uint8)
        return Decoded(images, _decode_all(images.__setitem__, files, names, preprocess))
    path = cache / f"images-{_key(files, names, preprocess)}.npy"
    return _stored(path) or _store(path, shape, files, names, preprocess)


def _key(files: FileSet, names: Sequence[str], preprocess: Preprocess) -> str:
    key = hashlib.sha256(f"{VERSION} {preprocess} {files.digest(names)}\0".encode())
    key.update("\0".join(names).encode("utf-8", "surrogateescape"))
    return key.hexdigest()[:32]


def _stored(path: Path) -> Decoded | None:
    """The images decoded before, if complete."""
    try:
        notes = read_json(path.with_suffix(".json"))
        if notes.get("sha256") != sha256_of(path):
            return None
        unreadable = {int(index): str(reason) for index, reason in notes["unreadable"].items()}
        return Decoded(StoredImages(path), unreadable)
    except (OSError, UserError, KeyError, ValueError, AttributeError):
        return None


def _store(
    path: Path,
    shape: tuple[int, ...],
    files: FileSet,
    names: Sequence[str],
    preprocess: Preprocess,
) -> Decoded:
    make_folder(path.parent)
    remove_parts(path.parent, path.name)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with writing(path.parent):
            with open(temporary, "wb") as file:
                unreadable = _decode_to_file(file, shape, files, names, preprocess)
                file.flush()
                os.fsync(file.fileno())
            notes = {"sha256": sha256_of(temporary), "unreadable": unreadable}
            write_atomically(path.with_suffix(".json"), json.dumps(notes).encode())
            os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    return Decoded(StoredImages(path), unreadable)


def _decode_to_file(
    file: BinaryIO,
    shape: tuple[int, ...],
    files: FileSet,
    names: Sequence[str],
    preprocess: Preprocess,
) -> dict[int, str]:
    """Written at offsets, not memory-mapped: a full disk then raises an error instead of killing
    the process.
    """
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    start, num_bytes = file.tell(), int(np.prod(shape[1:]))
    file.truncate(start + shape[0] * num_bytes)

    def put(index: int, pixels: np.ndarray) -> None:
        file.seek(start + index * num_bytes)
        file.write(np.ascontiguousarray(pixels).data)

    return _decode_all(put, files, names, preprocess)


def _decode_all(
    put: Callable[[int, np.ndarray], None],
    files: FileSet,
    names: Sequence[str],
    preprocess: Preprocess,
) -> dict[int, str]:
    """Passes each image and its index to `put`; returns why the others cannot be read."""
    unreadable = {}
    for index, result in _decode(files, names, preprocess):
        if isinstance(result, str):
            unreadable[index] = result
        else:
            put(index, result)
    return unreadable


def _decode(
    files: FileSet, names: Sequence[str], preprocess: Preprocess
) -> Iterator[tuple[int, np.ndarray | str]]:
    """(index, its pixels or why it cannot be decoded), using all cores."""

    def decode(index: int, raw: bytes | UserError) -> tuple[int, np.ndarray | str]:
        try:
            if isinstance(raw, UserError):
                raise raw
            return index, decode_image(raw, names[index], preprocess)
        except UserError as error:
            return index, str(error)

    bar = tqdm(total=len(names), unit="img", desc="reading", leave=False, disable=None)
    with bar, no_warnings(), ThreadPoolExecutor(physical_cores(), "minivit-decode") as workers:
        queue: deque[tuple[Future, int]] = deque()
        queued_bytes = 0
        for index, raw in files.read(names):
            length = 0 if isinstance(raw, UserError) else len(raw)
            queue.append((workers.submit(decode, index, raw), length))
            queued_bytes += length
            while queue and (len(queue) >= MAX_QUEUED or queued_bytes > MAX_QUEUED_BYTES):
                future, length = queue.popleft()
                queued_bytes -= length
                yield future.result()
            bar.update()
        for future, _ in queue:
            yield future.result()
