"""Your own images: folders, archives, arrays and tables, and everything that can be wrong with
them."""

import dataclasses
import os
import shutil
import tarfile
import time
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minivit.data import Request, find_source
from minivit.data.class_folders import list_classes
from minivit.data.image_cache import _decode
from minivit.engine import TrainConfig
from minivit.errors import UserError

SIZE = (8, 8)


def image(path: Path, mode: str = "RGB", seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (10, 12, 3)).astype(np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)


def class_folders(root: Path, classes=("cats", "dogs"), count: int = 6) -> Path:
    for k, name in enumerate(classes):
        for i in range(count):
            image(root / name / f"{i}.png", seed=100 * k + i)
    return root


def load(path: Path, **kwargs):
    return find_source(str(path)).load(Request(image_size=SIZE, **kwargs))


def error_line(path: Path, **kwargs) -> str:
    """The one-line error message for a data set."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(UserError) as error:
            load(path, **kwargs)
    assert str(error.value).isprintable()
    return str(error.value)


def contents(folder: Path) -> dict:
    return {p: p.stat().st_mtime_ns for p in [folder, *folder.rglob("*")]}


def test_a_folder_with_one_folder_per_class(tmp_path):
    class_folders(tmp_path / "photos")
    before = contents(tmp_path)
    found = load(tmp_path / "photos")
    assert found.name == "photos"
    assert found.class_names == ("cats", "dogs")
    assert (len(found.train), len(found.test), found.val) == (10, 2, None)
    assert np.bincount(found.test.labels).tolist() == [1, 1]
    assert found.train.images.shape == (10, 3, *SIZE)
    names = {*found.train.names, *found.test.names}
    assert names == {f"{c}/{i}.png" for c in ("cats", "dogs") for i in range(6)}
    for name, label in zip(found.train.names, found.train.labels, strict=True):
        assert name.startswith(found.class_names[label])
    assert contents(tmp_path) == before


def test_the_split_depends_on_the_seed(tmp_path):
    class_folders(tmp_path / "photos", count=20)
    one, same, other = (load(tmp_path / "photos", seed=seed).test.names for seed in (0, 0, 1))
    assert one.tolist() == same.tolist() != other.tolist()


def test_the_validation_split_keeps_the_class_proportions(tmp_path):
    class_folders(tmp_path / "photos")
    assert find_source(str(tmp_path / "photos")).recipe["stratify"]
    assert not TrainConfig.from_dict({}).stratify  # as in runs from before the flag existed


def test_train_val_and_test_folders(tmp_path):
    for split in ("train", "valid", "test"):
        class_folders(tmp_path / split)
    found = load(tmp_path)
    assert (len(found.train), len(found.val), len(found.test)) == (12, 12, 12)
    shutil.rmtree(tmp_path / "test")
    found = load(tmp_path)  # without a test set, the validation set is used
    assert (len(found.train), found.val, len(found.test)) == (12, None, 12)


def test_numbered_files_keep_their_order():
    found = list_classes(["b/0002.png", "a/0001.png", "b/0003.png", "a/0004.png"])
    assert found.names == ["a/0001.png", "b/0002.png", "b/0003.png", "a/0004.png"]
    assert found.labels.tolist() == [0, 1, 1, 0]


def test_a_class_may_be_called_train():
    found = list_classes(["train/1.png", "bus/1.png"])
    assert found.class_names == ("bus", "train")
    found = list_classes(["photos/train/a/1.png", "photos/train/b/1.png"])
    assert found.class_names == ("a", "b")
    assert found.names == ["photos/train/a/1.png", "photos/train/b/1.png"]


def test_images_of_any_mode_are_read_and_other_files_are_ignored(tmp_path):
    class_folders(tmp_path, ("кошки", "犬"))
    image(tmp_path / "犬" / "deep" / "er" / "日本.png")
    for mode, suffix in (("CMYK", "jpg"), ("L", "png"), ("RGBA", "png"), ("P", "gif")):
        image(tmp_path / "кошки" / f"{mode}.{suffix}", mode)
    for clutter in (".DS_Store", "Thumbs.db", "notes.txt", ".hidden/a.png", "__MACOSX/犬/._a.png"):
        (tmp_path / "犬" / clutter).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "犬" / clutter).write_bytes(b"x")
    if hasattr(os, "symlink"):
        os.symlink(tmp_path, tmp_path / "犬" / "back")
    image(tmp_path / "loose.png")
    with pytest.warns(UserWarning, match="1 images are not in a class folder"):
        found = load(tmp_path)
    assert len(found.train) + len(found.test) == 17
    assert found.class_names == ("кошки", "犬")


def test_unreadable_files_are_reported_and_skipped(tmp_path):
    class_folders(tmp_path)
    (tmp_path / "cats" / "empty.jpg").touch()
    whole = (tmp_path / "cats" / "0.png").read_bytes()
    (tmp_path / "dogs" / "cut.png").write_bytes(whole[:100])
    with pytest.warns(UserWarning, match="cannot be read|image") as caught:
        found = load(tmp_path)
    lines = [str(one.message) for one in caught]
    assert lines[0].startswith("dogs/cut.png: a damaged image")
    assert lines[1].startswith("cats/empty.jpg: not an image")
    assert lines[2] == f"{tmp_path.name}: 2 of 14 images cannot be read and are left out"
    assert len(found.train) + len(found.test) == 12
    assert "2 of 14 images cannot be read, the first is dogs/cut.png" in error_line(
        tmp_path, strict=True
    )


def test_a_class_missing_from_a_split_is_reported(tmp_path):
    class_folders(tmp_path)
    image(tmp_path / "rare" / "1.png")
    with pytest.warns(UserWarning, match="image of class rare") as caught:
        load(tmp_path)
    name = tmp_path.name
    assert [str(one.message) for one in caught] == [
        f"{name}: only one image of class rare",
        f"{name}: no test image of class rare",
    ]


def test_of_many_missing_classes_only_some_are_named(tmp_path):
    class_folders(tmp_path, [f"rare{i}" for i in range(8)], count=1)
    image(tmp_path / "rare0" / "1.png", seed=7)
    with pytest.warns(UserWarning, match="image of class rare1, .*, rare5 and 2 more$") as caught:
        load(tmp_path)
    assert len(caught) == 2


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ([], "no images in it; expected one folder of images per class"),
        (["1.png", "2.png"], "2 images are not in a class folder; expected one folder per class"),
        (["a/1.png", "a/2.png"], "a single class, 'a'; expected two or more"),
        (["Cat/1.png", "cat/1.png"], "classes 'Cat' and 'cat' differ only in case"),
        (["train/a/1.png", "train/b/1.png", "test/c/1.png"], "class 'c' is in the val or test"),
        (["a/1.png", "b/1.png"], "only one image of each class; expected at least two"),
    ],
    ids=lambda value: None if isinstance(value, list) else value[:20],
)
def test_folders_that_are_not_a_data_set_are_refused(tmp_path, files, expected):
    for name in files:
        image(tmp_path / name)
    if files == ["Cat/1.png", "cat/1.png"] and len(list(tmp_path.iterdir())) == 1:
        pytest.skip("a file system that does not tell case")
    message = error_line(tmp_path)
    assert expected in message
    assert tmp_path.name in message


def test_a_missing_path_is_reported(tmp_path):
    class_folders(tmp_path / "photos")
    message = error_line(tmp_path / "photo")
    assert message == f"{tmp_path}/photo: no such file or folder; did you mean {tmp_path}/photos?"
    (tmp_path / "note.txt").write_text("hello", encoding="utf-8")
    assert "expected a folder of class folders, a .zip" in error_line(tmp_path / "note.txt")


def test_too_many_files_are_refused(tmp_path, monkeypatch):
    class_folders(tmp_path)
    monkeypatch.setattr("minivit.data.file_sets.MAX_FILES", 11)
    assert "more than 11 files" in error_line(tmp_path)


def pack(folder: Path, path: Path) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted(folder.rglob("*.*")):
                archive.write(file, file.relative_to(folder.parent))
    else:
        with tarfile.open(path, "w:gz") as archive:
            archive.add(folder, folder.name)
    return path


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
def test_an_archive_gives_the_same_data_as_the_folder(tmp_path, suffix):
    folder = class_folders(tmp_path / "日本 photos", ("кошки", "犬"))
    expected = load(folder)
    path = pack(folder, tmp_path / f"all{suffix}")
    found = load(path)
    assert found.class_names == expected.class_names
    assert found.digest == expected.digest
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) // 2])
    assert "damaged, or not a" in error_line(path)


def test_a_zip_with_a_damaged_member_or_a_duplicate_name(tmp_path):
    folder = class_folders(tmp_path / "photos")
    path = pack(folder, tmp_path / "all.zip")
    raw = bytearray(path.read_bytes())
    raw[raw.find(b"IDAT") + 30] ^= 255
    path.write_bytes(raw)
    with pytest.warns(UserWarning, match="1 of 12 images cannot be read"):
        load(path)
    with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as archive:
        warnings.simplefilter("ignore")
        archive.write(folder / "cats" / "0.png", "photos/cats/0.png")
    assert "two members have the same name" in error_line(path)


@pytest.mark.parametrize(
    ("side", "expected"),
    [(28, (28, 4)), (30, (32, 4)), (36, (32, 4)), (64, (64, 8)), (72, (32, 4))],
)
def test_arrays_keep_their_size_if_whole_patches_fit(side, expected, tmp_path):
    images, labels = np.zeros((4, side, side, 3), np.uint8), np.arange(4) % 2
    np.savez(tmp_path / "a.npz", images=images, labels=labels)
    recipe = find_source(str(tmp_path / "a.npz")).recipe
    assert (recipe["image_size"], recipe["patch_size"]) == expected


def test_arrays_in_an_npz_file_are_loaded(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (60, 8, 8, 3)).astype(np.uint8)
    labels = np.arange(60) % 3
    np.savez(tmp_path / "a.npz", images=images, labels=labels)
    found = load(tmp_path / "a.npz")
    assert (len(found.train), len(found.test)) == (48, 12)
    assert found.class_names == ("0", "1", "2")
    np.savez(tmp_path / "b.npz", x=images.transpose(0, 3, 1, 2), y=labels[:, None])
    assert load(tmp_path / "b.npz").digest == found.digest
    gray = images[..., 0]
    keras = {"x_train": gray, "y_train": labels, "x_test": gray[:6], "y_test": labels[:6]}
    np.savez(tmp_path / "c.npz", **keras, class_names=["a", "b", "c"])
    found = load(tmp_path / "c.npz", channels=1)
    assert found.train.images.shape == (60, 1, 8, 8)
    np.testing.assert_array_equal(found.test.images[:, 0], gray[:6])
    assert found.class_names == ("a", "b", "c")
    source = find_source(str(tmp_path / "c.npz"))
    assert (source.recipe["in_channels"], source.recipe["image_size"]) == (1, 8)
    medmnist = {"train_images": gray, "train_labels": labels[:, None]}
    medmnist |= {"val_images": gray[:9], "val_labels": labels[:9]}
    medmnist |= {"test_images": gray[:6], "test_labels": labels[:6]}
    np.savez(tmp_path / "d.npz", **medmnist)
    found = load(tmp_path / "d.npz", channels=3)
    assert (len(found.train), len(found.val), len(found.test)) == (60, 9, 6)
    assert found.train.images.shape[1] == 3


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"labels": np.arange(5)}, "found shapes (12, 8, 8, 3) and (5,)"),
        ({"labels": np.arange(12) - 1}, "has the label -1; expected 0 and up"),
        ({"labels": np.arange(12) * 10**6}, "most of them missing"),
        ({"labels": np.array(1)}, "found shapes (12, 8, 8, 3) and ()"),
        ({"images": np.zeros((12, 0, 8), "u1")}, "without a pixel"),
        ({"labels": np.zeros(12)}, "expected images from 0 to 255 as uint8, and integers"),
        ({"images": np.zeros((12, 8, 8, 3), "f4")}, "found float32 and int64"),
        ({"images": np.full((12, 8, 8, 3), 256)}, "levels outside 0 to 255"),
        ({"images": np.zeros((12, 8, 8, 5), "u1")}, "expected 1 or 3 channels"),
        ({"images": np.array([{}] * 12)}, "not a complete .npz file"),
        ({"labels": np.zeros(12, int)}, "a single class"),
        ({"labels": None}, "contains images; expected images and labels, or x and y"),
    ],
    ids=lambda value: None if isinstance(value, dict) else value[:24],
)
def test_arrays_that_are_not_a_data_set_are_refused(tmp_path, change, expected):
    arrays = {"images": np.zeros((12, 8, 8, 3), np.uint8), "labels": np.arange(12) % 2, **change}
    np.savez(tmp_path / "a.npz", **{k: a for k, a in arrays.items() if a is not None})
    assert expected in error_line(tmp_path / "a.npz")


def test_a_csv_table_of_paths_and_labels_is_loaded(tmp_path):
    folder = class_folders(tmp_path / "photos")
    rows = [f"{one.relative_to(tmp_path)},{one.parent.name}" for one in folder.rglob("*.png")]
    for header in ("", "path,label\n", "\ufefffilename,class\n"):
        path = tmp_path / "all.csv"
        path.write_text(header + "\n".join(rows), encoding="utf-8")
        found = load(path)
        assert found.class_names == ("cats", "dogs")
        assert len(found.train) + len(found.test) == 12
    splits = ["train"] * 8 + ["test"] * 4
    rows = ["path,label,split", *(f"{a},{b}" for a, b in zip(rows, splits, strict=True))]
    path.write_text("\n".join(rows), encoding="utf-8")
    assert (len(load(path).train), len(load(path).test)) == (8, 4)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", "empty; expected a path and a label per row"),
        (b"path,label\n", "no images in it"),
        (b"path\na.png\n", "a table of one column"),
        (b"path,label\na.png\n", "row 2 lacks a path or a label"),
        (b"path,label,split\na.png,a,later\n", "row 2 is of split 'later'"),
        (b"\xff\xfe\x00", "not a .csv in UTF-8"),
        (b'path,label\n"a', "row 2 lacks"),
    ],
    ids=range(7),
)
def test_invalid_tables_are_refused(tmp_path, raw, expected):
    (tmp_path / "a.csv").write_bytes(raw)
    assert expected in error_line(tmp_path / "a.csv")


def test_images_are_decoded_only_once(tmp_path, monkeypatch):
    class_folders(tmp_path / "photos")
    (tmp_path / "photos" / "cats" / "bad.png").write_bytes(b"no image")
    cache = tmp_path / "cache"
    with pytest.warns(UserWarning, match="1 of 13"):
        plain = load(tmp_path / "photos")
    with pytest.warns(UserWarning, match="1 of 13"):
        first = load(tmp_path / "photos", cache=cache)
    monkeypatch.setattr("minivit.data.image_cache.decode_image", None)  # nothing is decoded again
    shutil.move(tmp_path / "photos", tmp_path / "moved")
    with pytest.warns(UserWarning, match="1 of 13"):
        again = load(tmp_path / "moved", cache=cache)
    assert plain.digest == first.digest == again.digest
    np.testing.assert_array_equal(plain.train.pixels, again.train.pixels)
    assert sorted(one.suffix for one in cache.iterdir()) == [".json", ".npy"]


def test_only_a_limited_number_of_bytes_is_read_ahead(monkeypatch):
    """Fewer large files than small files are read ahead."""
    read_ahead, decoded = [], []

    class Files:
        def read(self, names):
            for index in range(len(names)):
                read_ahead.append(index)
                yield index, bytes(100)

    def slow(raw, name, preprocess):
        time.sleep(0.005)
        decoded.append(name)
        return np.zeros((3, 1, 1), np.uint8)

    monkeypatch.setattr("minivit.data.image_cache.MAX_QUEUED_BYTES", 250)
    monkeypatch.setattr("minivit.data.image_cache.decode_image", slow)
    max_pending = 0
    for _ in _decode(Files(), [str(n) for n in range(20)], Request().preprocess):
        max_pending = max(max_pending, len(read_ahead) - len(decoded))
    assert len(decoded) == 20
    assert max_pending <= 3


def test_changed_images_are_decoded_again(tmp_path):
    folder, cache = class_folders(tmp_path / "photos"), tmp_path / "cache"
    before = load(folder, cache=cache)
    file = folder / "cats" / "0.png"
    status = file.stat()
    image(file, seed=99)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    after = load(folder, cache=cache)
    assert before.digest != after.digest == load(folder).digest
    assert load(folder, cache=cache, resize="stretch").digest != after.digest


def test_a_damaged_cache_is_rebuilt(tmp_path):
    folder, cache = class_folders(tmp_path / "photos"), tmp_path / "cache"
    expected = load(folder, cache=cache).digest
    (stored,) = cache.glob("*.npy")
    for damage in (
        lambda raw: raw[:-5],
        lambda raw: raw[:200] + b"\1" + raw[201:],
        lambda raw: b"",
    ):
        stored.write_bytes(damage(stored.read_bytes()))
        assert load(folder, cache=cache).digest == expected


def test_a_run_remembers_where_its_images_are(tmp_path, monkeypatch):
    class_folders(tmp_path / "my photos")
    monkeypatch.chdir(tmp_path)
    config = TrainConfig(dataset="./my photos").resolved()
    assert config.dataset == str((tmp_path / "my photos").resolve())
    assert config.data_name == "my-photos"
    moved = config.moved(tmp_path / "elsewhere")
    assert moved.dataset == str((tmp_path / "elsewhere").resolve())
    assert dataclasses.replace(moved, dataset="shapes").data_name == "shapes"
