"""Downloads from a local server that breaks off, ignores Range, or serves the wrong file."""

import contextlib
import errno
import hashlib
import http.server
import multiprocessing
import os
import re
import socket
import threading
import time
import types

import pytest
from helpers import needs_posix

from minivit.data import download
from minivit.data.download import Expected, fetch
from minivit.errors import UserError

CONTENT = bytes(range(256)) * 4000
EXPECTED = Expected(len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves `server.content` as the other attributes of `server` specify."""

    def do_GET(self):
        server = self.server
        requested = self.headers.get("Range")
        server.requests.append(requested)
        if server.delay:
            server.delay.wait(5)
        if server.statuses:
            return self.send_error(server.statuses.pop(0))
        start = 0
        if requested and server.ranges:
            start = int(requested.removeprefix("bytes=").removesuffix("-"))
            if start >= len(server.content):
                return self.send_error(416)
            self.send_response(206)
            last = len(server.content) - 1
            self.send_header("Content-Range", f"bytes {start}-{last}/{len(server.content)}")
        else:
            self.send_response(200)
        body = server.content[start:]
        if server.lengths:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        sent = body[: server.break_after.pop(0)] if server.break_after else body
        server.served += len(sent)
        self.wfile.write(sent)
        return None

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(download, "PAUSE", 0.001)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # clients that disconnect are part of the tests
    server.content, server.ranges, server.lengths = CONTENT, True, True
    server.break_after, server.statuses, server.delay = [], [], None
    server.requests, server.served = [], 0
    server.url = f"http://127.0.0.1:{server.server_port}/file.bin"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def target(tmp_path):
    return tmp_path / "new" / "file.bin"


def part_of(target):
    return target.with_name("file.bin.part")


def fails(url, target, message, **kwargs):
    with pytest.raises(UserError, match=message) as caught:
        fetch(url, target, EXPECTED, **kwargs)
    assert "\n" not in str(caught.value)
    assert not target.exists()
    return str(caught.value)


@pytest.mark.parametrize("lengths", [True, False])
def test_a_whole_file_is_downloaded(server, target, lengths):
    server.lengths = lengths
    fetch(server.url, target, EXPECTED)
    assert target.read_bytes() == CONTENT
    assert not part_of(target).exists()
    fetch(server.url, target, EXPECTED)
    assert server.requests == [None]


@pytest.mark.parametrize("lengths", [True, False])
def test_a_broken_download_is_resumed(server, target, lengths):
    server.lengths = lengths
    server.break_after = [1000, 2000, 0, 300_000]
    fetch(server.url, target, EXPECTED)
    assert target.read_bytes() == CONTENT
    assert server.served == len(CONTENT)  # no byte is sent twice
    assert server.requests == [None, *(f"bytes={n}-" for n in (1000, 3000, 3000, 303_000))]


def test_a_partial_file_of_an_earlier_run_is_resumed(server, target):
    server.break_after = [5000] + [0] * download.TRIES
    message = fails(server.url, target, "broke off after 5,000 of 1,024,000", otherwise=", or pray")
    assert f"run again to resume, or put the file at {target} by hand, or pray" in message
    assert part_of(target).read_bytes() == CONTENT[:5000]
    server.break_after = []
    fetch(server.url, target, EXPECTED)
    assert target.read_bytes() == CONTENT
    assert server.served == len(CONTENT)


def test_only_tries_without_progress_are_counted(server, target):
    server.break_after = [10] * (3 * download.TRIES)
    fetch(server.url, target, EXPECTED)
    assert server.served == len(CONTENT)


def test_a_server_that_ignores_range_starts_over(server, target):
    server.ranges = False
    server.break_after = [400_000]
    fetch(server.url, target, EXPECTED)
    assert target.read_bytes() == CONTENT
    assert server.served == 400_000 + len(CONTENT)


def test_a_complete_partial_file_is_checked_without_a_request(server, target):
    target.parent.mkdir()
    part_of(target).write_bytes(CONTENT)
    fetch(server.url, target, EXPECTED)
    assert target.read_bytes() == CONTENT
    assert server.requests == []


@pytest.mark.parametrize("size", [1000, len(CONTENT), len(CONTENT) + 5])
def test_a_partial_file_of_something_else_does_not_block_the_next_try(server, target, size):
    target.parent.mkdir()
    part_of(target).write_bytes(b"?" * size)
    fails(server.url, target, "found SHA-256")
    assert not part_of(target).exists()
    fetch(server.url, target, EXPECTED)
    assert target.read_bytes() == CONTENT


def test_an_unsatisfiable_range_starts_over(server, target):
    target.parent.mkdir()
    part_of(target).write_bytes(CONTENT[:500])
    server.content = CONTENT[:400]
    fails(server.url, target, "found 400 bytes, expected 1,024,000")
    server.content = CONTENT
    fetch(server.url, target, EXPECTED)
    assert target.read_bytes() == CONTENT


def test_a_wrong_hash_is_refused(server, target):
    server.content = b"x" + CONTENT[1:]
    message = fails(server.url, target, "found SHA-256")
    assert hashlib.sha256(server.content).hexdigest() in message
    assert EXPECTED.sha256 in message
    assert not part_of(target).exists()


def test_a_wrong_size_is_reported_before_the_download(server, target):
    server.content = CONTENT + b"?"
    fails(server.url, target, "found 1,024,001 bytes, expected 1,024,000")
    assert not part_of(target).exists()


def test_a_wrong_size_leaves_a_good_partial_file_alone(server, target):
    target.parent.mkdir()
    part_of(target).write_bytes(CONTENT[:500])
    server.content, server.ranges = b"<html>", False
    fails(server.url, target, "found 6 bytes")
    assert part_of(target).read_bytes() == CONTENT[:500]


def test_an_endless_stream_is_cut_off(server, target):
    server.content, server.lengths = CONTENT * 3, False
    fetch(server.url, target, EXPECTED)
    assert target.read_bytes() == CONTENT


def test_a_busy_server_is_tried_again(server, target):
    server.statuses = [503, 429]
    fetch(server.url, target, EXPECTED)
    assert len(server.requests) == 3


def test_a_404_is_not_tried_again(server, target):
    server.statuses = [404] * 9
    fails(server.url, target, "404 'Not Found'; check the address")
    assert len(server.requests) == 1


def test_a_refused_connection_is_reported(target, monkeypatch):
    monkeypatch.setattr(download, "PAUSE", 0.001)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    fails(f"http://127.0.0.1:{port}/", target, "refused; run again to resume")


def test_a_silent_connection_counts_as_broken(server, target, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.05)
    monkeypatch.setattr(download, "TRIES", 1)
    server.delay = threading.Event()
    fails(server.url, target, "timed out")
    server.delay.set()


def test_a_file_url_is_read(tmp_path, target):
    source = tmp_path / "source.bin"
    source.write_bytes(CONTENT)
    target.parent.mkdir()
    part_of(target).write_bytes(CONTENT[:500])
    fetch(source.as_uri(), target, EXPECTED)
    assert target.read_bytes() == CONTENT
    target.unlink()
    fails((tmp_path / "absent").as_uri(), target, "No such file")


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x", "data:,x", "x.tar.gz", ""])
def test_other_url_schemes_are_refused(target, url):
    fails(url, target, "expected an http, https or file address")


@pytest.mark.parametrize("url", ["http://[", "http://a b/", "http://127.0.0.1:port/"])
def test_a_malformed_url_is_refused(target, url, monkeypatch):
    monkeypatch.setattr(download, "PAUSE", 0.001)
    fails(url, target, "cannot download")


def test_a_full_disk_is_reported(server, target, monkeypatch):
    def full(file, chunk):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(download, "_write", full)
    message = fails(server.url, target, "No space left on device; run again to resume")
    assert f"cannot write {target}: " in message
    assert ".part" not in message
    assert len(server.requests) == 1


def test_a_folder_that_cannot_be_created_is_reported(server, tmp_path):
    (tmp_path / "new").touch()
    with pytest.raises(UserError, match=f"cannot write {tmp_path / 'new'}"):
        fetch(server.url, tmp_path / "new" / "file.bin", EXPECTED)


def test_little_is_printed_without_a_terminal(server, target, capsys):
    fetch(server.url, target, EXPECTED)
    captured = capsys.readouterr()
    assert captured.err == f"downloading {server.url}: 0.0 of 1.0 MB so far\n"
    assert captured.out == ""


def test_two_threads_share_one_download(server, target, capsys):
    server.delay = threading.Event()
    threads = [threading.Thread(target=fetch, args=(server.url, target, EXPECTED)) for _ in "ab"]
    for thread in threads:
        thread.start()
    threading.Timer(0.3, server.delay.set).start()
    for thread in threads:
        thread.join(10)
    assert target.read_bytes() == CONTENT
    assert server.requests == [None]
    assert f"another run is downloading {target}; waiting for it\n" in capsys.readouterr().err


def test_two_processes_share_one_download(server, target):
    server.delay = threading.Event()
    spawn = multiprocessing.get_context("spawn")
    process = spawn.Process(target=fetch, args=(server.url, target, EXPECTED))
    process.start()
    while not server.requests:  # the other process holds the lock and waits for the server
        assert process.is_alive()
    threading.Timer(0.2, server.delay.set).start()
    fetch(server.url, target, EXPECTED)
    process.join(10)
    assert process.exitcode == 0
    assert target.read_bytes() == CONTENT
    assert server.requests == [None]


# Misbehaving servers: each response is written out byte by byte


HEAD = b"HTTP/1.1 200 OK\r\n"
WITH_LENGTH = HEAD + b"Content-Length: %d\r\n\r\n" % len(CONTENT)


@pytest.fixture
def rude(monkeypatch):
    """A server that sends the responses in `rude.answers` in turn, and then repeats the last one
    forever. A response is bytes, or a function of the connection and the request.
    """
    monkeypatch.setattr(download, "PAUSE", 0.001)
    listening = socket.create_server(("127.0.0.1", 0))
    rude = types.SimpleNamespace(answers=[], requests=[])
    rude.url = f"http://127.0.0.1:{listening.getsockname()[1]}/file.bin"

    def serve():
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                request = b""
                while b"\r\n\r\n" not in request and (part := connection.recv(4096)):
                    request += part
                rude.requests.append(request)
                answer = rude.answers.pop(0) if len(rude.answers) > 1 else rude.answers[0]
                if callable(answer):
                    answer(connection, request)
                else:
                    connection.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield rude
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join(10)


def requested_start(request: bytes) -> int:
    found = re.search(rb"Range: bytes=(\d+)-", request)
    return int(found[1]) if found else 0


def send_rest(connection, request, limit=None):
    """A correct response, cut off after `limit` bytes."""
    start = requested_start(request)
    last = len(CONTENT) - 1
    head = b"HTTP/1.1 206 Partial\r\nContent-Range: bytes %d-%d/%d\r\n" % (start, last, last + 1)
    body = CONTENT[start:]
    connection.sendall((head if start else HEAD) + b"Content-Length: %d\r\n\r\n" % len(body))
    connection.sendall(body[:limit])


def full_response(limit=None):
    return WITH_LENGTH + CONTENT[:limit]


def put_part(target, raw):
    target.parent.mkdir(exist_ok=True)
    part_of(target).write_bytes(raw)


def test_alternating_lengths_do_not_loop_forever(rude, target):
    rude.answers = [full_response(n) for n in [400_000, 300_000] * 20]
    fails(rude.url, target, "broke off after 300,000 of 1,024,000")
    assert len(rude.requests) == download.TRIES
    assert part_of(target).read_bytes() == CONTENT[:400_000]


@pytest.mark.parametrize(
    "once",
    [
        b"HTTP/1.1 416 No\r\n\r\n",
        full_response(1000),
        full_response(0),
        HEAD + b"\r\n<html>come back later</html>",
        b"HTTP/1.1 206 P\r\nContent-Range: bytes 0-99/1024000\r\n\r\n" + b"?" * 100,
        b"HTTP/1.1 206 P\r\nContent-Range: bytes 900-999/1024000\r\n\r\n" + b"?" * 100,
        b"HTTP/1.1 206 P\r\nContent-Range: " + b"9" * 5000 + b"\r\n\r\n" + b"?" * 100,
        b"HTTP/1.1 206 P\r\n\r\n" + b"?" * 100,
        b"HTTP/1.1 204 Empty\r\n\r\n",
        HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n" + b"?" * 100,
        HEAD + b"Content-Length: \xd9\xa1\r\n\r\n" + b"?" * 100,
        b"\x1b[2J\r\n\r\n",
        b"",
    ],
)
def test_a_bad_response_does_not_lose_downloaded_bytes(rude, target, once):
    put_part(target, CONTENT[:900_000])
    sizes = []
    rude.answers = [once, lambda *a: (sizes.append(part_of(target).stat().st_size), send_rest(*a))]
    fetch(rude.url, target, EXPECTED)
    assert sizes == [900_000]
    assert target.read_bytes() == CONTENT


def test_after_416_the_whole_file_is_requested_and_known_bytes_are_skipped(rude, target, capsys):
    put_part(target, CONTENT[:900_000])
    rude.answers = [b"HTTP/1.1 416 No\r\n\r\n", full_response(950_000), send_rest]
    fetch(rude.url, target, EXPECTED)
    assert [requested_start(request) for request in rude.requests] == [900_000, 0, 950_000]
    assert target.read_bytes() == CONTENT
    assert "sends everything again; 0.9 MB are already here" in capsys.readouterr().err


def test_a_wrong_partial_file_is_detected_by_its_hash(rude, target):
    put_part(target, b"?" * 900_000)
    rude.answers = [full_response()]
    fails(rude.url, target, "found SHA-256")
    assert not part_of(target).exists()
    fetch(rude.url, target, EXPECTED)
    assert target.read_bytes() == CONTENT


def test_an_overlong_partial_file_is_truncated_and_checked(rude, target):
    put_part(target, CONTENT + b"?")
    fetch(rude.url, target, EXPECTED)
    assert target.read_bytes() == CONTENT
    assert rude.requests == []


def drip(data, every):
    def answer(connection, request):
        for byte in data:
            connection.sendall(bytes([byte]))
            time.sleep(every)

    return answer


@pytest.mark.parametrize(
    "answer",
    [
        drip(WITH_LENGTH + CONTENT, 0.01),
        drip(HEAD + b"X: " + b"x" * 60_000, 0.01),
        drip(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"0" * 60_000, 0.01),
        drip(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, 0.01),
        lambda connection, request: send_rest(connection, request, limit=1),
    ],
    ids=["body", "header", "chunk", "continue", "a byte per connection"],
)
def test_a_download_that_is_too_slow_is_abandoned(rude, target, answer, monkeypatch):
    monkeypatch.setattr(download, "PATIENCE", 0.3)
    rude.answers = [answer]
    start = time.perf_counter()
    message = "bytes arrived in 0.3 s, expected at least 300,000; run again to resume"
    fails(rude.url, target, message)
    assert time.perf_counter() - start < 5


def test_the_number_of_tries_is_limited(rude, target, monkeypatch):
    monkeypatch.setattr(download, "MAX_TRIES", 9)
    rude.answers = [lambda *a: send_rest(*a, limit=1)]
    fails(rude.url, target, "9 attempts did not complete it")
    assert part_of(target).read_bytes() == CONTENT[:9]


def for_ever(data):
    def answer(connection, request):
        while True:
            connection.sendall(data)

    return answer


@pytest.mark.parametrize(
    "start",
    [
        b"",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n-5\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: /file.bin\r\n\r\n",
        b"HTTP/1.1 500 No\r\n\r\n",
    ],
)
@pytest.mark.parametrize("more", [b"HTTP/1.1 100 Continue\r\n\r\n" * 500, b"X: y\r\n" * 2000])
def test_an_endless_response_is_cut_off(rude, target, start, more):
    def answer(connection, request):
        connection.sendall(start)
        for_ever(more)(connection, request)

    rude.answers = [answer]
    fails(rude.url, target, "cannot download|not the file that was expected")


@pytest.mark.parametrize(
    "location",
    ["ftp://127.0.0.1/x", "file:///etc/hostname", "data:,x", "http://a b/", "//[", "gopher://x/"],
)
def test_only_redirects_to_http_and_https_are_followed(rude, target, location):
    rude.answers = [f"HTTP/1.1 302 Found\r\nLocation: {location}\r\n\r\n".encode()]
    message = fails(rude.url, target, "cannot download")
    assert len(rude.requests) <= download.TRIES
    assert not part_of(target).exists()
    assert "redirects to" in message or "Invalid IPv6" in message


def test_a_redirect_is_followed_with_the_range_header(rude, server, target):
    put_part(target, CONTENT[:500])
    rude.answers = [f"HTTP/1.1 307 Moved\r\nLocation: {server.url}\r\n\r\n".encode()]
    fetch(rude.url, target, EXPECTED)
    assert target.read_bytes() == CONTENT
    assert server.requests == ["bytes=500-"]


def test_a_redirect_loop_is_refused(rude, target):
    rude.answers = [b"HTTP/1.1 301 Moved\r\nLocation: /file.bin\r\n\r\n"]
    fails(rude.url, target, "more than 5 redirects")
    assert len(rude.requests) == 6


@pytest.mark.parametrize("status", [b"200", b"404", b"503", b"302", b"999"])
def test_control_characters_from_a_server_are_not_printed(rude, target, status, capsys):
    nasty = b"\x1b[2J\x07\xc2\x9b" + b"x" * 500
    answer = b"HTTP/1.1 %b %b\r\nContent-Length: %b\r\nLocation: http://%b/\r\n\r\n"
    rude.answers = [answer % (status, nasty, nasty, nasty)]
    message = fails(rude.url, target, "cannot download")
    assert (message + capsys.readouterr().err.replace("\n", "")).isprintable()
    assert len(message) < 400 + len(str(target))


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/\udcff",
        "http://127.0.0.1/\x1b[2J",
        "http://127.0.0.1/é",
        "http://127.0.0.1/" + "x" * 5000,
        "http:///x",
        "http://name:word@127.0.0.1/x",
        "http://127.0.0.1:99999/x",
        "file://elsewhere/x",
        "file:///a%00b",
    ],
)
def test_invalid_urls_are_refused(url, target, capsys):
    message = fails(url, target, "cannot download|no file can have this name")
    assert message.isascii()
    assert len(message) < 400 + len(str(target))


@needs_posix
@pytest.mark.parametrize("name", ["file.bin.part", "file.bin.lock"])
@pytest.mark.parametrize("kind", ["link", "loose link", "pipe", "folder"])
def test_only_regular_files_are_written_to(server, target, name, kind):
    target.parent.mkdir()
    path, other = target.with_name(name), target.with_name("other")
    other.write_bytes(b"mine")
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("other" if kind == "link" else "absent")
    fails(server.url, target, f"{name}: a .*, expected a regular file")
    assert other.read_bytes() == b"mine"
    assert not target.with_name("absent").exists()


@needs_posix
def test_a_url_of_a_pipe_is_refused(tmp_path, target):
    os.mkfifo(tmp_path / "pipe")
    fails((tmp_path / "pipe").as_uri(), target, "a named pipe, expected a regular file")
