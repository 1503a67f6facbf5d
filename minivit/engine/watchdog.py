"""A limit on how long a process waits for others."""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator


class Watchdog:
    """Watches, in its own thread, how long this process has been waiting, and ends it after the
    limit.

    name: of this rank. report_delay: extra seconds before it reports what others may report, too.
    heartbeat: whether a process that is waited for has sent a sign of life since the last call; the
    time restarts at each one. end: ends the process, and the others with it.

    Attributes:
        limit: seconds, and the advice to print after a longer wait.
    """

    def __init__(
        self,
        name: str,
        report_delay: float,
        heartbeat: Callable[[], bool],
        end: Callable[[], object],
    ):
        self.name, self.report_delay, self.limit = name, report_delay, (float("inf"), "")
        self._heartbeat, self._end, self._since = heartbeat, end, 0.0
        threading.Thread(target=self._run, name="minivit-watch", daemon=True).start()

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Wraps code that needs the others."""
        self._since = time.monotonic()
        try:
            yield
        finally:
            self._since = 0.0

    def _run(self) -> None:
        last_heartbeat = 0.0
        while True:
            time.sleep(0.1)
            since, (seconds, advice) = self._since, self.limit
            if since and self._heartbeat():
                last_heartbeat = time.monotonic()
            waited = time.monotonic() - max(since, last_heartbeat)
            if since and waited > seconds + self.report_delay:
                print(
                    f"error: {self.name} has waited {seconds:g} s for another rank; {advice}",
                    file=sys.stderr,
                    flush=True,
                )
                self._end()
                return
