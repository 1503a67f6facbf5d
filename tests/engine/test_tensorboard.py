"""Event files: TensorBoard reads the same values as the log contains."""

import re
import struct
import sys
from pathlib import Path

import pytest
import tiny

from minivit.commands.cli import guarded
from minivit.commands.finetune import run as finetune
from minivit.commands.train import run as train
from minivit.engine import Run, TensorBoard, Trainer
from minivit.files import WriteError


@pytest.fixture(autouse=True)
def _tiny_shapes_in_an_empty_directory(tmp_path, monkeypatch):
    monkeypatch.setattr("minivit.data.shapes.load", tiny.dataset)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def events():
    """The event format; the test is skipped if tensorboardX is missing."""
    return pytest.importorskip("tensorboardX.proto.event_pb2")


def records(events, file):
    """The events of a file. Each has its length, a checksum of the length, the data, and a checksum
    of the data."""
    raw, offset = file.read_bytes(), 0
    while offset < len(raw):
        (length,) = struct.unpack_from("<Q", raw, offset)
        yield events.Event.FromString(raw[offset + 12 : offset + 12 + length])
        offset += 16 + length


def scalars(events, file):
    """{(tag, step): number}."""
    return {
        (value.tag, event.step): value.simple_value
        for event in records(events, file)
        for value in event.summary.value
    }


def trained(*flags, root="runs", command=train):
    """Run a training command; returns its run."""
    assert command([*flags, "--runs", root]) == 0
    (path,) = Path(root).iterdir()
    return Run(path)


def files(run):
    return sorted((run.path / "tensorboard").iterdir())


def test_event_files_contain_every_number_of_the_log(events):
    run = trained(*tiny.FLAGS, "--log", "tensorboard")
    (file,) = files(run)
    assert "tfevents" in file.name
    found = scalars(events, file)
    assert {tag for tag, _ in found} == {
        *("step/loss", "step/accuracy", "step/lr", "step/rate"),
        *("epoch/train_loss", "epoch/train_accuracy", "epoch/val_loss", "epoch/val_accuracy"),
        *("test/test_loss", "test/test_accuracy"),
    }
    expected = {
        (f"{line['kind']}/{name}", line["step"]): pytest.approx(number)
        for line in run.metrics()
        for name, number in line.items()
        if name not in ("kind", "step", "seconds", "epoch", "data", "confusion")
    }
    assert found == expected


def test_fine_tuning_writes_event_files_too(events):
    source = trained(*tiny.FLAGS, root="source")
    flags = ["--from", str(source.path), "--dataset", "shapes", "--batch-size", "16"]
    flags += ["--epochs", "1", "--threads", "1", "--crop", "0", "--log", "tensorboard"]
    (file,) = files(trained(*flags, command=finetune))
    assert ("epoch/val_loss", 4) in scalars(events, file)


def test_a_resumed_run_discards_events_written_after_its_checkpoint(events, monkeypatch):
    end_epoch = Trainer._end_epoch

    def killed(trainer, *args):
        if trainer.step == 8:
            raise RuntimeError
        end_epoch(trainer, *args)

    monkeypatch.setattr(Trainer, "_end_epoch", killed)
    with pytest.raises(RuntimeError):
        train([*tiny.FLAGS, "--log", "tensorboard"])
    monkeypatch.setattr(Trainer, "_end_epoch", end_epoch)
    (path,) = Path("runs").iterdir()
    assert train(["--resume", str(path), "--log", "tensorboard"]) == 0
    first, second = sorted(files(Run(path)), key=lambda file: int(file.suffix[1:]))
    assert ("step/loss", 6) in scalars(events, first)
    assert ("step/loss", 6) in scalars(events, second)
    start = next(event for event in records(events, second) if event.HasField("session_log"))
    assert (start.session_log.status, start.step) == (events.SessionLog.START, 6)


def test_a_missing_package_is_reported_in_one_line(monkeypatch, capsys):
    for name in [name for name in sys.modules if name.startswith("tensorboardX")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    assert guarded(lambda: train([*tiny.FLAGS, "--log", "tensorboard"])) == 2
    expected = 'error: tensorboardX is not installed; pip install "minivit[tensorboard]"\n'
    assert capsys.readouterr().err == expected
    assert not Path("runs").exists()


def test_only_numbers_are_written(events, tmp_path):
    TensorBoard(tmp_path / "board")({"kind": "step", "step": 3, "loss": float("nan"), "lr": 0.5})
    (file,) = (tmp_path / "board").iterdir()
    assert scalars(events, file) == {("step/lr", 3): 0.5}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_reported_with_the_name_of_the_folder(events, tmp_path):
    board = TensorBoard(tmp_path / "board")
    board({"kind": "step", "step": 1, "loss": 1.0})
    board.file._py_recordio_writer._writer = open("/dev/full", "wb")  # noqa: SIM115
    with pytest.raises(WriteError, match=re.escape("No space left")) as error:
        board({"kind": "step", "step": 2, "loss": 1.0})
    assert error.value.filename == str(tmp_path / "board")
