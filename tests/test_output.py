"""Output in an encoding without × or 猫: no command fails because of it, and each prints what it
can."""

import ast
import dataclasses
import errno
import io
import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
from PIL import Image

from minivit.commands import COMMANDS, cli, doctor, main
from minivit.commands.output import plain
from minivit.data import Dataset
from minivit.engine.study import STUDIES, Member, Plan

ROOT = Path(__file__).parents[1]
NAMES = ("red", "зелёный", "猫", "plain ×")


def data() -> Dataset:
    return dataclasses.replace(tiny.dataset(), class_names=NAMES)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The directory of a finished run."""
    trainer = tiny.trainer(tmp_path_factory.mktemp("trained"), data())
    assert trainer.fit()
    return trainer.run.path


@pytest.fixture(params=["cp1252", "ascii"])
def run_encoded(request, monkeypatch):
    """Run `minivit` with output in that encoding; returns its exit status, output and errors."""

    def run(*words):
        streams = {}
        for name in ("stdout", "stderr"):
            streams[name] = io.TextIOWrapper(io.BytesIO(), request.param, errors="strict")
            monkeypatch.setattr(sys, name, streams[name])
        status = main([str(word) for word in words])
        texts = []
        for stream in streams.values():
            stream.flush()
            texts.append(stream.buffer.getvalue().decode(request.param))
        return status, *texts

    return run


def smallest(name: str, run: Path) -> list:
    """The flags for the smallest run of a command."""
    training = [*tiny.as_flags({"epochs": 1, "threads": 1}), "--dataset", "shapes"]
    return {
        "train": [*tiny.FLAGS, *training],
        "pretrain": [*tiny.FLAGS, *training, "--pretext", "colour"],
        "finetune": ["--from", run, *training, "--crop", "0", "--flip", "0", "--batch-size", "16"],
        "study": ["position", "--dataset", "shapes", "--images", "64", "--seeds", "0"],
        "evaluate": [run, "--threads", "1"],
        "predict": [run, "images"],
        "attention": [run, "--score", "--count", "4", "--threads", "1"],
        "live": [run, "--image", "images/猫.png", "--html", "猫.html"],
        "trace": [run, "images/猫.png"],
        "models": [],
        "export": [run, "猫.safetensors", "--to", "timm"],
        "gradcheck": ["--only", "softmax", "--elements", "1"],
        "doctor": [],
    }[name]


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_fails_because_of_the_output_encoding(
    name, run_encoded, trained, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("minivit.data.shapes.load", data)
    monkeypatch.setattr(Plan, "available", lambda self: 64)
    small = {"image_size": 8, "num_classes": 4, "dim": 16, "depth": 1, "num_heads": 2}
    small |= {"batch_size": 16, "threads": 1}
    monkeypatch.setitem(STUDIES, "position", lambda: [Member("猫", "none", small)])
    monkeypatch.setattr(doctor, "gemm_rate", lambda cores: 1.0)
    monkeypatch.setattr(doctor, "memory_bandwidth", lambda cores: 1.0)
    monkeypatch.setattr(doctor, "cpu_name", lambda: "猫")
    os.mkdir("images")
    Image.new("RGB", (8, 8)).save("images/猫.png")
    status, out, err = run_encoded(name, *smallest(name, trained))
    assert status == 0, err
    expected = {
        **{"doctor": "\\u732b, ", "study": "\\u732b ", "trace": "gamma", "attention": "(down)"},
        **{"predict": "\\u732b.png", "evaluate": "%  #", "live": "\\u732b.html"},
    }
    assert expected.get(name, "") in out
    with pytest.raises(SystemExit):
        run_encoded(name, "--help")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_help_text_breaks_its_lines_only_where_they_are_full(name, monkeypatch, capsys):
    """By itself, tyro keeps the line breaks of a field's docstring."""
    monkeypatch.setenv("COLUMNS", "120")
    with pytest.raises(SystemExit):
        main([name, "--help"])
    described = re.compile(r"[│ ] (?:-.*?  +| {10,})(?=\S).*")
    lines = capsys.readouterr().out.splitlines()
    for line, following in itertools.pairwise(lines):
        continued = re.match(r"[│ ] {10,}(\S+)", following)
        if continued and described.fullmatch(line):
            assert len(line.rstrip("│ ")) + 1 + len(continued[1]) >= 116, line


def test_each_command_describes_itself(capsys):
    described = []
    for name in COMMANDS:
        with pytest.raises(SystemExit):
            main([name, "--help"])
        described.append(capsys.readouterr().out.splitlines()[2])
    assert len(set(described)) == len(COMMANDS), described


@pytest.mark.parametrize("columns", [60, 100])
def test_help_is_wrapped_to_the_terminal(monkeypatch, capsys, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    for name in COMMANDS:
        with pytest.raises(SystemExit):
            main([name, "--help"])
        text = capsys.readouterr().out
        _, description = text.split("\n\n", 1)
        longest = max(map(len, description.splitlines()))
        assert longest <= columns, (name, longest)


def test_a_user_error_is_reported_in_any_encoding(run_encoded, trained):
    status, out, err = run_encoded("predict", trained, "猫 ×.png")
    assert (status, out) == (2, "")
    assert err.startswith("error: \\u732b ")
    assert err.endswith(": no such file\n")


def test_a_file_name_that_is_not_valid_text_is_printed(run_encoded, trained, tmp_path):
    path = os.fsencode(tmp_path) + b"/\xff.png"
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    os.rename(tmp_path / "a.png", path)
    status, out, _ = run_encoded("predict", trained, os.fsdecode(path))
    assert (status, out.splitlines()[0]) == (0, f"{tmp_path}/\\udcff.png")


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_the_environment_sets_the_encoding(encoding):
    done = subprocess.run(
        [sys.executable, "-m", "minivit", "train", "--dry-run", "--dataset", "shapes"],
        env=os.environ | {"PYTHONIOENCODING": encoding},
        capture_output=True,
        encoding=encoding,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert ("───" if encoding == "utf-8" else "---") in done.stdout


def test_every_symbol_that_minivit_prints_has_an_ascii_replacement():
    symbols: set[str] = set()
    for path in (ROOT / "minivit").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                symbols |= {c for c in node.value if not c.isascii()}
    assert len(symbols) > 30
    for symbol in symbols - set("猫"):
        assert plain(symbol).isascii()
        assert "\\" not in plain(symbol), symbol
    assert [plain(c) for c in "γΛ²₁╔═║╭猫"] == [
        *("gamma", "Lambda", "^2", "_1", "+", "-", "|", "+", "\\u732b")
    ]


class Unread:
    """A stream whose reader is gone, with the error that Windows raises."""

    def write(self, text):
        raise OSError(errno.EINVAL, "Invalid argument")

    flush = fileno = lambda self: self.write("")


def test_a_closed_pipe_on_windows_is_recognized(monkeypatch, capsys):
    discarded = []
    monkeypatch.setattr(cli, "CLOSED_PIPE", {errno.EPIPE, errno.EINVAL})
    monkeypatch.setattr(cli, "_discard_output", lambda: discarded.append(True))
    assert cli.guarded(lambda: Unread().write("words")) == 0
    monkeypatch.setattr("sys.stdout", Unread())
    with cli.tolerate_closed_output():
        print("words", flush=True)
    assert len(discarded) == 4  # the command, print's text, the newline, the flush
    monkeypatch.undo()
    assert cli.guarded(lambda: Unread().write("words")) == 2
    assert "Invalid argument" in capsys.readouterr().err


def test_an_invalid_argument_error_is_not_mistaken_for_a_closed_pipe(monkeypatch, capsys):
    def name():
        raise OSError(errno.EINVAL, "Invalid argument", "a?.csv")

    monkeypatch.setattr(cli, "CLOSED_PIPE", {errno.EPIPE, errno.EINVAL})
    assert cli.guarded(name) == 2
    assert "a?.csv: Invalid argument" in capsys.readouterr().err
