"""A run's directory: config.json, metrics.jsonl, metrics.csv, figures, checkpoints."""

import contextlib
import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from minivit.engine.config import TrainConfig
from minivit.engine.metrics import epoch_table, of_kind
from minivit.errors import UserError
from minivit.files import (
    make_folder,
    read_json,
    read_plain,
    reading,
    remove_parts,
    write_atomically,
    writing,
)

MAX_METRICS = 1_000_000_000


class Run:
    """The files of one training run.

    config.json: every field of its `TrainConfig`. metrics.jsonl: one line per log step and per
    epoch. metrics.csv: the epochs as a table. checkpoints/last.safetensors: where to resume.
    checkpoints/best.safetensors: the weights with the best validation accuracy.
    """

    def __init__(self, path: Path):
        self.path = path
        self.config_file = path / "config.json"
        self.metrics_file = path / "metrics.jsonl"
        self.table_file = path / "metrics.csv"
        self.last = path / "checkpoints" / "last.safetensors"
        self.best = path / "checkpoints" / "best.safetensors"

    @classmethod
    def fresh(cls, root: Path, config: TrainConfig) -> "Run":
        """A run whose directory `root/DATE-TIME-DATASET` is created when it begins; numbered if
        that already exists.
        """
        stem = f"{datetime.now():%Y%m%d-%H%M%S}-{config.data_name}"
        for number in range(1, 1000):
            path = root / (stem if number == 1 else f"{stem}-{number}")
            if not path.exists():
                return cls(path)
        raise UserError(f"{root}: a thousand runs began in this second; wait a second")

    @classmethod
    def create(cls, root: Path, config: TrainConfig) -> "Run":
        """A new run that has begun."""
        run = cls.fresh(root, config)
        run.begin(config)
        return run

    def begin(self, config: TrainConfig) -> None:
        """Create the directory and write the config to it; does nothing if it exists."""
        if not self.config_file.exists():
            make_folder(self.last.parent)
            self.write_config(config)

    def write_config(self, config: TrainConfig) -> None:
        """config.json."""
        write_atomically(self.config_file, to_json(config).encode())

    def silent(self) -> "Run":
        """The same run for a rank that must not write anything."""
        return _SilentRun(self.path)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Exclusive use of the directory, which is created if needed: two runs in it would
        overwrite each other's files. The operating system releases the lock of a process that dies.

        Raises:
            UserError: another process trains there.
        """
        make_folder(self.last.parent)
        lock = FileLock(self.path / ".lock")
        with writing(self.path):
            try:
                lock.acquire(timeout=0)
            except Timeout:
                raise UserError(
                    f"{self.path}: another process is training there; wait until it ends, or stop "
                    "it"
                ) from None
        try:
            for folder in (self.path, self.last.parent):
                remove_parts(folder)
            yield
        finally:
            lock.release()

    @classmethod
    def open(cls, path: Path) -> "Run":
        """An existing run. Raises UserError if `path` is not one."""
        run = cls(path)
        with reading(path):
            is_run, exists = run.config_file.is_file(), path.exists()
        if not is_run:
            what = "not a run: it has no config.json" if exists else "no such directory"
            raise UserError(f"{path}: {what}; expected a directory that minivit train made")
        return run

    def read_config(self) -> TrainConfig:
        """The config in config.json. Raises UserError if it is not a training config."""
        return TrainConfig.from_dict(read_json(self.config_file), str(self.config_file))

    def append(self, **metrics: Any) -> None:
        """Append one line to metrics.jsonl; metrics.csv is rewritten when an epoch is complete."""
        with (
            writing(self.metrics_file),
            open(self.metrics_file, "a", encoding="utf-8") as file,
        ):
            file.write(json.dumps(metrics) + "\n")
        if metrics.get("kind") == "epoch":
            self._write_table()

    def _write_table(self) -> None:
        """Write metrics.csv from metrics.jsonl."""
        write_atomically(self.table_file, epoch_table(self.metrics()).encode())

    def metrics(self) -> list[dict[str, Any]]:
        """All complete lines of metrics.jsonl; a power cut may have truncated the last one or
        filled a block with zeros, and a damaged log is no reason to stop.
        """
        if not self.metrics_file.exists():
            return []
        with reading(self.metrics_file):
            raw = read_plain(self.metrics_file, MAX_METRICS, "a log")
        text = raw.decode("utf-8", errors="replace")
        lines = (_parsed(line) for line in text.split("\n")[:-1])
        return [line for line in lines if line is not None]

    def test_results(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl with results on the test set; a finished run has one."""
        return of_kind(self.metrics(), "test")

    def truncate_after(self, step: int) -> None:
        """Drop the metrics of steps that a resumed run will repeat."""
        lines = [line for line in self.metrics() if line["step"] <= step]
        write_atomically(
            self.metrics_file, "".join(json.dumps(line) + "\n" for line in lines).encode()
        )
        self._write_table()


class _SilentRun(Run):
    def begin(self, config: TrainConfig) -> None:
        pass

    def write_config(self, config: TrainConfig) -> None:
        pass

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        yield

    def append(self, **metrics: Any) -> None:
        pass

    def truncate_after(self, step: int) -> None:
        pass


def to_json(config: TrainConfig) -> str:
    """The contents of config.json."""
    return json.dumps(config.to_dict(), indent=2) + "\n"


def _parsed(line: str) -> dict[str, Any] | None:
    """A line of metrics.jsonl, or None if it is invalid."""
    try:
        found = json.loads(line.strip("\0"))
    except (ValueError, RecursionError):
        return None
    valid = isinstance(found, dict) and isinstance(found.get("step"), int)
    return found if valid else None
