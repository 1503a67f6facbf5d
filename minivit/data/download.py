"""Downloads one known file: resumed after an interruption, verified, then moved into place.

The file grows as NAME.part next to its destination and is renamed only once its SHA-256 is right,
so a file under its final name is always complete. The part only ever grows: a server that cannot
resume sends everything again, and what is already here is skipped. A lock file lets only one
process download at a time.
"""

import hashlib
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from filelock import FileLock, Timeout
from tqdm import tqdm

from minivit.data.responses import (
    BrokenError,
    NoRangeError,
    TooSlowError,
    check_url,
    open_url,
)
from minivit.errors import UserError, shown, shown_path
from minivit.files import check_regular, open_plain

TRIES = 4  # consecutive attempts without new data; an attempt that brings some resets the count
MAX_TRIES = 500  # in all
PAUSE = 1.0  # seconds after the first such attempt, doubled after each
TIMEOUT = 60.0  # seconds of silence after which a connection counts as broken
PATIENCE = 300.0  # seconds in which MIN_BYTES bytes have to arrive, over all attempts: 1 kB/s
MIN_BYTES = 300_000
CHUNK = 1 << 18
LOG_INTERVAL = 30.0  # seconds between two lines of progress without a terminal


class Expected(NamedTuple):
    """The properties of the complete file."""

    size: int
    sha256: str


def fetch(url: str, target: Path, expected: Expected, *, otherwise: str = "") -> None:
    """Downloads the file at `url` (http, https or file) to `target`; does nothing if it is already
    there.

    If another process is downloading it, waits and then uses the finished file. Every failure
    raises a UserError that ends with how to proceed; `otherwise` adds an alternative.
    """
    check_url(url)
    part = target.with_name(target.name + ".part")
    by_hand = f"or put the file at {shown_path(target)} by hand{otherwise}"
    go_on = f"run again to resume, {by_hand}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _lock(target):
            if target.exists():
                return
            _check_part(part, target)
            _complete(url, part, expected, go_on)
            _check(url, part, expected, by_hand)
            os.replace(part, target)
    except OSError as error:
        raise UserError(f"cannot write {shown_path(target)}: {shown(error)}; {go_on}") from None


def sha256_of(path: Path) -> str:
    """The SHA-256 of a regular file, in hexadecimal. Raises OSError if it cannot be read."""
    with open_plain(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


@contextmanager
def _lock(target: Path) -> Iterator[None]:
    """Holds `target`'s lock; the operating system releases it even if the process dies."""
    path = target.with_name(target.name + ".lock")
    _check_part(path, target)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _log(f"another run is downloading {shown_path(target)}; waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _check_part(path: Path, target: Path) -> None:
    """Raises UserError if something other than a regular file of this folder is there, such as a
    link.
    """
    if not os.path.lexists(path):
        return
    try:
        check_regular(path, follow=False)
    except UserError as error:
        raise UserError(
            f"cannot write {shown_path(target)}: {error}; remove it and run again"
        ) from None


def _complete(url: str, part: Path, expected: Expected, go_on: str) -> None:
    """Retries until `part` has the expected size, or TRIES consecutive attempts brought nothing
    new.
    """
    tries = 1 if url.lower().startswith("file:") else TRIES
    failed, have, ranges, pace = 0, _size(part), True, _Pace()
    if have > expected.size:  # whatever it was; the hash shows whether its beginning is right
        os.truncate(part, expected.size)
    with _Progress(url, have, expected.size) as progress:
        for _ in range(MAX_TRIES):
            if have >= expected.size:
                return
            try:
                _pull(url, part, expected, progress, pace, ranges)
                broken, ranges = None, True
            except BrokenError as error:
                broken, ranges = error, not isinstance(error, NoRangeError)
            except TooSlowError:
                raise UserError(
                    f"cannot download {url}: only {pace.got:,} bytes arrived in {PATIENCE:g} s, "
                    f"expected at least {MIN_BYTES:,}; {go_on}"
                ) from None
            failed = failed + 1 if _size(part) == have else 1
            have = _size(part)
            if broken and failed >= tries:
                raise UserError(f"cannot download {url}: {broken}; {go_on}")
            if broken:
                time.sleep(PAUSE * 2 ** (failed - 1))
    raise UserError(f"cannot download {url}: {MAX_TRIES} attempts did not complete it; {go_on}")


def _pull(
    url: str, part: Path, expected: Expected, progress: "_Progress", pace: "_Pace", ranges: bool
) -> None:
    """One request for what is missing, or for everything; new data is appended as it arrives.

    Raises BrokenError if it ends early, UserError if the server refuses or has another file, and
    OSError only for disk errors: network errors are converted to the others.
    """
    size, have = expected.size, _size(part)
    with open_url(url, have if ranges else 0, size, TIMEOUT, pace.check) as response:
        if response.size not in (None, size):
            raise UserError(
                f"{url} is not the file that was expected: found {response.size:,} bytes, "
                f"expected {size:,} with SHA-256 {expected.sha256}; check the address"
            )
        at = response.start
        if at < have:
            progress.log(f"sends everything again; {have / 1e6:,.1f} MB are already here")
        # Unbuffered: received data is on disk when the connection breaks.
        with open(part, "ab", buffering=0) as file:
            while at < size and (chunk := response.read1(min(CHUNK, size - at))):
                new = chunk[max(have - at, 0) :]
                _write(file, new)
                at += len(chunk)
                pace.got += len(chunk)
                progress.update(len(new))
            os.fsync(file.fileno())
    if at < size:
        raise BrokenError(f"the connection broke off after {at:,} of {size:,} bytes")


class _Pace:
    """Gives up if data arrives too slowly: at a byte per second it would take five years."""

    def __init__(self) -> None:
        self.since, self.got = time.monotonic(), 0

    def check(self) -> None:
        now = time.monotonic()
        if now - self.since > PATIENCE:
            if self.got < MIN_BYTES:
                raise TooSlowError
            self.since, self.got = now, 0


def _write(file: IO[bytes], chunk: bytes) -> None:
    """Write all of `chunk`: an unbuffered write may write less, on a nearly full disk."""
    view = memoryview(chunk)
    while view:
        view = view[file.write(view) :]


def _check(url: str, part: Path, expected: Expected, by_hand: str) -> None:
    found = sha256_of(part)
    if found != expected.sha256:
        part.unlink()  # it would be in the way of the next attempt
        raise UserError(
            f"{url} is not the file that was expected, and was removed: found SHA-256 {found}, "
            f"expected {expected.sha256}; check the address and run again, {by_hand}"
        )


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class _Progress:
    """A progress bar in a terminal; in a log file, a plain line at the start and from time to
    time.
    """

    def __init__(self, url: str, have: int, size: int):
        self.have, self.size, self.last_logged = have, size, time.monotonic()
        terminal = sys.stderr.isatty()
        self.lines = not terminal
        self.name = url.rsplit("/", 1)[-1]
        self.bar = tqdm(
            desc=self.name, total=size, initial=have, unit="B", unit_scale=True, disable=self.lines
        )
        if self.lines and have < size:
            _log(f"downloading {url}: {have / 1e6:,.1f} of {size / 1e6:,.1f} MB so far")

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def log(self, what: str) -> None:
        """Print a line about the server."""
        self.bar.clear()
        _log(f"{self.name}: the server {what}")

    def update(self, count: int) -> None:
        """Count `count` more bytes."""
        self.have += count
        self.bar.update(count)
        if self.lines and time.monotonic() - self.last_logged > LOG_INTERVAL:
            self.last_logged = time.monotonic()
            _log(f"{self.name}: {self.have / 1e6:,.1f} of {self.size / 1e6:,.1f} MB")
