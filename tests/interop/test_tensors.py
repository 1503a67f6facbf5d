"""Tensors in files of other libraries: read unchanged, one at a time, without executing
anything."""

import json
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from helpers import needs_posix
from safetensors.numpy import save_file

from minivit.errors import UserError
from minivit.interop.tensors import Tensor, find_weights, read_tensors

RNG = np.random.default_rng(0)
A, B = RNG.standard_normal((3, 4)).astype(np.float32), np.arange(6, dtype=np.float64)


def safetensors(path, entries):
    """Written by hand: {name: (dtype, shape, bytes)}."""
    header, data = {}, b""
    for name, (dtype, shape, raw) in entries.items():
        header[name] = {
            "dtype": dtype,
            "shape": shape,
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def test_saved_tensors_are_read(tmp_path):
    save_file({"a": A, "b": B}, tmp_path / "m.safetensors")
    np.savez(tmp_path / "m.npz", **{"a": A, "deep/b": B})
    for name, b in (("m.safetensors", "b"), ("m.npz", "deep/b")):
        found = read_tensors(tmp_path / name)
        assert {key: tensor.shape for key, tensor in found.items()} == {"a": (3, 4), b: (6,)}
        np.testing.assert_array_equal(found["a"].read(), A)
        np.testing.assert_array_equal(found[b].read(), B)
        assert found[b].read().dtype == np.float64


def test_half_precision_becomes_float32(tmp_path):
    """bfloat16 is the upper half of a float32: 1.5 is 0x3FC0, -2 is 0xC000."""
    path = safetensors(
        tmp_path / "m.safetensors",
        {
            "f16": ("F16", [2], np.array([0.5, -3], "<f2").tobytes()),
            "bf16": ("BF16", [2, 1], bytes.fromhex("c03f00c0")),
        },
    )
    found = read_tensors(path)
    assert found["bf16"].shape == (2, 1)
    for name, values in (("f16", [0.5, -3]), ("bf16", [[1.5], [-2]])):
        array = found[name].read()
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, values)


def test_shards_are_read_as_one_file(tmp_path):
    save_file({"a": A}, tmp_path / "model-00001-of-00002.safetensors")
    save_file({"b": B}, tmp_path / "model-00002-of-00002.safetensors")
    names = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": names}), encoding="utf-8")
    assert sorted(read_tensors(tmp_path)) == ["a", "b"]
    for wrong, words in (
        ({"a": "../secret.safetensors"}, "not a file next to it"),
        ({"a": names["a"], "c": names["b"]}, "lack 'c'"),
        ({"a": "model-3.safetensors"}, "no such file"),
        ([], "weight_map"),
    ):
        index.write_text(json.dumps({"weight_map": wrong}), encoding="utf-8")
        with pytest.raises(UserError, match=words):
            read_tensors(tmp_path)


class Bomb:
    def __reduce__(self):
        return (open, ("exploded", "w"))


@pytest.mark.parametrize("name", ["m.pth", "pytorch_model.bin", "m.pt"])
def test_a_pickle_is_refused_with_the_way_to_convert_it(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(pickle.dumps(Bomb()))
    for path in (tmp_path / name, tmp_path):
        with pytest.raises(UserError, match=r"weights_only=True.*\.safetensors"):
            read_tensors(path)
    np.savez("m.npz", a=np.array([Bomb()], object))
    with pytest.raises(UserError, match="not numbers"):
        read_tensors(tmp_path / "m.npz")
    assert not (tmp_path / "exploded").exists()


@needs_posix
def test_the_suggested_conversion_works(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "m.pth"
    torch.save({"a": torch.from_numpy(A).T}, path)
    with pytest.raises(UserError) as error:
        read_tensors(path)
    command = sys.executable + " -c" + str(error.value).split("python -c")[1]
    subprocess.run(["bash", "-c", command], check=True, cwd=tmp_path)
    np.testing.assert_array_equal(read_tensors(tmp_path / "m.safetensors")["a"].read(), A.T)


def test_damaged_and_unrelated_files_are_refused_in_one_line(tmp_path):
    good = tmp_path / "m.safetensors"
    save_file({"a": A}, good)
    whole = good.read_bytes()
    archive = tmp_path / "m.npz"
    np.savez(archive, a=A)
    packed = archive.read_bytes()
    for path, raw in (
        (good, whole[:-1]),
        (good, b""),
        (good, b"\xff" * 100),
        (archive, packed[:100]),
        (archive, b"PK"),
    ):
        path.write_bytes(raw)
        with pytest.raises(UserError, match=r"not a complete|not a \.npz") as error:
            read_tensors(path)
        assert str(error.value).isprintable()
    headers = (b"{'descr': ''' ", b"  1\n 2\n", b"(" * 15, b"{1: 2, '': 3}")
    starts = [b"\x93NUMPY\1\0\x0f\0" + raw.ljust(15) for raw in headers]
    for raw in (b"no array", *starts):
        with zipfile.ZipFile(archive, "w") as opened:
            opened.writestr("a.npy", raw)
        with pytest.raises(UserError, match="not a complete"):
            read_tensors(archive)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_BZIP2) as opened:
        opened.writestr("a.npy", packed)
    with pytest.raises(UserError, match=r"a\.npy: compressed with a method other than deflate"):
        read_tensors(archive)
    (tmp_path / "notes.txt").write_text("x", encoding="utf-8")
    for path, words in (
        (tmp_path / "notes.txt", "expected a .safetensors or .npz"),
        (tmp_path / "none.safetensors", "no such file"),
    ):
        with pytest.raises(UserError, match=words):
            read_tensors(path)


def test_non_finite_numbers_and_unsupported_dtypes_are_refused(tmp_path):
    bad = A.copy()
    bad[1, 2] = np.nan
    save_file({"a": bad, "i": np.arange(3)}, tmp_path / "m.safetensors")
    found = read_tensors(tmp_path / "m.safetensors")
    with pytest.raises(UserError, match="a has numbers that are infinite or NaN"):
        found["a"].read()
    with pytest.raises(UserError, match="i is I64; expected one of F64"):
        found["i"].read()


def test_a_folder_needs_one_file_of_weights(tmp_path):
    with pytest.raises(UserError, match="no weights in it"):
        find_weights(tmp_path)
    for name in "ab":
        save_file({"a": A}, tmp_path / f"{name}.safetensors")
    with pytest.raises(UserError, match="contains 2 files of weights"):
        find_weights(tmp_path)


def test_reshaping_transposing_slicing_and_joining_are_lazy():
    reads = []

    def read():
        reads.append(1)
        return A

    source = Tensor(A.shape, read)
    cases = {
        "reshaped": (source.reshaped(2, 6), A.reshape(2, 6)),
        "transposed": (source.transposed(), A.T),
        "by axes": (
            source.reshaped(3, 2, 2).transposed(1, 0, 2),
            A.reshape(3, 2, 2).swapaxes(0, 1),
        ),
        "rows": (source.rows(1, 3), A[1:3]),
        "joined": (
            Tensor.joined([source, Tensor.zeros(2, 4)]),
            np.concatenate([A, np.zeros((2, 4))]),
        ),
    }
    assert not reads
    for name, (tensor, expected) in cases.items():
        assert tensor.shape == expected.shape, name
        np.testing.assert_array_equal(tensor.read(), expected, name)
