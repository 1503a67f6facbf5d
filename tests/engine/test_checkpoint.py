"""Checkpoints are restored unchanged, or an error says in one line why they cannot be."""

import errno
import os

import numpy as np
import pytest
import tiny
from safetensors.numpy import save_file

from minivit.engine import Checkpoint, load_checkpoint, load_model, save_checkpoint
from minivit.engine.checkpoint import copy_into
from minivit.errors import UserError
from minivit.files import remove_parts, write_atomically
from minivit.models import ViT


def checkpoint(value=1.5):
    weights = {
        "head.weight": np.full((3, 2), value, np.float32),
        "head.bias": np.arange(2.0, dtype=np.float32),
    }
    state = {"step": 7, "best": 0.25, "names": ["ä", "b"], "vit": {"dim": 16, "pool": None}}
    return Checkpoint(
        weights, {"m": dict(weights), "ema": {"head.bias": weights["head.bias"]}}, state
    )


def assert_same(found, expected):
    assert found.state == expected.state
    assert found.groups.keys() == expected.groups.keys()
    pairs = [(found.weights, expected.weights)]
    pairs += [(found.groups[name], expected.groups[name]) for name in expected.groups]
    for arrays, reference in pairs:
        assert arrays.keys() == reference.keys()
        for name, array in reference.items():
            assert arrays[name].dtype == array.dtype
            np.testing.assert_array_equal(arrays[name], array)


def error_line(error):
    message = str(error.value)
    assert "\n" not in message
    return message


def test_a_saved_checkpoint_is_restored(tmp_path):
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, checkpoint())
    assert_same(load_checkpoint(path), checkpoint())
    assert os.listdir(tmp_path) == ["a.safetensors"]


def test_non_contiguous_views_are_saved_correctly(tmp_path):
    path, array = tmp_path / "a.safetensors", np.arange(12.0, dtype=np.float32).reshape(3, 4)
    save_checkpoint(path, Checkpoint({"w": array[:, ::2].T}))
    np.testing.assert_array_equal(load_checkpoint(path).weights["w"], array[:, ::2].T)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file_intact(tmp_path, monkeypatch, call):
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, checkpoint(1.0))

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space") as error:
        save_checkpoint(path, checkpoint(2.0))
    if call == "fsync":
        assert error.value.filename == str(path)
    assert_same(load_checkpoint(path), checkpoint(1.0))
    assert os.listdir(tmp_path) == ["a.safetensors"]


def test_a_file_is_flushed_to_disk_before_it_is_renamed(tmp_path, monkeypatch):
    calls, fsync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda f: (calls.append("fsync"), fsync(f)))
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append("replace"), replace(a, b)))
    write_atomically(tmp_path / "a", b"content")
    assert calls == ["fsync", "replace", "fsync"]  # the file, its name, the folder
    assert (tmp_path / "a").read_bytes() == b"content"


def test_only_the_remains_of_killed_writers_are_removed(tmp_path):
    old, young, other, unrelated = (
        tmp_path / name for name in (".a[1].12.part", ".a[1].13.part", ".b.12.part", "a[1].part")
    )
    for path in (old, young, other, unrelated):
        path.write_bytes(b"half")
    for path in (old, other, unrelated):
        os.utime(path, (0, 0))
    write_atomically(tmp_path / "a[1]", b"whole")
    assert not old.exists()
    assert young.exists()  # its writer may still be running
    assert other.exists()
    assert unrelated.exists()
    remove_parts(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["a[1]", "a[1].part"]


@pytest.mark.parametrize("fraction", [0.0, 0.001, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_detected(tmp_path, fraction):
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, checkpoint())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(fraction * len(whole))])
    with pytest.raises(UserError, match="damaged") as error:
        load_checkpoint(path)
    assert str(path) in error_line(error)


def test_an_unrelated_safetensors_file_is_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    save_file({"w": np.zeros(2)}, path)
    with pytest.raises(UserError, match=r"format None, expected 'minivit-1'") as error:
        load_checkpoint(path)
    assert str(path) in error_line(error)


def test_another_format_version_is_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    save_file({"w": np.zeros(2)}, path, {"format": "minivit-0", "state": "{}"})
    with pytest.raises(UserError, match=r"'minivit-0', expected 'minivit-1'") as error:
        load_checkpoint(path)
    error_line(error)


def test_a_missing_file_is_reported(tmp_path):
    with pytest.raises(UserError, match="no such file; expected a checkpoint") as error:
        load_checkpoint(tmp_path / "a.safetensors")
    error_line(error)


def test_a_checkpoint_of_another_model_names_the_parameter_and_changes_nothing():
    views = {"a": np.zeros(2, np.float32), "b": np.zeros((2, 3), np.float32)}
    ones = {name: np.ones(view.shape, np.float32) for name, view in views.items()}
    for arrays, words in (
        ({"a": ones["a"]}, "it lacks b"),
        ({}, "it lacks a"),
        (ones | {"c": ones["a"]}, "it also has c"),
        (ones | {"d": ones["a"], "c": ones["a"]}, "it also has c"),
        (ones | {"b": ones["b"].T}, r"b is \(3, 2\), expected \(2, 3\)"),
    ):
        with pytest.raises(UserError, match=words) as error:
            copy_into(views, arrays, "file")
        assert error_line(error).startswith("file: a checkpoint of another model")
        assert not any(view.any() for view in views.values())
    copy_into(views, ones, "file")
    assert all(view.all() for view in views.values())


def test_a_model_is_loaded_from_its_run_or_its_file(tmp_path):
    training = tiny.trainer(tmp_path, epochs=1)
    training.fit()
    images = np.random.default_rng(0).standard_normal((3, 3, 8, 8)).astype(np.float32)
    for path in (training.run.path, training.run.best, training.run.last):
        found = load_model(path)
        np.testing.assert_array_equal(found.model(images), training.model(images))
        assert found.class_names == tiny.NAMES
        assert found.statistics == training.statistics
    assert not np.array_equal(ViT(tiny.VIT)(images), training.model(images))


def test_without_a_best_checkpoint_the_last_one_is_loaded(tmp_path):
    training = tiny.trainer(tmp_path)
    with pytest.raises(UserError, match="no such file; expected a checkpoint"):
        load_model(training.run.path)
    training.model.flat.data[...] = 0.5
    training.save()
    model = load_model(training.run.path).model
    assert all((p.data == 0.5).all() for _, p in model.named_parameters())


def test_every_changed_byte_is_detected(tmp_path):
    """In the header, the state or the tensors: one line is printed and nothing is loaded."""
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, checkpoint())
    whole = path.read_bytes()
    for i in range(len(whole)):
        for flip in (0x01, 0x40):
            damaged = bytearray(whole)
            damaged[i] ^= flip
            path.write_bytes(damaged)
            if b'"sha256"' not in damaged and b'"format":"minivit-1"' in damaged:
                continue  # a letter of the key: then it looks like an old file without a digest
            with pytest.raises(UserError) as error:
                load_checkpoint(path)
            error_line(error)


@pytest.mark.parametrize("state", [None, "", "3", "[1]", "{", "[" * 100_000])
def test_a_state_that_is_not_an_object_is_refused(tmp_path, state):
    path = tmp_path / "a.safetensors"
    header = {"format": "minivit-1"} if state is None else {"format": "minivit-1", "state": state}
    save_file({"w": np.zeros(2)}, path, header)
    with pytest.raises(UserError, match="its state is not a JSON object") as error:
        load_checkpoint(path)
    error_line(error)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(tmp_path, value):
    training = tiny.trainer(tmp_path, epochs=1)
    training.fit()
    file = load_checkpoint(training.run.best)
    file.weights["head.bias"][1] = value
    save_checkpoint(training.run.best, file)
    with pytest.raises(UserError, match="a weight is infinite or NaN") as error:
        load_model(training.run.path)
    error_line(error)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"novelty": 1}, "'novelty'"),
        ({"step": "7"}, "step"),
        ({"step": None}, "step"),
        ({"class_names": [1, 2]}, "class_names"),
        ({"window": [[1.0]]}, "window"),
        ({"vit": {"novelty": 1}}, "'novelty' is unknown"),
        ({"vit": 3}, "vit"),
    ],
)
def test_a_state_of_the_wrong_form_is_refused(tmp_path, change, words):
    training = tiny.trainer(tmp_path, epochs=1)
    training.fit()
    file = load_checkpoint(training.run.last)
    file.state |= change
    save_checkpoint(training.run.last, file)
    with pytest.raises(UserError, match=words) as error:
        training.resume()
    assert error_line(error).startswith(str(training.run.last))
    del file.state["step"]
    save_checkpoint(training.run.last, file)
    with pytest.raises(UserError):
        training.resume()
