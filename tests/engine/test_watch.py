"""A time limit on how long a process waits for others."""

import threading
import time

from minivit.engine.watch import Watch


def watch(heard):
    """A watch with a limit of 1/20 second, and whether it has ended the process."""
    ended = threading.Event()
    one = Watch("rank 0", 0.0, heard, ended.set)
    one.limit = 0.05, "see what hangs"
    return one, ended


def test_a_process_that_waits_too_long_is_ended(capsys):
    one, ended = watch(lambda: False)
    with one.waiting():
        assert ended.wait(5)
    assert "rank 0 has waited 0.05 s for another rank; see what hangs" in capsys.readouterr().err


def test_a_heartbeat_at_the_end_of_a_wait_starts_no_new_wait():
    polled, over, signs = threading.Event(), threading.Event(), [True]

    def heard():
        polled.set()
        over.wait(5)
        return bool(signs and signs.pop())

    one, ended = watch(heard)
    with one.waiting():
        assert polled.wait(5)
    over.set()
    time.sleep(0.4)
    assert not ended.is_set()
