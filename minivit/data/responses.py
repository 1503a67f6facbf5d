"""A server's response, or a file's bytes, behind one small class that trusts neither.

`urllib` follows redirects to ftp and reads their bodies whole; `http.client` waits a minute for
each byte of a header, accepts a chunk of negative size, and passes on the server's text unchanged.
Here only http and https are followed, the amount of data is bounded, the download may give up
whenever data arrives, and every header is parsed by a pattern.
"""

import http.client
import io
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple
from urllib.parse import urljoin, urlsplit

from minivit.errors import UserError, shown
from minivit.files import open_plain

MAX_URL_LENGTH = 2000
MAX_REDIRECTS = 5
OVERHEAD = 1 << 20  # bytes of headers, and of chunk overhead on top of twice the body

_URL = re.compile(rf"[!-~]{{1,{MAX_URL_LENGTH}}}")
_LENGTH = re.compile(r"[0-9]{1,15}")
_RANGE = re.compile(r"bytes ([0-9]{1,15})-([0-9]{1,15})/([0-9]{1,15}|\*)")


class BrokenError(Exception):
    """The connection failed, but another attempt may succeed."""


class NoRangeError(BrokenError):
    """The server cannot resume at that byte (416); it may still send the whole file."""


class TooSlowError(Exception):
    """The download is too slow; not an OSError or a ValueError, which `http.client` catches."""


class Response(NamedTuple):
    """The bytes from `start` on, and the size of the whole file if the server reported it.

    read1: returns at most the requested number of bytes, as soon as there are any; none at the end.
    """

    read1: Callable[[int], bytes]
    start: int
    size: int | None


def check_url(url: str) -> None:
    """Raises UserError unless `url` is a complete http, https or file address."""
    expected = "expected an http, https or file address"
    if not _URL.fullmatch(url):
        raise UserError(
            f"cannot download from {shown(url)}: {expected} of at most {MAX_URL_LENGTH} ASCII "
            "characters and no spaces; write a space as %20"
        )
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise UserError(f"cannot download from {url}: {shown(error)}; {expected}") from None
    if parts.scheme not in ("http", "https", "file"):
        raise UserError(f"cannot download from {url}: {expected}")
    if parts.scheme == "file" and parts.netloc not in ("", "localhost"):
        raise UserError(f"cannot download from {url}: expected file:///, a file on this machine")
    if parts.scheme != "file" and (not parts.hostname or "@" in parts.netloc):
        raise UserError(f"cannot download from {url}: expected a host, and no user name before it")


@contextmanager
def open_url(
    url: str, have: int, expected: int, timeout: float, tick: Callable[[], None]
) -> Iterator[Response]:
    """Requests a file of `expected` bytes from byte `have` on; the response may start at 0 instead.

    `tick` is called whenever data arrives, and may raise TooSlowError.

    Raises BrokenError, NoRangeError, and UserError for failures that will recur.
    """
    if urlsplit(url).scheme == "file":
        with _translated(url), _opened_file(url) as file:
            file.seek(have)
            yield Response(_reader(url, file.read), have, os.fstat(file.fileno()).st_size)
        return
    with _translated(url):
        request = urllib.request.Request(url)
        if have:
            request.add_header("Range", f"bytes={have}-")
        response = _opener(tick, 2 * expected + OVERHEAD).open(request, timeout=timeout)
    with response:
        start, size = _start_and_size(response, have)
        yield Response(_reader(url, response.read1), start, size)


def _opened_file(url: str) -> BinaryIO:
    return open_plain(urllib.request.url2pathname(urlsplit(url).path))


def _reader(url: str, read: Callable[[int], bytes]) -> Callable[[int], bytes]:
    def read1(count: int) -> bytes:
        with _translated(url):
            return read(count)

    return read1


@contextmanager
def _translated(url: str) -> Iterator[None]:
    """Turns whatever the standard library raises into BrokenError, or UserError if it is final."""
    try:
        yield
    except (UserError, BrokenError, TooSlowError):
        raise
    except urllib.error.HTTPError as error:
        error.close()
        message = f"the server responds {error.code} {shown(error.reason)}"
        if error.code == 416:
            raise NoRangeError(message) from None
        if error.code in (408, 429) or error.code >= 500:
            raise BrokenError(message) from None
        raise UserError(f"cannot download {url}: {message}; check the address") from None
    except Exception as error:  # `http.client` raises all kinds of errors on malformed responses
        reason = getattr(error, "reason", error)
        raise BrokenError(shown(reason)) from None


def _start_and_size(response: http.client.HTTPResponse, have: int) -> tuple[int, int | None]:
    """Where the response starts in the file, and the size of the file if known."""
    length = _number(response.headers.get("Content-Length"))
    if response.status == 200:
        return 0, length
    found = _RANGE.fullmatch(str(response.headers.get("Content-Range", "")))
    if response.status != 206 or not have or not found or int(found[1]) != have:
        raise NoRangeError(
            f"the server responds {response.status}, with bytes other than those requested"
        )
    if length is not None and length != int(found[2]) - have + 1:
        raise NoRangeError("the server's Content-Length does not match its Content-Range")
    if found[3] != "*":
        return have, int(found[3])
    return have, None if length is None else have + length


def _number(header: object) -> int | None:
    if header is None:
        return None
    if not _LENGTH.fullmatch(str(header)):
        raise BrokenError(f"the server's Content-Length is {shown(header, 20)}")
    return int(str(header))


def _opener(tick: Callable[[], None], max_bytes: int) -> urllib.request.OpenerDirector:
    """An opener for http and https, including the environment's proxies, and no other scheme."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Redirects(),
        _Http(tick, max_bytes),
        _Https(tick, max_bytes),
    ):
        opener.add_handler(handler)
    return opener


class _Redirects(urllib.request.BaseHandler):
    """Follows redirects to http and https only, and does not read their bodies."""

    def http_error_302(
        self, request: Any, response: Any, code: int, reason: str, headers: Any
    ) -> Any:
        response.close()
        location = headers.get("Location")
        if location is None:
            return None  # an error like any other
        url = urljoin(request.full_url, str(location))
        if not _URL.fullmatch(url) or urlsplit(url).scheme not in ("http", "https"):
            raise UserError(
                f"cannot download {request.full_url}: it redirects to {shown(url)}, "
                "expected an http or https address"
            )
        following: Any = urllib.request.Request(url, headers=request.headers)
        following.redirects = getattr(request, "redirects", 0) + 1
        if following.redirects > MAX_REDIRECTS:
            raise UserError(
                f"cannot download {shown(url)}: more than {MAX_REDIRECTS} redirects; "
                "check the address"
            )
        return self.parent.open(following, timeout=request.timeout)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


class _Watching:
    """Makes each connection read its response through `_Watched`."""

    def __init__(self, tick: Callable[[], None], max_bytes: int):
        super().__init__()
        self.tick, self.max_bytes = tick, max_bytes

    def do_open(self, connection_class: Any, request: Any, **http_conn_args: Any) -> Any:
        def connect(host: str, **kwargs: Any) -> Any:
            connection = connection_class(host, **kwargs)
            connection.response_class = self.response
            return connection

        return super().do_open(connect, request, **http_conn_args)  # type: ignore[misc]

    def response(self, sock: Any, *args: Any, **kwargs: Any) -> Any:
        response: Any = http.client.HTTPResponse(sock, *args, **kwargs)
        raw = response.fp.detach()
        response.fp = io.BufferedReader(_Watched(raw, self.tick, self.max_bytes))
        return response


class _Http(_Watching, urllib.request.HTTPHandler):  # type: ignore[misc]
    pass


class _Https(_Watching, urllib.request.HTTPSHandler):  # type: ignore[misc]
    pass


class _Watched(io.RawIOBase):
    """A socket's bytes: at most `max_bytes` of them, with a `tick` whenever some arrive."""

    def __init__(self, raw: io.RawIOBase, tick: Callable[[], None], max_bytes: int):
        self.raw, self.tick, self.remaining = raw, tick, max_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self.tick()
        count = self.raw.readinto(buffer)
        self.remaining -= count or 0
        if self.remaining < 0:
            raise BrokenError("the server sends much more than the file")
        return count

    def close(self) -> None:
        self.raw.close()
        super().close()
