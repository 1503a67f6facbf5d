"""Which files in a folder are treated as images."""

import os
from pathlib import Path

import pytest
from helpers import needs_posix
from PIL import Image

from minivit.data import image_files
from minivit.data.image_files import SUFFIXES
from minivit.errors import UserError

IMAGE = Image.new("RGB", (4, 4), "red")


def names(*named) -> list[str]:
    return [path.name for path in image_files(named)]


def test_a_folder_gives_the_images_directly_in_it_sorted_by_name(tmp_path):
    for name in ("b.jpg", "A.PNG", "c.webp", ".hidden.png", "inside.png/deep.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        IMAGE.save(tmp_path / name)
    for name in (".DS_Store", "Thumbs.db", "notes.txt", "empty", "._b.jpg"):
        (tmp_path / name).write_bytes(b"\0\0\0\1Bud1"[: len(name) - 5])
    IMAGE.save(tmp_path / "no suffix", "GIF")
    IMAGE.save(tmp_path / "other.dat", "TIFF")
    (tmp_path / "damaged.jpeg").write_bytes(b"words")
    found = ["A.PNG", "b.jpg", "c.webp", "damaged.jpeg", "no suffix", "other.dat"]
    assert names(tmp_path) == found
    assert names(tmp_path / "notes.txt", tmp_path, Path("gone.jpg")) == [
        "notes.txt", *found, "gone.jpg",
    ]  # fmt: skip


@needs_posix
def test_entries_with_image_names_that_are_not_files_are_left_to_the_reader(tmp_path):
    (tmp_path / "link.png").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.png")
    os.mkfifo(tmp_path / "pipe")  # must not block
    assert names(tmp_path) == ["link.png", "pipe.png"]


@pytest.mark.parametrize("suffix", sorted(SUFFIXES - {".jfif", ".jpe", ".dib", ".pnm"}))
def test_each_listed_suffix_can_be_read(tmp_path, suffix):
    IMAGE.save(tmp_path / f"a{suffix}")
    os.rename(tmp_path / f"a{suffix}", tmp_path / "a")
    assert names(tmp_path) == ["a"], "recognized by its content, too"


def test_a_folder_without_images_is_refused(tmp_path, monkeypatch):
    (tmp_path / "notes.txt").write_bytes(b"words")
    with pytest.raises(UserError, match=r"a folder without images; expected JPEG, .* PPM directly"):
        image_files([tmp_path])

    def deny(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "listdir", deny)
    with pytest.raises(UserError, match=r"cannot be listed \(Permission denied\)"):
        image_files([tmp_path])
