"""Stopping training gracefully."""

import contextlib
import signal
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def stop_request() -> Iterator[list]:
    """Ctrl-C, SIGTERM or a closed terminal appends to the list, once; a second signal ends the
    program at once. A signal that was ignored when the program started stays ignored.
    """
    requests: list = []
    previous: dict[signal.Signals, Any] = {}

    def request(number: int, frame: object) -> None:
        requests.append(number)
        for signum, handler in previous.items():
            signal.signal(signum, handler)

    with contextlib.suppress(ValueError):  # not in the main thread, where signals arrive
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)  # Windows has no SIGHUP
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                previous[number] = signal.signal(number, request)
    try:
        yield requests
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
