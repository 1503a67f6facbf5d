"""CIFAR-10 in both layouts, as folders and archives, and all kinds of faulty files."""

import dataclasses
import hashlib
import importlib.util
import os
import tarfile
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from helpers import needs_posix
from synthetic_data import cifar_files, python_batch, text, write_archive, write_folder

from minivit.data.cifar10 import BINARY, CIFAR10, CLASS_NAMES, PYTHON
from minivit.data.download import Expected
from minivit.errors import UserError

ROWS = 4
SMALL = dataclasses.replace(CIFAR10, batches=dict.fromkeys(CIFAR10.batches, ROWS))
"""It is told that four images a batch is what to expect."""
REPOSITORY = Path(__file__).parents[2]
REAL = REPOSITORY.parent / "shared" / "cifar10" / "make_cifar10.py"

pytestmark = pytest.mark.filterwarnings("ignore:.*could not be verified")


def name_without_warning(dataset, path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return dataset.load(path).name


@pytest.fixture
def sample_images(monkeypatch):
    """Six batches with four images each."""
    monkeypatch.delenv(CIFAR10.url_variable, raising=False)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6, ROWS, 3, 32, 32), np.uint8)
    return images, rng.integers(0, 10, (6, ROWS))


def files_of(layout, sample_images) -> dict[str, bytes]:
    images, labels = sample_images
    return cifar_files(SMALL, layout, images.reshape(-1, 3, 32, 32), {"labels": labels.ravel()})


def assert_holds(dataset, sample_images):
    images, labels = sample_images
    np.testing.assert_array_equal(dataset.train.images, images[:5].reshape(-1, 3, 32, 32))
    np.testing.assert_array_equal(dataset.train.labels, labels[:5].reshape(-1))
    np.testing.assert_array_equal(dataset.test.images, images[5])
    np.testing.assert_array_equal(dataset.test.labels, labels[5])
    assert dataset.train.images.dtype == dataset.test.images.dtype == np.uint8
    assert dataset.train.labels.dtype == dataset.test.labels.dtype == np.int64
    assert dataset.class_names == CLASS_NAMES


layouts = pytest.mark.parametrize("layout", CIFAR10.layouts, ids=["binary", "python"])


@layouts
@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_reads_folders_and_archives(tmp_path, sample_images, layout, packed, direct):
    files = files_of(layout, sample_images)
    if packed:
        path = write_archive(tmp_path / layout.archive, layout.folder, files)
    else:
        path = write_folder(tmp_path / layout.folder, files)
    assert SMALL.find(path if direct else tmp_path) == path
    dataset = SMALL.load(path if direct else tmp_path, download=False)
    assert_holds(dataset, sample_images)
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name]


def test_the_order_in_which_folders_are_searched(tmp_path):
    assert SMALL.find(tmp_path) is None
    assert SMALL.find(tmp_path / "absent") is None
    for name in ("cifar-10-python.tar.gz", "cifar-10-binary.tar.gz"):
        (tmp_path / name).touch()
        assert SMALL.find(tmp_path) == tmp_path / name
    for name in ("cifar-10-batches-py", "cifar-10-batches-bin"):
        (tmp_path / name).mkdir()
        assert SMALL.find(str(tmp_path)) == tmp_path / name


def official(archive: Path):
    """The data set whose official binary archive is `archive`."""
    raw = archive.read_bytes()
    expected = Expected(len(raw), hashlib.sha256(raw).hexdigest())
    return dataclasses.replace(SMALL, binary=dataclasses.replace(BINARY, expected=expected))


@layouts
def test_unofficial_files_load_with_a_one_line_warning(tmp_path, sample_images, layout):
    path = write_folder(tmp_path / layout.folder, files_of(layout, sample_images))
    with pytest.warns(UserWarning, match="could not be verified") as caught:
        dataset = SMALL.load(tmp_path)
    assert len(caught) == 1
    assert str(path) in str(caught[0].message)
    assert "\n" not in str(caught[0].message)
    assert caught[0].filename == __file__
    assert dataset.name == "CIFAR-10 (unofficial bytes)"


def test_an_official_archive_loads_without_a_warning(tmp_path, sample_images):
    files = files_of(BINARY, sample_images)
    archive = write_archive(tmp_path / "my.tar.gz", BINARY.folder, files)
    assert name_without_warning(official(archive), archive) == "CIFAR-10"


def test_an_official_python_folder_loads_without_a_warning(tmp_path, sample_images):
    files = files_of(PYTHON, sample_images)
    md5 = {name: hashlib.md5(raw).hexdigest() for name, raw in files.items()}
    known = dataclasses.replace(SMALL, python=dataclasses.replace(PYTHON, md5=md5))
    folder = write_folder(tmp_path / PYTHON.folder, files)
    assert name_without_warning(known, tmp_path) == "CIFAR-10"
    (folder / "batches.meta").unlink()
    with pytest.warns(UserWarning, match="verified"):
        assert known.load(tmp_path).name == "CIFAR-10 (unofficial bytes)"


def test_class_names_are_known_without_metadata(tmp_path, sample_images):
    files = files_of(BINARY, sample_images)
    del files["batches.meta.txt"]
    write_archive(tmp_path / BINARY.archive, "cifar-10-batches-bin", files)
    assert_holds(SMALL.load(tmp_path), sample_images)


def test_missing_files_without_download_are_reported(tmp_path):
    with pytest.raises(UserError) as caught:
        SMALL.load(tmp_path, download=False)
    message = str(caught.value)
    for part in (str(tmp_path), "cifar-10-batches-bin/", "cifar-10-python.tar.gz", "--data-dir"):
        assert part in message
    assert "\n" not in message


def test_a_missing_archive_is_reported(tmp_path):
    with pytest.raises(UserError, match=r"no archive .*x\.tar\.gz"):
        SMALL.load(tmp_path / "x.tar.gz")
    assert not list(tmp_path.iterdir())


def test_the_url_in_the_environment_is_downloaded(tmp_path, sample_images, monkeypatch):
    (tmp_path / "mirror").mkdir()
    files = files_of(BINARY, sample_images)
    name = BINARY.archive
    archive = write_archive(tmp_path / "mirror" / name, "cifar-10-batches-bin", files)
    known = official(archive)
    monkeypatch.setenv(CIFAR10.url_variable, archive.parent.as_uri() + "/")
    dataset = known.load(tmp_path / "new" / "data")
    assert_holds(dataset, sample_images)
    assert dataset.name == "CIFAR-10"
    assert (tmp_path / "new" / "data" / name).read_bytes() == archive.read_bytes()

    monkeypatch.setenv(CIFAR10.url_variable, "http://127.0.0.1:9/")  # the argument takes precedence
    known.load(tmp_path / "other", url=archive.as_uri())
    assert (tmp_path / "other" / name).exists()


def test_a_python_archive_is_checked_against_its_own_hash(tmp_path, sample_images):
    name = PYTHON.archive
    (tmp_path / name).write_bytes(b"wrong")
    with pytest.raises(UserError, match="170,498,071"):
        SMALL.load(tmp_path / "data", url=(tmp_path / name).as_uri())


def drop(files):
    del files["data_batch_3.bin"]


def cut(files):
    files["data_batch_2.bin"] = files["data_batch_2.bin"][:-1]


def add_row(files):
    files["test_batch.bin"] += bytes(3073)


def bad_label(files):
    files["test_batch.bin"] = b"\x0a" + files["test_batch.bin"][1:]


def nine_names(files):
    files["batches.meta.txt"] = b"cat\ndog\n"


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (drop, r"lacks data_batch_3\.bin"),
        (cut, r"data_batch_2\.bin: 12,291 bytes, expected 12,292"),
        (add_row, r"test_batch\.bin: 15,365 bytes"),
        (bad_label, r"test_batch\.bin: contains a label outside 0 to 9"),
        (nine_names, r"batches\.meta\.txt: expected the names of 10"),
    ],
)
def test_faulty_binary_files_are_refused(tmp_path, sample_images, damage, message, packed):
    files = files_of(BINARY, sample_images)
    damage(files)
    if packed:
        write_archive(tmp_path / BINARY.archive, BINARY.folder, files)
    else:
        write_folder(tmp_path / BINARY.folder, files)
    with pytest.raises(UserError, match=message) as caught:
        SMALL.load(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "not a pickle"),
        (b"\x80\x02cos\nsystem\nU\x04true\x85R.", r"os\.system"),
        (b"\x80\x02}.", '"data"'),
        (b"\x80\x02K\x01.", '"data"'),
        (python_batch(np.zeros((3, 3072), np.uint8), labels=[1, 1, 1, 1]), '"data"'),
        (python_batch(np.zeros((4, 3072), np.uint8), labels=[1, 1, 1]), '"labels"'),
        (python_batch(np.zeros((4, 3072), np.uint8), labels=[1, 1, 10, 1]), "outside 0 to 9"),
    ],
)
def test_faulty_python_files_are_refused(tmp_path, sample_images, raw, message):
    files = files_of(PYTHON, sample_images) | {"data_batch_4": raw}
    write_folder(tmp_path / PYTHON.folder, files)
    with pytest.raises(UserError, match=message) as caught:
        SMALL.load(tmp_path)
    assert "data_batch_4" in str(caught.value)


def test_an_empty_folder_is_refused(tmp_path):
    (tmp_path / BINARY.folder).mkdir()
    with pytest.raises(UserError, match="lacks data_batch_1"):
        SMALL.load(tmp_path)


def test_a_file_that_is_not_gzip_is_refused(tmp_path):
    path = tmp_path / BINARY.archive
    path.write_bytes(b"<html>try again later</html>" * 100)
    with pytest.raises(UserError, match="damaged, or not a"):
        SMALL.load(tmp_path)


def test_every_truncated_archive_is_refused(tmp_path, sample_images):
    files = files_of(BINARY, sample_images)
    path = write_archive(tmp_path / BINARY.archive, BINARY.folder, files)
    raw = path.read_bytes()
    for length in (0, 5, 100, len(raw) // 2, len(raw) - 9, len(raw) - 1):
        path.write_bytes(raw[:length])
        with pytest.raises(UserError):
            SMALL.load(tmp_path)
    damaged = bytearray(raw)
    damaged[len(raw) // 2] ^= 0xFF
    path.write_bytes(damaged)
    with pytest.raises(UserError):
        SMALL.load(tmp_path)


def test_an_unrelated_archive_is_refused(tmp_path):
    path = write_archive(tmp_path / "x.tar.gz", "cifar-100-python", {"train": b"", "test": b""})
    with pytest.raises(UserError, match="not a complete CIFAR-10, it lacks data_batch_1"):
        SMALL.load(path)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_an_archive_with_a_link_is_refused(tmp_path, kind):
    path = tmp_path / BINARY.archive
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo("cifar-10-batches-bin/data_batch_1.bin")
        member.type, member.linkname = kind, "/etc/hostname"
        archive.addfile(member)
    with pytest.raises(UserError, match=r"data_batch_1\.bin is a link"):
        SMALL.load(tmp_path)


def test_an_archive_is_read_without_unpacking(tmp_path, sample_images):
    files = files_of(BINARY, sample_images) | {"../../outside": b"x"}
    write_archive(tmp_path / BINARY.archive, BINARY.folder, files)
    assert_holds(SMALL.load(tmp_path), sample_images)
    assert not list(tmp_path.parent.rglob("outside"))


def test_an_archive_with_a_huge_member_is_refused(tmp_path):
    short = dataclasses.replace(SMALL, max_file_size=100)
    files = {"data_batch_1.bin": bytes(101)}
    write_archive(tmp_path / BINARY.archive, BINARY.folder, files)
    with pytest.raises(UserError, match="longer than any file"):
        short.load(tmp_path)


def test_an_archive_with_a_duplicate_name_is_refused(tmp_path):
    path = tmp_path / BINARY.archive
    with tarfile.open(path, "w:gz") as archive:
        for name in ("f/x", "f/x", "cifar-10-batches-bin/test_batch.bin"):
            archive.addfile(tarfile.TarInfo(name))
    with pytest.raises(UserError, match="holds 'f/x' twice"):
        SMALL.load(tmp_path)


@needs_posix
@pytest.mark.parametrize("name", ["", "cifar-10-batches-bin/test_batch.bin"])
def test_reading_a_pipe_does_not_block(tmp_path, sample_images, name):
    folder = write_folder(
        tmp_path / "data" / "cifar-10-batches-bin", files_of(BINARY, sample_images)
    )
    path = folder.parent / name
    if path.is_dir():
        path.rename(tmp_path / "moved")
    else:
        path.unlink()
    os.mkfifo(path)
    with pytest.raises(UserError, match="a named pipe, expected a regular file"):
        SMALL.load(tmp_path / "data", download=False)


@layouts
@pytest.mark.parametrize("bad", ["", "c\x1b[2Jat", "x" * 65, "c\xe4t"])
def test_unprintable_class_names_are_refused(tmp_path, sample_images, layout, bad):
    files = files_of(layout, sample_images)
    (meta,) = layout.metas
    raw = files[meta]
    cat = b"cat" if layout is BINARY else text("cat")
    new = bad.encode("latin-1")
    files[meta] = raw.replace(cat, new if layout is BINARY else text(new))
    write_folder(tmp_path / layout.folder, files)
    with pytest.raises(UserError, match="expected the names of 10 classes"):
        SMALL.load(tmp_path)


def test_oversized_metadata_is_refused(tmp_path, sample_images):
    files = files_of(BINARY, sample_images) | {"batches.meta.txt": b"a " * 1_000_000}
    write_folder(tmp_path / BINARY.folder, files)
    with pytest.raises(UserError, match=r"batches\.meta\.txt: 2,000,000 bytes, longer"):
        SMALL.load(tmp_path)


@pytest.mark.parametrize("name", ["a\0b", "x" * 300])
def test_an_impossible_path_is_refused(name):
    with pytest.raises(UserError) as caught:
        SMALL.load(name, download=False)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all")
def test_an_unreadable_file_is_reported(tmp_path):
    path = tmp_path / BINARY.archive
    path.touch(mode=0)
    with pytest.raises(UserError, match="cannot read"):
        SMALL.load(tmp_path)


@pytest.mark.skipif(not REAL.exists(), reason="the real images are not here")
def test_real_images_are_the_same_in_both_layouts(monkeypatch):
    spec = importlib.util.spec_from_file_location("make_cifar10", REAL)
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    with tempfile.TemporaryDirectory() as folder:  # 360 MB, so not a folder that pytest keeps
        monkeypatch.setattr("sys.argv", ["make_cifar10", folder])
        make.main()
        binary = CIFAR10.load(folder)
        python = CIFAR10.load(Path(folder) / PYTHON.folder)
    for one, other in ((binary.train, python.train), (binary.test, python.test)):
        assert np.array_equal(one.images, other.images)
        assert np.array_equal(one.labels, other.labels)
    assert np.bincount(binary.train.labels).tolist() == [5000] * 10
    assert np.bincount(binary.test.labels).tolist() == [1000] * 10
    assert binary.class_names == python.class_names == CLASS_NAMES
