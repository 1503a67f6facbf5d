"""Data sets of a few images in the official formats: CIFAR's two layouts, and IDX files."""

import gzip
import io
import struct
import tarfile
from pathlib import Path

import numpy as np


def write_folder(path: Path, files: dict[str, bytes]) -> Path:
    path.mkdir(parents=True)
    for name, raw in files.items():
        (path / name).write_bytes(raw)
    return path


def write_archive(path: Path, folder: str, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, raw in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(raw)
            archive.addfile(member, io.BytesIO(raw))
    return path


def text(value: str | bytes) -> bytes:
    """A Python 2 str in a pickle."""
    raw = value if isinstance(value, bytes) else value.encode()
    return b"T" + len(raw).to_bytes(4, "little") + raw


def python_batch(images, **labels) -> bytes:
    data = images.reshape(len(images), -1)
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01"
        + b"".join(b"M" + n.to_bytes(2, "little") for n in data.shape)
        + b"\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R"
        + b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        + text(data.tobytes())
        + b"tb"
    )
    lists = b"".join(
        text(key) + b"](" + b"".join(b"K" + bytes([n]) for n in values) + b"e"
        for key, values in labels.items()
    )
    return b"\x80\x02}(" + text("data") + array + lists + b"u."


def cifar_files(cifar, layout, images, labels) -> dict[str, bytes]:
    """The files of a layout; images: (N, 3, 32, 32), labels: by key, each (N,)."""
    files, start = {}, 0
    binary = layout is cifar.binary
    for batch, count in cifar.batches.items():
        rows = slice(start, start := start + count)
        x, y = images[rows], {key: of_all[rows] for key, of_all in labels.items()}
        columns = [values[:, None].astype(np.uint8) for values in y.values()]
        row = np.concatenate([*columns, x.reshape(count, -1)], axis=1)
        files[batch + layout.suffix] = row.tobytes() if binary else python_batch(x, **y)
    if binary:
        for label in cifar.labels:
            files[label.meta] = "\n".join(label.class_names).encode() + b"\n\n"
    else:
        lists = b"".join(
            text(label.meta_key) + b"](" + b"".join(map(text, label.class_names)) + b"e"
            for label in cifar.labels
        )
        files[layout.metas[0]] = b"\x80\x02}(" + lists + b"u."
    return files


def idx_file(array: np.ndarray) -> bytes:
    return struct.pack(f">{1 + array.ndim}I", 0x0800 | array.ndim, *array.shape) + array.tobytes()


def idx_files(idx, seed: int = 0) -> tuple[dict[str, bytes], dict[str, np.ndarray]]:
    """Four files of random images, not gzipped, and their contents, under the same names."""
    rng, arrays = np.random.default_rng(seed), {}
    for name, count in idx.counts.items():
        images = rng.integers(0, 256, (count, 28, 28), np.uint8)
        labels = rng.integers(0, len(idx.class_names), count).astype(np.uint8)
        arrays |= {f"{name}-images-idx3-ubyte": images, f"{name}-labels-idx1-ubyte": labels}
    return {name: idx_file(array) for name, array in arrays.items()}, arrays


def gzipped(files: dict[str, bytes]) -> dict[str, bytes]:
    return {f"{name}.gz": gzip.compress(raw, mtime=0) for name, raw in files.items()}
