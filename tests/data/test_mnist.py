"""MNIST and Fashion-MNIST: four IDX files, gzipped or not, and all kinds of faulty files."""

import dataclasses
import gzip
import hashlib
import http.server
import os
import struct
import threading
import warnings

import numpy as np
import pytest
from helpers import needs_posix
from synthetic_data import gzipped, idx_file, idx_files, write_folder

from minivit.data import download
from minivit.data.download import Expected
from minivit.data.idx import read_idx
from minivit.data.mnist import FASHION, MNIST
from minivit.errors import UserError

FEW = {"train": 5, "t10k": 3}
SMALL = dataclasses.replace(MNIST, counts=FEW)
CLOTHES = dataclasses.replace(FASHION, counts=FEW)
NAMES = tuple(MNIST.expected)

pytestmark = pytest.mark.filterwarnings("ignore:.*could not be verified")


@pytest.fixture(autouse=True)
def _no_mirror(monkeypatch):
    monkeypatch.delenv(MNIST.url_variable, raising=False)


def official(idx, files: dict[str, bytes]):
    """The data set whose official files are `files`, gzipped."""
    expected = {
        name.removesuffix(".gz"): Expected(len(raw), hashlib.sha256(raw).hexdigest())
        for name, raw in files.items()
    }
    return dataclasses.replace(idx, expected=expected)


def load_quietly(idx, path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return idx.load(path, download=False)


def assert_holds(dataset, arrays):
    for split, name in ((dataset.train, "train"), (dataset.test, "t10k")):
        np.testing.assert_array_equal(split.images[:, 0], arrays[f"{name}-images-idx3-ubyte"])
        np.testing.assert_array_equal(split.labels, arrays[f"{name}-labels-idx1-ubyte"])
        assert split.images.shape[1:] == (1, 28, 28)
        assert (split.images.dtype, split.labels.dtype) == (np.uint8, np.int64)


def error_line(idx, path) -> str:
    with pytest.raises(UserError) as caught:
        idx.load(path, download=False)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("folder", ["", "mnist", "MNIST/raw"])
@pytest.mark.parametrize("packed", [False, True])
def test_reads_plain_and_gzipped_files(tmp_path, folder, packed):
    files, arrays = idx_files(SMALL)
    path = write_folder(tmp_path / "data" / folder, gzipped(files) if packed else files)
    assert SMALL.find(tmp_path / "data") == path
    found = SMALL.load(tmp_path / "data", download=False)
    assert_holds(found, arrays)
    assert found.name == "MNIST (unofficial bytes)"
    assert found.class_names == tuple("0123456789")


def test_a_known_file_is_read_byte_by_byte(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(bytes.fromhex("00000802 00000002 00000003") + bytes(range(6)))
    array, digest = read_idx(path, (2, 3))
    assert array.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_two_data_sets_have_separate_folders(tmp_path):
    digits, of_digits = idx_files(SMALL, 0)
    clothes, of_clothes = idx_files(CLOTHES, 1)
    write_folder(tmp_path / "mnist", digits)
    assert CLOTHES.find(tmp_path) is None
    write_folder(tmp_path / "FashionMNIST" / "raw", clothes)
    assert_holds(SMALL.load(tmp_path), of_digits)
    found = CLOTHES.load(tmp_path)
    assert_holds(found, of_clothes)
    assert found.class_names[9] == "Ankle boot"


def test_only_the_gzipped_files_count_as_official(tmp_path):
    files, arrays = idx_files(SMALL)
    packed = gzipped(files)
    known = official(SMALL, packed)
    folder = write_folder(tmp_path / "mnist", packed)
    assert load_quietly(known, tmp_path).name == "MNIST"
    for name, raw in files.items():
        (folder / name).write_bytes(raw)  # torchvision leaves both there
    assert load_quietly(known, tmp_path).name == "MNIST"
    (folder / f"{NAMES[3]}.gz").unlink()
    with pytest.warns(UserWarning, match="could not be verified as the official MNIST") as caught:
        found = known.load(tmp_path)
    assert found.name == "MNIST (unofficial bytes)"
    assert_holds(found, arrays)
    assert len(caught) == 1
    assert caught[0].filename == __file__


@pytest.mark.parametrize("name", NAMES)
def test_other_bytes_are_not_official(tmp_path, name):
    files, _ = idx_files(SMALL)
    known = official(SMALL, gzipped(files))
    other = bytearray(files[name])
    other[-1] ^= 1
    write_folder(tmp_path / "mnist", gzipped(files | {name: bytes(other)}))
    assert known.load(tmp_path).name == "MNIST (unofficial bytes)"


def test_missing_files_without_download_are_reported(tmp_path):
    message = error_line(SMALL, tmp_path)
    for part in (str(tmp_path), "train-images-idx3-ubyte", "mnist/", "MNIST/raw/", "--data-dir"):
        assert part in message
    files, _ = idx_files(SMALL)
    del files[NAMES[2]]  # three of four files count as not found, so a download completes them
    write_folder(tmp_path / "mnist", files)
    assert "no MNIST in" in error_line(SMALL, tmp_path)


def test_a_file_instead_of_the_folder_is_reported(tmp_path):
    (tmp_path / "train.gz").touch()
    assert "not a folder" in error_line(SMALL, tmp_path / "train.gz")


# Damage


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_every_truncation_is_reported_in_one_line(tmp_path, name, packed):
    files, _ = idx_files(SMALL)
    files = gzipped(files) if packed else files
    name += ".gz" * packed
    folder = write_folder(tmp_path / "mnist", files)
    raw = files[name]
    for length in (0, 3, 4, 7, 8, 15, 16, len(raw) // 2, len(raw) - 1):
        if length < len(raw):
            (folder / name).write_bytes(raw[:length])
            assert name in error_line(SMALL, tmp_path)


def images_header(magic=0x0803, *shape):
    return struct.pack(">4I", magic, *(shape or (5, 28, 28)))


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (images_header() + bytes(5 * 784 + 1), "3,937 bytes, expected 3,936"),
        (images_header() + bytes(5 * 784 - 1), "3,935 bytes, expected 3,936"),
        (images_header(0x0903) + bytes(5 * 784), "magic number 0x0903 and shape 5×28×28; expected"),
        (images_header(0x0D03) + bytes(5 * 784), "magic number 0x0d03"),
        (images_header(0x0803, 784, 5, 1) + bytes(5 * 784), "shape 784×5×1; expected magic"),
        (images_header(0x0803, 2**32 - 1, 28, 28) + bytes(5 * 784), "shape 4294967295×28×28"),
        (images_header(0x0803, 6, 28, 28) + bytes(6 * 784), "shape 6×28×28; expected"),
        (struct.pack("<4I", 0x0803, 5, 28, 28) + bytes(5 * 784), "magic number 0x3080000"),
        (b"", "0 bytes, too few"),
        (images_header()[:4], "4 bytes, too few"),
        (images_header()[:9], "9 bytes, too few"),
        (b"<html>try again later</html>", "magic number"),
    ],
)
def test_invalid_image_files_are_refused(tmp_path, raw, message):
    files, _ = idx_files(SMALL)
    write_folder(tmp_path / "mnist", files | {NAMES[0]: raw})
    found = error_line(SMALL, tmp_path)
    assert "train-images-idx3-ubyte: " in found
    assert message in found


def test_invalid_label_files_are_refused(tmp_path):
    files, _ = idx_files(SMALL)
    raw = struct.pack(">2I", 0x0803, 5) + bytes(5)
    write_folder(tmp_path / "mnist", files | {NAMES[1]: raw})
    expected = "magic number 0x0803 and shape 5; expected magic number 0x0801 and shape 5"
    assert f"{NAMES[1]}: {expected}" in error_line(SMALL, tmp_path)


def test_a_huge_file_is_not_read(tmp_path):
    files, _ = idx_files(SMALL)
    folder = write_folder(tmp_path / "mnist", files)
    os.truncate(folder / NAMES[0], 1 << 40)
    assert "1,099,511,627,776 bytes, expected at most" in error_line(SMALL, tmp_path)


def test_a_decompression_bomb_is_not_unpacked(tmp_path):
    files, _ = idx_files(SMALL)
    packed = gzipped(files)
    packed[f"{NAMES[0]}.gz"] = gzip.compress(files[NAMES[0]] + bytes(3_000_000))
    write_folder(tmp_path / "mnist", packed)
    assert "it unpacks to more than 3,936 bytes" in error_line(SMALL, tmp_path)


@pytest.mark.parametrize("which", [1, 3])
def test_an_invalid_label_is_refused(tmp_path, which):
    files, arrays = idx_files(SMALL)
    labels = arrays[NAMES[which]].copy()
    labels[1] = 10
    write_folder(tmp_path / "mnist", files | {NAMES[which]: idx_file(labels)})
    assert f"{NAMES[which]}: contains a label outside 0 to 9" in error_line(SMALL, tmp_path)


def test_a_gz_file_that_is_not_gzip_is_refused(tmp_path):
    files, _ = idx_files(SMALL)
    packed = gzipped(files) | {f"{NAMES[2]}.gz": files[NAMES[2]]}
    write_folder(tmp_path / "mnist", packed)
    assert "damaged, or not a .gz file" in error_line(SMALL, tmp_path)


@needs_posix
def test_reading_a_pipe_does_not_block(tmp_path):
    files, _ = idx_files(SMALL)
    folder = write_folder(tmp_path / "mnist", files)
    (folder / NAMES[1]).unlink()
    os.mkfifo(folder / NAMES[1])
    assert "no MNIST in" in error_line(SMALL, tmp_path)
    os.mkfifo(folder / f"{NAMES[0]}.gz")  # next to the file itself
    assert "no MNIST in" in error_line(SMALL, tmp_path)


# The network


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A server for the four files that breaks off each connection after a while."""
    monkeypatch.setattr(download, "PAUSE", 0.001)
    files, arrays = idx_files(SMALL)
    content, requests = gzipped(files), []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            raw = content[self.path.removeprefix("/mirror/")]
            begin = int((self.headers.get("Range") or "bytes=0-")[len("bytes=") : -1])
            requests.append((self.path, begin))
            self.send_response(206 if begin else 200)
            if begin:
                self.send_header("Content-Range", f"bytes {begin}-{len(raw) - 1}/{len(raw)}")
            self.send_header("Content-Length", str(len(raw) - begin))
            self.end_headers()
            self.wfile.write(raw[begin : begin + 2000])

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}/mirror/"
    yield official(SMALL, content), url, requests, arrays
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_four_files_are_downloaded_resumed_and_found_again(tmp_path, mirror, monkeypatch):
    known, url, requests, arrays = mirror
    monkeypatch.setenv(MNIST.url_variable, url)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = known.load(tmp_path / "data")
    assert_holds(found, arrays)
    assert found.name == "MNIST"
    assert [begin for path, begin in requests if "train-images" in path] == [0, 2000]
    names = {path.name for path in (tmp_path / "data" / "mnist").iterdir()}
    assert {name for name in names if not name.endswith(".lock")} == {f"{n}.gz" for n in NAMES}
    count = len(requests)
    assert load_quietly(known, tmp_path / "data").name == "MNIST"
    assert len(requests) == count


def test_a_download_interrupted_between_files_is_continued(tmp_path, mirror):
    known, url, requests, arrays = mirror
    folder = tmp_path / "data" / "mnist"
    known.load(tmp_path / "data", url=url)
    (folder / f"{NAMES[2]}.gz").unlink()
    requests.clear()
    assert_holds(known.load(tmp_path / "data", url=url), arrays)
    assert {path for path, _ in requests} == {f"/mirror/{NAMES[2]}.gz"}


def test_a_file_that_is_not_the_official_one_is_not_kept(tmp_path, mirror):
    known, url, _, _ = mirror
    wrong = {n: e._replace(sha256="0" * 64) for n, e in known.expected.items()}
    with pytest.raises(UserError, match="is not the file that was expected, and was removed"):
        dataclasses.replace(known, expected=wrong).load(tmp_path / "data", url=url)
    assert not list((tmp_path / "data").rglob("*.gz"))


def test_without_a_network_alternatives_are_suggested(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "PAUSE", 0.001)
    with pytest.raises(UserError) as caught:
        SMALL.load(tmp_path, url="http://127.0.0.1:9/mnist/")
    message = str(caught.value)
    assert "put the file at" in message
    assert str(tmp_path / "mnist" / "train-images-idx3-ubyte.gz") in message
    assert message.endswith("or use --dataset shapes")


def test_the_url_of_a_single_file_is_not_enough(tmp_path):
    with pytest.raises(UserError, match=r'the folder with its four files, which ends in "/"'):
        SMALL.load(tmp_path, url="http://127.0.0.1:9/train-images-idx3-ubyte.gz")
