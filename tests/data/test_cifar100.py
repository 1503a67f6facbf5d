"""CIFAR-100: what differs from CIFAR-10, namely two kinds of labels and batches of different
lengths."""

import dataclasses
import hashlib

import numpy as np
import pytest
from synthetic_data import cifar_files, python_batch, write_archive, write_folder

from minivit.data.cifar100 import COARSE, FINE
from minivit.data.download import Expected
from minivit.errors import UserError

FEW = {"train": 6, "test": 3}
KINDS = {
    "fine": dataclasses.replace(FINE, batches=FEW),
    "coarse": dataclasses.replace(COARSE, batches=FEW),
}
SMALL = KINDS["fine"]

pytestmark = pytest.mark.filterwarnings("ignore:.*could not be verified")
kinds = pytest.mark.parametrize("kind", KINDS)
layouts = pytest.mark.parametrize("layout", SMALL.layouts, ids=["binary", "python"])


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (9, 3, 32, 32), np.uint8)


@pytest.fixture
def labels():
    rng = np.random.default_rng(1)
    return {"coarse_labels": rng.integers(0, 20, 9), "fine_labels": rng.integers(0, 100, 9)}


def test_the_number_of_classes_is_as_published():
    assert len(set(FINE.class_names)) == 100
    assert len(set(COARSE.class_names)) == 20
    assert (FINE.class_names[0], FINE.class_names[99]) == ("apple", "worm")


@kinds
@layouts
@pytest.mark.parametrize("packed", [False, True])
def test_reads_folders_and_archives(tmp_path, images, labels, kind, layout, packed):
    files = cifar_files(SMALL, layout, images, labels)
    if packed:
        write_archive(tmp_path / layout.archive, layout.folder, files)
    else:
        write_folder(tmp_path / layout.folder, files)
    found = KINDS[kind].load(tmp_path, download=False)
    np.testing.assert_array_equal(found.train.images, images[:6])
    np.testing.assert_array_equal(found.test.images, images[6:])
    np.testing.assert_array_equal(found.train.labels, labels[f"{kind}_labels"][:6])
    np.testing.assert_array_equal(found.test.labels, labels[f"{kind}_labels"][6:])
    assert found.class_names == KINDS[kind].class_names
    name = {"fine": "CIFAR-100", "coarse": "CIFAR-100 coarse"}[kind]
    assert found.name == f"{name} (unofficial bytes)"


@kinds
@layouts
def test_class_names_come_from_the_matching_file(tmp_path, images, labels, kind, layout):
    """Only from that file: otherwise the last file read would win."""
    files = cifar_files(SMALL, layout, images, labels)
    for meta in layout.metas:
        files[meta] = files[meta].replace(b"aquarium_fish", b"aquarium_fowl")
        files[meta] = files[meta].replace(b"large_carnivores", b"small_carnivores")
    write_folder(tmp_path / layout.folder, files)
    names = KINDS[kind].load(tmp_path).class_names
    assert {"fine": "aquarium_fowl", "coarse": "small_carnivores"}[kind] in names
    assert len(names) == len(KINDS[kind].class_names)


def test_an_official_archive_and_folder_load_without_a_warning(tmp_path, images, labels):
    binary = cifar_files(SMALL, SMALL.binary, images, labels)
    raw = write_archive(tmp_path / SMALL.binary.archive, SMALL.binary.folder, binary).read_bytes()
    expected = Expected(len(raw), hashlib.sha256(raw).hexdigest())
    python = cifar_files(SMALL, SMALL.python, images, labels)
    md5 = {name: hashlib.md5(content).hexdigest() for name, content in python.items()}
    known = dataclasses.replace(
        SMALL,
        binary=dataclasses.replace(SMALL.binary, expected=expected),
        python=dataclasses.replace(SMALL.python, md5=md5),
    )
    assert known.load(tmp_path).name == "CIFAR-100"
    folder = write_folder(tmp_path / SMALL.python.folder, python)
    assert known.load(folder).name == "CIFAR-100"
    (folder / "meta").unlink()
    assert known.load(folder).name == "CIFAR-100 (unofficial bytes)"


@kinds
@layouts
@pytest.mark.parametrize(("key", "label"), [("coarse_labels", 20), ("fine_labels", 100)])
def test_an_invalid_label_is_reported_whichever_kind_is_used(
    tmp_path, images, labels, kind, layout, key, label
):
    labels[key][7] = label
    write_folder(tmp_path / layout.folder, cifar_files(SMALL, layout, images, labels))
    with pytest.raises(UserError, match=rf"test(\.bin)?: .*label outside 0 to {label - 1};"):
        KINDS[kind].load(tmp_path)


def test_rows_with_one_label_byte_are_not_cifar_100(tmp_path, images, labels):
    files = cifar_files(SMALL, SMALL.binary, images, labels)
    files["train.bin"] = files["train.bin"][: 6 * 3073]
    write_folder(tmp_path / SMALL.binary.folder, files)
    with pytest.raises(UserError, match=r"train\.bin: 18,438 bytes, expected 18,444"):
        SMALL.load(tmp_path)


def test_a_batch_without_one_kind_of_label_is_refused(tmp_path, images, labels):
    files = cifar_files(SMALL, SMALL.python, images, labels)
    files["test"] = python_batch(images[6:], fine_labels=labels["fine_labels"][6:])
    write_folder(tmp_path / SMALL.python.folder, files)
    with pytest.raises(UserError, match=r'test: .*expected "coarse_labels", a list of 3'):
        SMALL.load(tmp_path)


def test_missing_files_are_listed_in_the_message(tmp_path):
    with pytest.raises(UserError, match=r"no CIFAR-100 in .*: looked for cifar-100-binary/"):
        SMALL.load(tmp_path, download=False)


def test_both_kinds_share_one_download(tmp_path, images, labels, monkeypatch):
    files = cifar_files(SMALL, SMALL.binary, images, labels)
    (mirror := tmp_path / "mirror").mkdir()
    archive = write_archive(mirror / SMALL.binary.archive, SMALL.binary.folder, files)
    raw = archive.read_bytes()
    binary = dataclasses.replace(
        SMALL.binary, expected=Expected(len(raw), hashlib.sha256(raw).hexdigest())
    )
    monkeypatch.setenv("MINIVIT_CIFAR100_URL", mirror.as_uri() + "/")
    assert dataclasses.replace(SMALL, binary=binary).load(tmp_path / "data").name == "CIFAR-100"
    monkeypatch.setenv("MINIVIT_CIFAR100_URL", "http://127.0.0.1:9/")
    coarse = dataclasses.replace(KINDS["coarse"], binary=binary)
    assert coarse.load(tmp_path / "data").name == "CIFAR-100 coarse"
