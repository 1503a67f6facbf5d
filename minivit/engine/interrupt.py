"""Stopping a training politely."""

import contextlib
import signal
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def stop_request() -> Iterator[list]:
    """Ctrl-C or a polite kill fills the list, once; a second one ends the program at once."""
    requests: list = []
    before: dict[signal.Signals, Any] = {}

    def request(number: int, frame: object) -> None:
        requests.append(number)
        for each, handler in before.items():
            signal.signal(each, handler)

    with contextlib.suppress(ValueError):  # not in the main thread: nobody to listen to
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, request)
    try:
        yield requests
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
