"""Brings one known file from the network: resumed where it broke off, checked, then put in place.

The file grows as NAME.part beside its place and is renamed only once its SHA-256 is right, so a
file under its own name is always whole. A lock beside it lets one run at a time download.
"""

import hashlib
import http.client
import io
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout
from tqdm import tqdm

from minivit.errors import UserError

TRIES = 4  # in a row that bring nothing new; a try that brings something starts the count again
PAUSE = 1.0  # seconds after the first such try, doubled after each
TIMEOUT = 60.0  # seconds of silence after which a connection counts as broken
CHUNK = 1 << 18
SAY_EVERY = 30.0  # seconds between two lines of progress where there is no terminal


class Expected(NamedTuple):
    """What the complete file must be."""

    size: int
    sha256: str


class _BrokenError(Exception):
    """The connection failed in a way that another try may mend."""


def fetch(url: str, target: Path, expected: Expected, *, otherwise: str = "") -> None:
    """Makes `target` the file at `url` (http, https or file); does nothing if it is there already.

    A run that finds another one at work waits for it, then finds the finished file. Everything that
    can go wrong raises UserError, whose end says how to go on; `otherwise` adds a way.
    """
    if url.split(":", 1)[0].lower() not in ("http", "https", "file"):
        raise UserError(f"cannot download from {url!r}: expected an http, https or file address")
    part = target.with_name(target.name + ".part")
    by_hand = f"or put the file at {target} by hand{otherwise}"
    go_on = f"run again to resume, {by_hand}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _lock(target):
            if target.exists():
                return
            _complete(url, part, expected, go_on)
            _check(url, part, expected, by_hand)
            os.replace(part, target)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"cannot write {error.filename or part}: {reason}; {go_on}") from None


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal. Raises OSError if it cannot be read."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _lock(target: Path) -> Iterator[None]:
    """Holds `target`'s lock; the operating system frees it even if the run that holds it dies."""
    lock = FileLock(target.with_name(target.name + ".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _say(f"another run is downloading {target}; waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _complete(url: str, part: Path, expected: Expected, go_on: str) -> None:
    """Tries until `part` has the expected size, or TRIES tries in a row brought nothing."""
    tries = 1 if url.lower().startswith("file:") else TRIES
    failed, have = 0, _size(part)
    with _Progress(url, have, expected.size) as progress:
        while have < expected.size:
            try:
                _pull(url, part, have, expected, progress)
            except _BrokenError as error:
                failed = 1 if _size(part) > have else failed + 1
                if failed >= tries:
                    raise UserError(f"cannot download {url}: {error}; {go_on}") from None
                time.sleep(PAUSE * 2 ** (failed - 1))
            have = _size(part)


def _pull(url: str, part: Path, have: int, expected: Expected, progress: "_Progress") -> None:
    """One request for what is missing, written as it comes.

    Raises _BrokenError if it ends early, UserError if the server will not or has another file, and
    OSError only for what goes wrong on the disk: the network's own are turned into the others.
    """
    size = expected.size
    with _open(url, part, have) as response:
        start = have if _continues(response, have) else 0  # a server may ignore Range
        length = response.headers.get("Content-Length", "")
        if length.isdecimal() and start + int(length) != size:
            raise UserError(
                f"{url} is not the file that was expected: found {start + int(length):,} bytes, "
                f"expected {size:,} with SHA-256 {expected.sha256}; check the address"
            )
        progress.update(start - progress.have)
        # Unbuffered: what was received is on disk when the connection breaks.
        with open(part, "r+b" if start else "wb", buffering=0) as file:
            file.seek(start)
            file.truncate()
            while start < size and (chunk := _read(response, min(CHUNK, size - start))):
                _write(file, chunk)
                start += len(chunk)
                progress.update(len(chunk))
            os.fsync(file.fileno())
    if start < size:
        raise _BrokenError(f"the connection broke off after {start:,} of {size:,} bytes")


def _open(url: str, part: Path, have: int) -> http.client.HTTPResponse:
    """The server's answer to a request for everything from byte `have` on."""
    headers = {"Range": f"bytes={have}-"} if have else {}
    try:
        request = urllib.request.Request(url, headers=headers)
        return urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # it has fewer bytes than we: what we have is of no use with it
            part.unlink(missing_ok=True)
            raise _BrokenError("the server's file is shorter than the part already here") from None
        if error.code in (408, 429) or error.code >= 500:
            raise _BrokenError(f"the server answers {error.code} {error.reason}") from None
        raise UserError(
            f"cannot download {url}: the server answers {error.code} {error.reason}; "
            "check the address"
        ) from None
    except urllib.error.URLError as error:
        raise _BrokenError(getattr(error.reason, "strerror", None) or error.reason) from None
    except ValueError as error:
        raise UserError(f"cannot download {url!r}: {error}; check the address") from None
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenError(str(error) or type(error).__name__) from None


def _continues(response: http.client.HTTPResponse, have: int) -> bool:
    """Whether the answer starts at byte `have`, as asked, and not at the beginning."""
    content_range = response.headers.get("Content-Range", "")
    return bool(have) and response.status == 206 and content_range.startswith(f"bytes {have}-")


def _read(response: http.client.HTTPResponse, count: int) -> bytes:
    try:
        return response.read(count)
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenError(f"the connection broke off: {error or type(error).__name__}") from None


def _write(file: io.FileIO, chunk: bytes) -> None:
    """All of `chunk`: an unbuffered write may take less, on a disk that is nearly full."""
    view = memoryview(chunk)
    while view:
        view = view[file.write(view) :]


def _check(url: str, part: Path, expected: Expected, by_hand: str) -> None:
    found = sha256_of(part)
    if found != expected.sha256:
        part.unlink()  # it would be in the way of the next try
        raise UserError(
            f"{url} is not the file that was expected, and is removed: found SHA-256 {found}, "
            f"expected {expected.sha256}; check the address and run again, {by_hand}"
        )


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class _Progress:
    """A bar on a terminal; in a log file, a plain line at the start and now and then."""

    def __init__(self, url: str, have: int, size: int):
        self.have, self.size, self.said = have, size, time.monotonic()
        terminal = sys.stderr.isatty()
        self.lines = not terminal
        self.name = url.rsplit("/", 1)[-1]
        self.bar = tqdm(
            desc=self.name, total=size, initial=have, unit="B", unit_scale=True, disable=self.lines
        )
        if self.lines and have < size:
            _say(f"downloading {url}: {have / 1e6:,.1f} of {size / 1e6:,.1f} MB are here")

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def update(self, count: int) -> None:
        """Notes `count` more bytes, or fewer if it is negative."""
        self.have += count
        self.bar.update(count)
        if self.lines and time.monotonic() - self.said > SAY_EVERY:
            self.said = time.monotonic()
            _say(f"{self.name}: {self.have / 1e6:,.1f} of {self.size / 1e6:,.1f} MB")
