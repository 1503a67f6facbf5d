"""A time limit on how long a process waits for others."""

import threading
import time

from minivit.engine.watchdog import Watchdog


def make_watchdog(heartbeat):
    """A watchdog with a limit of 1/20 second, and whether it has ended the process."""
    ended = threading.Event()
    watchdog = Watchdog("rank 0", 0.0, heartbeat, ended.set)
    watchdog.limit = 0.05, "see what hangs"
    return watchdog, ended


def test_a_process_that_waits_too_long_is_ended(capsys):
    watchdog, ended = make_watchdog(lambda: False)
    with watchdog.waiting():
        assert ended.wait(5)
    assert "rank 0 has waited 0.05 s for another rank; see what hangs" in capsys.readouterr().err


def test_a_heartbeat_at_the_end_of_a_wait_starts_no_new_wait():
    polled, over, heartbeats = threading.Event(), threading.Event(), [True]

    def heartbeat():
        polled.set()
        over.wait(5)
        return bool(heartbeats and heartbeats.pop())

    watchdog, ended = make_watchdog(heartbeat)
    with watchdog.waiting():
        assert polled.wait(5)
    over.set()
    time.sleep(0.4)
    assert not ended.is_set()
