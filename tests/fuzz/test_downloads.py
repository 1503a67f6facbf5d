"""Downloads from servers of all kinds: each ends, and a partial file never gets shorter."""

import contextlib
import hashlib
import re
import shutil
import socket
import threading
from pathlib import Path

import pytest
from fuzz.corpus.downloads import CHUNKED, ENTRIES, OK, redirect
from fuzz.harness import attempt, check, check_apart
from hypothesis import strategies as st

from minivit.data import download
from minivit.data.download import Expected, fetch
from minivit.errors import UserError

CONTENT = bytes(range(256)) * 32
EXPECTED = Expected(len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


class Server:
    """Sends `answers` in turn, the last one forever; see `corpus/downloads.py`."""

    def __init__(self):
        self.answers = [b""]
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listening.getsockname()[1]}/file.bin"
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.listening.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.settimeout(5)
                request = b""
                while b"\r\n\r\n" not in request and (part := connection.recv(4096)):
                    request += part
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                self.send(connection, request, answer)

    def send(self, connection, request: bytes, answer: bytes) -> None:
        found = re.search(rb"Range: bytes=(\d+)-", request)
        start = int(found[1]) if found else 0
        while True:
            connection.sendall(filled(answer, start).replace(b"{again}", b""))
            if not answer.endswith(b"{again}"):
                return
            answer = answer[-4000:]

    def close(self) -> None:
        self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()
        self.thread.join(10)


def filled(answer: bytes, start: int) -> bytes:
    length = b"Content-Length: %d\r\n\r\n"
    place = b"Content-Range: bytes %d-%d/%d\r\n" % (start, len(CONTENT) - 1, len(CONTENT))
    head = b"HTTP/1.1 206 Partial\r\n" + place if start else OK
    answer = answer.replace(b"{rest}", head + length % (len(CONTENT) - start) + CONTENT[start:])
    cut = re.search(rb"\{cut (\d+)\}", answer)
    if cut:
        whole = OK + length % len(CONTENT) + CONTENT[: int(cut[1])]
        answer = answer.replace(cut[0], whole)
    return answer


@pytest.fixture
def tried(tmp_path, monkeypatch):
    """Downloads once, from a server with these responses, starting with this partial file."""
    for name, value in (("PAUSE", 0), ("TIMEOUT", 0.5), ("PATIENCE", 1.0), ("MAX_TRIES", 20)):
        monkeypatch.setattr(download, name, value)
    server, target = Server(), tmp_path / "in" / "file.bin"

    def tried(answers: list[bytes], part: bytes = b"", how=check):
        shutil.rmtree(target.parent, ignore_errors=True)
        target.parent.mkdir()
        if part:
            target.with_name("file.bin.part").write_bytes(part)
        server.answers = list(answers)
        found = how(lambda: fetch(server.url, target, EXPECTED), target.parent)
        holds_the_rules(found, target, part)
        return found

    yield tried
    server.close()


def holds_the_rules(found: object, target: Path, part: bytes) -> None:
    kept = target.with_name("file.bin.part")
    if target.exists():
        assert target.read_bytes() == CONTENT
        assert not kept.exists()
    elif "found SHA-256" not in str(found):
        assert isinstance(found, UserError | str)
        assert (kept.read_bytes() if kept.exists() else b"").startswith(part[: len(CONTENT)])


def test_the_test_server_can_complete_a_download(tried):
    assert tried([b"{cut 100}", b"{rest}"]) is None
    assert tried([b"{rest}"], CONTENT[:5000]) is None


HEADERS = st.sampled_from(
    [
        b"Content-Length: 8192",
        b"Content-Length: 8191",
        b"Content-Length: 99999999999999999999",
        b"Content-Length: -1",
        b"Content-Length:",
        b"Content-Range: bytes 4000-8191/8192",
        b"Content-Range: bytes 4000-3999/8192",
        b"Content-Range: bytes 0-8191/8192",
        b"Content-Range: bytes 4000-8191/*",
        b"Content-Range: bytes */8192",
        b"Transfer-Encoding: chunked",
        b"Content-Encoding: gzip",
        b"Location: /file.bin",
        b"Location: ftp://127.0.0.1/",
        b"Location: //[",
        b"Connection: close",
        b"X: " + b"x" * 70_000,
        b"\x1b[2J: \xff",
        b": ",
        b"no colon",
        b" folded",
    ]
)
STATUS = st.sampled_from(
    [200, 200, 206, 206, 204, 301, 304, 307, 400, 401, 404, 416, 429, 503, 999]
)
BODIES = st.one_of(
    st.integers(0, 8192).map(lambda n: CONTENT[:n]),
    st.integers(0, 8192).map(lambda n: CONTENT[n:]),
    st.binary(max_size=40),
    st.sampled_from([b"5\r\nabcde\r\n0\r\n\r\n", b"fffffffff\r\nx", b"-1\r\nx", b"zz\r\n"]),
)


def written(status: int, reason: bytes, headers: list[bytes], body: bytes) -> bytes:
    return b"HTTP/1.1 %d %b\r\n" % (status, reason) + b"\r\n".join([*headers, b"", b""]) + body


ANSWERS = st.one_of(
    st.builds(written, STATUS, st.binary(max_size=12), st.lists(HEADERS, max_size=3), BODIES),
    st.just(b"{rest}"),
    st.integers(0, 8192).map(lambda n: b"{cut %d}" % n),
    st.sampled_from([b"", OK + b"\r\n", CHUNKED, redirect(b"/file.bin")]),
    st.binary(max_size=60),
)
PARTS = st.sampled_from([b"", CONTENT[:4000], CONTENT[:8191], b"?" * 4000, CONTENT, CONTENT + b"?"])


def test_any_sequence_of_responses(tried):
    attempt(120, tried, answers=st.lists(ANSWERS, min_size=1, max_size=6), part=PARTS)


@pytest.mark.parametrize("name", ENTRIES)
def test_every_known_failure_stays_fixed(tried, name):
    tried(ENTRIES[name], how=check_apart)
