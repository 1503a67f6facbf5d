"""Downloads from a server of our own that breaks off, ignores Range, or has the wrong file."""

import errno
import hashlib
import http.server
import multiprocessing
import socket
import threading

import pytest

from minivit.data import download
from minivit.data.download import Expected, fetch
from minivit.errors import UserError

CONTENT = bytes(range(256)) * 4000
EXPECTED = Expected(len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves `server.content`, as `server`'s other attributes say."""

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
    server.handle_error = lambda *_: None  # clients that hang up are part of the tests
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
def test_whole(server, target, lengths):
    server.lengths = lengths
    fetch(server.url, target, EXPECTED)
    assert target.read_bytes() == CONTENT
    assert not part_of(target).exists()
    fetch(server.url, target, EXPECTED)
    assert server.requests == [None]


@pytest.mark.parametrize("lengths", [True, False])
def test_resumes_where_the_connection_broke(server, target, lengths):
    server.lengths = lengths
    server.break_after = [1000, 2000, 0, 300_000]
    fetch(server.url, target, EXPECTED)
    assert target.read_bytes() == CONTENT
    assert server.served == len(CONTENT)  # no byte twice
    assert server.requests == [None, *(f"bytes={n}-" for n in (1000, 3000, 3000, 303_000))]


def test_resumes_what_an_earlier_run_left(server, target):
    server.break_after = [5000] + [0] * download.TRIES
    message = fails(server.url, target, "broke off after 5,000 of 1,024,000", otherwise=", or pray")
    assert f"run again to resume, or put the file at {target} by hand, or pray" in message
    assert part_of(target).read_bytes() == CONTENT[:5000]
    server.break_after = []
    fetch(server.url, target, EXPECTED)
    assert target.read_bytes() == CONTENT
    assert server.served == len(CONTENT)


def test_tries_that_bring_something_are_not_counted(server, target):
    server.break_after = [10] * (3 * download.TRIES)
    fetch(server.url, target, EXPECTED)
    assert server.served == len(CONTENT)


def test_server_that_ignores_range_starts_again(server, target):
    server.ranges = False
    server.break_after = [400_000]
    fetch(server.url, target, EXPECTED)
    assert target.read_bytes() == CONTENT
    assert server.served == 400_000 + len(CONTENT)


def test_a_part_that_is_whole_is_checked_without_a_request(server, target):
    target.parent.mkdir()
    part_of(target).write_bytes(CONTENT)
    fetch(server.url, target, EXPECTED)
    assert target.read_bytes() == CONTENT
    assert server.requests == []


@pytest.mark.parametrize("size", [1000, len(CONTENT), len(CONTENT) + 5])
def test_a_part_of_something_else_does_not_block_the_next_try(server, target, size):
    target.parent.mkdir()
    part_of(target).write_bytes(b"?" * size)
    fails(server.url, target, "found SHA-256")
    assert not part_of(target).exists()
    fetch(server.url, target, EXPECTED)
    assert target.read_bytes() == CONTENT


def test_range_not_satisfiable(server, target):
    target.parent.mkdir()
    part_of(target).write_bytes(CONTENT[:500])
    server.content = CONTENT[:400]
    fails(server.url, target, "found 400 bytes, expected 1,024,000")
    server.content = CONTENT
    fetch(server.url, target, EXPECTED)
    assert target.read_bytes() == CONTENT


def test_wrong_hash(server, target):
    server.content = b"x" + CONTENT[1:]
    message = fails(server.url, target, "found SHA-256")
    assert hashlib.sha256(server.content).hexdigest() in message
    assert EXPECTED.sha256 in message
    assert not part_of(target).exists()


def test_wrong_size_is_told_before_it_is_downloaded(server, target):
    server.content = CONTENT + b"?"
    fails(server.url, target, "found 1,024,001 bytes, expected 1,024,000")
    assert not part_of(target).exists()


def test_wrong_size_leaves_a_good_part_alone(server, target):
    target.parent.mkdir()
    part_of(target).write_bytes(CONTENT[:500])
    server.content, server.ranges = b"<html>", False
    fails(server.url, target, "found 6 bytes")
    assert part_of(target).read_bytes() == CONTENT[:500]


def test_a_stream_without_end_is_cut(server, target):
    server.content, server.lengths = CONTENT * 3, False
    fetch(server.url, target, EXPECTED)
    assert target.read_bytes() == CONTENT


def test_server_busy_for_a_while(server, target):
    server.statuses = [503, 429]
    fetch(server.url, target, EXPECTED)
    assert len(server.requests) == 3


def test_not_found_is_not_tried_again(server, target):
    server.statuses = [404] * 9
    fails(server.url, target, "404 Not Found; check the address")
    assert len(server.requests) == 1


def test_connection_refused(target, monkeypatch):
    monkeypatch.setattr(download, "PAUSE", 0.001)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    fails(f"http://127.0.0.1:{port}/", target, "refused; run again to resume")


def test_silence_counts_as_broken(server, target, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.05)
    monkeypatch.setattr(download, "TRIES", 1)
    server.delay = threading.Event()
    fails(server.url, target, "timed out")
    server.delay.set()


def test_file_address(tmp_path, target):
    source = tmp_path / "source.bin"
    source.write_bytes(CONTENT)
    target.parent.mkdir()
    part_of(target).write_bytes(CONTENT[:500])
    fetch(source.as_uri(), target, EXPECTED)
    assert target.read_bytes() == CONTENT
    target.unlink()
    fails((tmp_path / "absent").as_uri(), target, "No such file")


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x", "data:,x", "x.tar.gz", ""])
def test_other_schemes(target, url):
    fails(url, target, "expected an http, https or file address")


@pytest.mark.parametrize("url", ["http://[", "http://a b/", "http://127.0.0.1:port/"])
def test_malformed_address(target, url, monkeypatch):
    monkeypatch.setattr(download, "PAUSE", 0.001)
    fails(url, target, "cannot download")


def test_disk_full(server, target, monkeypatch):
    def full(file, chunk):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(download, "_write", full)
    message = fails(server.url, target, "No space left on device; run again to resume")
    assert str(part_of(target)) in message
    assert len(server.requests) == 1


def test_folder_that_cannot_be_made(server, tmp_path):
    (tmp_path / "new").touch()
    with pytest.raises(UserError, match=f"cannot write {tmp_path / 'new'}"):
        fetch(server.url, tmp_path / "new" / "file.bin", EXPECTED)


def test_says_little_without_a_terminal(server, target, capsys):
    fetch(server.url, target, EXPECTED)
    captured = capsys.readouterr()
    assert captured.err == f"downloading {server.url}: 0.0 of 1.0 MB are here\n"
    assert captured.out == ""


def test_two_threads_download_once(server, target, capsys):
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


def test_two_processes_download_once(server, target):
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
