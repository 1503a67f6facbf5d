"""A run directory: new for each run, refused if it is not one, and readable after a crash."""

import csv
import dataclasses
import json
from datetime import datetime

import pytest
import tiny

from minivit.engine import Run
from minivit.errors import UserError
from minivit.models import ViTConfig


class OneSecond(datetime):
    """A clock that stands still."""

    @classmethod
    def now(cls, tz=None):
        return cls(2024, 5, 6, 7, 8, 9)


def test_each_run_gets_a_new_directory_even_within_one_second(tmp_path, monkeypatch):
    monkeypatch.setattr("minivit.engine.run.datetime", OneSecond)
    names = [Run.create(tmp_path / "runs", tiny.CONFIG).path.name for _ in range(3)]
    stem = "20240506-070809-shapes"
    assert names == [stem, f"{stem}-2", f"{stem}-3"]


def test_a_new_run_contains_its_whole_config(tmp_path):
    run = Run.create(tmp_path, tiny.CONFIG)
    config = json.loads(run.config_file.read_text(encoding="utf-8"))
    assert config.keys() == {field.name for field in dataclasses.fields(tiny.CONFIG)}
    assert ViTConfig(**config["vit"]) == tiny.VIT
    assert config["lr"] == 3e-3
    assert (run.path / "checkpoints").is_dir()


def test_a_folder_that_is_not_a_run_cannot_be_opened(tmp_path):
    with pytest.raises(UserError, match="no such directory"):
        Run.open(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"not a run: it has no config\.json"):
        Run.open(tmp_path)
    run = Run.create(tmp_path, tiny.CONFIG)
    assert Run.open(run.path).config_file == run.config_file


def test_metrics_are_read_in_order_and_empty_at_first(tmp_path):
    run = Run(tmp_path)
    assert run.metrics() == []
    lines = [{"kind": "step", "step": n, "loss": 1 / n} for n in (1, 2, 3)]
    for line in lines:
        run.append(**line)
    assert run.metrics() == lines


@pytest.mark.parametrize("cut", [1, 2, 10, 18])
def test_metrics_survive_a_truncated_last_line(tmp_path, cut):
    run = Run(tmp_path)
    run.append(step=1, loss=0.5)
    run.append(step=2, loss=0.25)
    whole = run.metrics_file.read_bytes()
    run.metrics_file.write_bytes(whole[:-cut])
    assert run.metrics() == [{"step": 1, "loss": 0.5}]
    run.truncate_after(2)
    run.append(step=2, loss=0.125)
    assert run.metrics() == [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.125}]


def test_truncate_after_drops_later_steps_only(tmp_path):
    run = Run(tmp_path)
    for step in (3, 6, 9):
        run.append(kind="step", step=step)
    run.truncate_after(6)
    assert [line["step"] for line in run.metrics()] == [3, 6]
    assert set(tmp_path.iterdir()) == {run.metrics_file, run.table_file}


def rows(run):
    with open(run.table_file, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def epoch(number, **metrics):
    return {"kind": "epoch", "step": 4 * number, "seconds": number / 2, "epoch": number, **metrics}


def test_the_table_has_a_row_per_epoch_and_drops_rows_with_the_log(tmp_path):
    run = Run(tmp_path)
    trained = {"train_loss": 1.25, "train_accuracy": 0.5}
    run.append(kind="step", step=3, epoch=0.75, loss=2.0, accuracy=0.25, lr=0.1)
    run.append(**epoch(1, **trained))
    run.append(**epoch(2, **trained, val_loss=1.5, val_accuracy=0.75))
    run.append(kind="test", step=8, seconds=1.0, test_accuracy=0.5)
    assert run.table_file.read_text(encoding="utf-8") == (
        "epoch,step,seconds,train_loss,train_accuracy,val_loss,val_accuracy\n"
        "1,4,0.5,1.25,0.5,,\n"
        "2,8,1.0,1.25,0.5,1.5,0.75\n"
    )
    run.truncate_after(4)
    assert [row["epoch"] for row in rows(run)] == ["1"]
    run.append(**epoch(2, **trained))
    assert [row["step"] for row in rows(run)] == ["4", "8"]
    assert rows(run)[1]["val_loss"] == ""


def test_the_table_contains_only_numbers(tmp_path):
    run = Run(tmp_path)
    odd = {"seconds": "\ud800", "extra": 1, "step": True}
    run.metrics_file.write_text(json.dumps(epoch(1) | odd) + "\n", encoding="utf-8")
    run.append(**epoch(2))
    assert [(row["step"], row["seconds"]) for row in rows(run)] == [("", ""), ("8", "1.0")]


@pytest.mark.parametrize(
    "damage", [b"\0" * 512, b"\0" * 512 + b"\n", b"[1]\n", b"{}\n", b"\xff\n", b"[" * 9999 + b"\n"]
)
def test_a_damaged_line_of_the_log_is_skipped(tmp_path, damage):
    run = Run(tmp_path)
    run.append(kind="step", step=1, loss=0.5)
    with open(run.metrics_file, "ab") as file:
        file.write(damage)
    run.append(kind="step", step=2, loss=0.25)
    assert [line["step"] for line in run.metrics()] == [1, 2]
    run.truncate_after(1)
    assert run.metrics() == [{"kind": "step", "step": 1, "loss": 0.5}]
