"""Metrics for TensorBoard, written by tensorboardX, which needs no TensorFlow or PyTorch."""

import time
from pathlib import Path
from typing import Any

from minivit.engine.metrics import is_number
from minivit.errors import UserError
from minivit.files import make_folder, writing

POSITION_KEYS = ("epoch", "step", "seconds")
"""Keys of a metrics.jsonl line that say where it belongs, not what was measured."""


class TensorBoard:
    """Writes an event file: `Trainer(..., on_metrics=TensorBoard(run.path / "tensorboard"))`.

    Each number is plotted against the step, under its line's kind and its own name, such as
    "epoch/val_loss". Each line is on disk before training continues.

    Args:
        folder: of the event file, created with the first line. What an interrupted run wrote there
        for that step and later ones is marked as invalid.

    Raises:
        UserError: tensorboardX is not installed.
    """

    def __init__(self, folder: Path):
        try:
            # not its SummaryWriter, whose thread hides the error of a full disk
            from tensorboardX.event_file_writer import EventsWriter
            from tensorboardX.proto.event_pb2 import Event, SessionLog
        except ImportError:
            raise UserError(
                'tensorboardX is not installed; pip install "minivit[tensorboard]"'
            ) from None
        self.folder = folder
        self.file: Any = None
        self.writer, self.event, self.session = EventsWriter, Event, SessionLog

    def __call__(self, line: dict[str, Any]) -> None:
        """Write a line of metrics.jsonl."""
        event = self.event(step=line["step"], wall_time=time.time())
        for name, number in line.items():
            if name not in POSITION_KEYS and is_number(number):
                event.summary.value.add(tag=f"{line['kind']}/{name}", simple_value=number)
        if self.file is None:
            self.file = self._begin(line["step"])
        with writing(self.folder):
            self.file.write_event(event)
            self.file.flush()

    def _begin(self, step: int) -> Any:
        make_folder(self.folder)
        with writing(self.folder):
            file = self.writer(str(self.folder / "events"), f".{step}")
            start = self.session(status=self.session.START)
            file.write_event(self.event(step=step, wall_time=time.time(), session_log=start))
        return file
