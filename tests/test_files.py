"""Files: error messages name the file that is at fault, whichever part of minivit reads or writes
it."""

import errno
import json
import os
import socket
import stat
from pathlib import Path

import pytest
import tiny
from helpers import needs_posix
from PIL import Image

from minivit import files
from minivit.commands import main
from minivit.commands.cli import guarded
from minivit.errors import UserError
from minivit.files import WriteError, make_folder, read_json, read_plain, reading, write_atomically


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The directory of a finished run."""
    trainer = tiny.trainer(tmp_path_factory.mktemp("trained"))
    assert trainer.fit()
    return trainer.run.path


@pytest.fixture
def command(capsys, monkeypatch, tmp_path):
    """Run `minivit` with arguments that make it fail; returns its one-line message."""
    monkeypatch.setattr("minivit.data.shapes.load", tiny.dataset)
    monkeypatch.chdir(tmp_path)

    def run(*words):
        assert main([str(word) for word in words]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("error: ")
        assert captured.err.count("\n") == 1, captured.err
        return captured.err

    return run


# Writing


@pytest.mark.parametrize("step", ["open", "fsync", "replace"])
def test_an_error_in_writing_names_the_file(tmp_path, monkeypatch, step):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def deny(*arguments, **_):
        name = arguments[0] if isinstance(arguments[0], os.PathLike) else None
        raise PermissionError(errno.EACCES, "Permission denied", name and str(name))

    monkeypatch.setattr(*(("builtins.open", deny) if step == "open" else (os, step, deny)))
    with pytest.raises(WriteError) as caught:
        write_atomically(path, b"new")
    monkeypatch.undo()
    assert (caught.value.filename, caught.value.filename2) == (str(path), None)
    assert caught.value.errno == errno.EACCES
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("name", ["", ".", "folder", "folder/.."])
def test_a_folder_in_place_of_a_file_is_reported(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    os.mkdir("folder")
    with pytest.raises(UserError, match="a folder, expected a file name"):
        write_atomically(Path(name), b"new")
    assert [path.name for path in tmp_path.rglob("*")] == ["folder"]


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC])
def test_advice_is_given_if_a_file_cannot_be_written(command, trained, tmp_path, monkeypatch, code):
    def deny(*_):
        raise OSError(code, os.strerror(code))

    Image.new("RGB", (8, 8)).save("a.png")
    advice = "; choose another place, or make this one writable"
    if code == errno.ENOSPC:
        advice = "; free some space and run the same command again"
    monkeypatch.setattr(os, "replace", deny)
    for words in (["predict", trained, "a.png", "--csv"], ["attention", trained, "--html"]):
        target = tmp_path / ("a.csv" if words[0] == "predict" else "a.html")
        assert command(*words, target) == f"error: {target}: {os.strerror(code)}{advice}\n"


def test_no_advice_on_writing_is_given_for_a_read_error(capsys):
    def read():
        raise PermissionError(errno.EACCES, "Permission denied", "some\nfile")

    assert guarded(read) == 2
    assert capsys.readouterr().err == "error: some\\nfile: Permission denied\n"


def test_a_file_in_place_of_a_folder_is_reported(command, trained, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file: exists, but is not a folder"):
        make_folder(tmp_path / "file")
    printed = command("attention", trained, "--save-dir", tmp_path / "file")
    expected = "exists, but is not a folder; choose another name"
    assert printed == f"error: {tmp_path / 'file'}: {expected}\n"


# Reading


def absent(path):
    pass


def denied(path):
    path.write_bytes(b"{}")


def listening(path):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path.name)


KINDS = {
    "absent": (absent, "no such file"),
    "folder": (os.mkdir, "a folder, expected a regular file"),
    "broken link": (lambda path: path.symlink_to("gone"), "a link to a file that does not exist"),
    "link to itself": (lambda path: path.symlink_to(path), "cannot be read"),
    "pipe": (lambda path: os.mkfifo(path), "a named pipe, expected a regular file"),
    "socket": (listening, "a socket, expected a regular file"),
    "denied": (denied, "no permission to read it; expected a file or folder that you may read"),
}
POSIX = {"folder", "broken link", "link to itself", "pipe", "socket"}
"""Those that Windows lacks, or opens and refuses in other ways."""


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=needs_posix if kind in POSIX else ()) for kind in KINDS],
)
@pytest.mark.parametrize(
    "words",
    [
        "predict RUN FILE",
        "attention RUN FILE --html a.html",
        "trace RUN FILE",
        "train --dry-run --dataset shapes --config FILE",
        "predict FILE.safetensors a.png",
        "attention FILE.safetensors --html a.html a.png",
        "trace FILE.safetensors a.png",
        "finetune --dataset shapes --from FILE.safetensors",
        "train --resume LAST",
        "finetune --dataset shapes --from LAST",
    ],
)
def test_read_errors_are_reported_alike_everywhere(
    command, trained, tmp_path, monkeypatch, kind, words
):
    make, expected = KINDS[kind]
    Image.new("RGB", (8, 8)).save("a.png")
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.json").write_bytes((trained / "config.json").read_bytes())
    last = run / "checkpoints" / "last.safetensors"
    path = last if "LAST" in words else tmp_path / f"file{'.safetensors' * ('.saf' in words)}"
    if kind == "folder" and words.split()[0] in ("predict", "attention") and "RUN" in words:
        expected = "a folder without images"  # it would be a folder of images
    with monkeypatch.context() as patch:
        patch.chdir(path.parent)  # the path of a socket must be short
        make(path)
    opened = os.open
    if kind == "denied":  # even if root runs the tests
        monkeypatch.setattr(
            os,
            "open",
            lambda p, *args, **kwargs: deny(p) if p == path else opened(p, *args, **kwargs),
        )
    names = {"RUN": trained, "FILE": path, "FILE.safetensors": path, "LAST": run}
    printed = command(*(names.get(word, word) for word in words.split()))
    assert printed.startswith(f"error: {path}: {expected}")
    assert "writable" not in printed


def deny(path):
    raise PermissionError(errno.EACCES, "Permission denied", str(path))


@pytest.mark.parametrize("words", ["evaluate RUN", "predict RUN a.png", "train --resume RUN"])
def test_a_run_without_read_permission_is_reported(command, tmp_path, monkeypatch, words):
    monkeypatch.setattr(type(tmp_path), "is_file", deny)
    Image.new("RGB", (8, 8)).save("a.png")
    printed = command(*(tmp_path if word == "RUN" else word for word in words.split()))
    expected = "expected a file or folder that you may read"
    assert printed == f"error: {tmp_path}: no permission to read it; {expected}\n"


def test_settings_are_read_in_the_encodings_of_editors(tmp_path):
    path = tmp_path / "猫.json"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        path.write_text(json.dumps({"data_dir": "é"}, ensure_ascii=False), encoding=encoding)
        assert read_json(path) == {"data_dir": "é"}
    for damaged in (b"\xff{", b'{"data_dir": "half of a pair: \\ud800"}'):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"猫\.json: not JSON"):
            read_json(path)


def test_the_size_of_a_settings_file_is_limited(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_JSON", 10)
    (tmp_path / "a").write_bytes(b"{" + b" " * 9 + b"}")
    with pytest.raises(UserError, match="11 bytes, expected at most 10 for a file of settings"):
        read_json(tmp_path / "a")
    assert read_plain(tmp_path / "a", 11, "it")[:1] == b"{"


@needs_posix
def test_reading_a_device_does_not_block():
    with reading("/dev/zero"), pytest.raises(UserError, match="a device, expected a regular file"):
        read_plain("/dev/zero", 10, "it")
    assert stat.S_ISCHR(os.stat("/dev/zero").st_mode)
