"""The archive reader: ordinary archives are read, excessive ones are refused at once."""

import gzip
import io
import os
import tarfile
import time
import zlib

import pytest
from helpers import needs_posix

from minivit.data import archive
from minivit.data.archive import read_members
from minivit.errors import UserError

WANTED = ("f/a.bin", "f/b.bin")


def block(name: str, size: int | str = 0, kind: bytes = b"0") -> bytes:
    """A header of 512 bytes; a `size` given as text is written unchanged."""
    number = f"{size:011o}" if isinstance(size, int) else size
    raw = bytearray(512)
    raw[:100] = name.encode().ljust(100, b"\0")
    raw[124:136] = number.encode("latin-1").ljust(12, b"\0")[:12]
    raw[148:157] = b" " * 8 + kind
    raw[257:265] = b"ustar\x0000"
    raw[148:156] = b"%06o\0 " % sum(raw)
    return bytes(raw)


def padded(raw: bytes) -> bytes:
    return raw + bytes(-len(raw) % 512)


def member(name: str, raw: bytes, kind: bytes = b"0") -> bytes:
    return block(name, len(raw), kind) + padded(raw)


GOOD = member("f/a.bin", b"one") + member("f/b.bin", b"two" * 300)
END = bytes(1024)


def read(path, tar: bytes, max_length: int = 1000, max_size: int = 1 << 22) -> dict[str, bytes]:
    path = path / "x.tar.gz"
    path.write_bytes(gzip.compress(tar))
    return dict(read_members(path, WANTED, max_length, max_size))


def refused(path, tar: bytes, message: str, **bounds):
    start = time.process_time()
    with pytest.raises(UserError, match=message) as caught:
        read(path, tar, **bounds)
    assert time.process_time() - start < 2
    assert "\n" not in str(caught.value)
    assert "x.tar.gz" in str(caught.value)


def test_reads_the_requested_members(tmp_path):
    found = read(tmp_path, member("f/readme", b"?" * 5000) + GOOD + member("g/a.bin", b"?") + END)
    assert found == {"f/a.bin": b"one", "f/b.bin": b"two" * 300}


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_reads_archives_of_other_programs(tmp_path, form):
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz", format=form) as tar:
        folder = tarfile.TarInfo("f")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, raw in (("f/é" + "x" * 80, b"?"), ("f/a.bin", b"one"), ("./f/b.bin", b"")):
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(raw), 1234.5  # not an integer: an extended header in pax
            tar.addfile(info, io.BytesIO(raw))
    found = dict(read_members(tmp_path / "x.tar.gz", WANTED, 1000, 1 << 20))
    assert found == {"f/a.bin": b"one", "f/b.bin": b""}


def test_a_long_name_is_not_truncated_to_a_requested_one(tmp_path):
    long = member("././@LongLink", b"f/a.bin/and/more\0", b"L")
    assert read(tmp_path, long + member("f/a.bin", b"one") + END) == {}
    renamed = member("x", b"16 path=f/b.bin\n", b"x") + member("f/a.bin", b"one")
    assert read(tmp_path, renamed + END) == {"f/b.bin": b"one"}


def test_zeros_after_the_end_are_accepted(tmp_path):
    path = tmp_path / "x.tar.gz"
    path.write_bytes(gzip.compress(GOOD + bytes(10240)) + bytes(5000))
    assert len(dict(read_members(path, WANTED, 1000, 1 << 20))) == 2


@pytest.mark.parametrize(
    ("tar", "message"),
    [
        (block("f/a.bin", 3 << 30), "longer than any file"),
        (block("other", 7 << 30), "unpacks to more than"),
        (block("x", 3 << 30, b"x"), "extended header of 3,221,225,472 bytes"),
        (block("x", 1 << 20, b"L"), "extended header of 1,048,576 bytes"),
        (member("x", b"n" * 200 + b"\0", b"L") * 5000, "more than 4 extended headers"),
        (b"".join(member(f"n{n}", b"") for n in range(1001)), "more than 1,000 members"),
        (GOOD + member("f/a.bin", b"one"), "holds 'f/a.bin' twice"),
        (GOOD + member("./f/a.bin", b"one"), "holds 'f/a.bin' twice"),
        (member("y", b"") * 2, "holds 'y' twice"),
        (block("f/a.bin", 0, b"2"), "f/a.bin is a link"),
        (block("f/a.bin", 0, b"5"), "f/a.bin is a link"),
        (block("f/a.bin", "-0000000001"), "not octal"),
        (block("f/a.bin", "99999999999"), "not octal"),
        (block("f/a.bin", "\x80" + "\0" * 10 + "\x01"), "not octal"),
        (block("f/a.bin", "\xff" * 12), "not octal"),
        (block("f/a.bin", 0, b"S"), "type 'S'"),
        (block("f/a.bin", 0, b"\x1b"), r"type '\\x1b'"),
        (member("x", b"20 GNU.sparse.size=1\n", b"x"), "malformed extended header"),
        (member("x", b"21 GNU.sparse.size=1\n", b"x"), "sparse"),
        (member("x", b"12 size=999\n", b"x"), "over 8 GiB"),
        (member("x", b"99999999999999 a=b\n", b"x"), "malformed extended header"),
        (member("x", b"9" * 5000 + b" a=b\n", b"x"), "malformed extended header"),
        (member("x", b"0 a=b\n", b"x"), "malformed extended header"),
        (member("x", b"a\n", b"x"), "malformed extended header"),
        (GOOD[:700], "in the middle of a member"),
        (GOOD[:-1], "in the middle of a member"),
        (b"?" + GOOD[1:], "checksum is wrong"),
        (b"words " * 1000, "not octal"),
    ],
)
def test_bad_archives_are_refused_at_once(tmp_path, tar, message):
    refused(tmp_path, tar, message)


def test_the_unpacked_size_is_limited(tmp_path):
    refused(tmp_path, GOOD + bytes(1 << 26), "unpacks to more than 4,194,304 bytes")


def test_the_file_size_is_limited(tmp_path):
    path = tmp_path / "x.tar.gz"
    header = b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * 5_000_000  # a name in gzip's own header
    path.write_bytes(header)
    with pytest.raises(UserError, match="longer than 4,194,304 bytes"):
        dict(read_members(path, WANTED, 1000, 1 << 22))
    path.write_bytes(gzip.compress(GOOD + END) + bytes(5_000_000))
    with pytest.raises(UserError, match="longer than 4,194,304 bytes"):
        dict(read_members(path, WANTED, 1000, 1 << 22))


TRAILING = {  # with ids, as gzip writes the time and xdist needs the same ids in every worker
    "a byte": b"x",
    "an empty stream": gzip.compress(b""),
    "another stream": gzip.compress(GOOD),
    "zeros and a byte": bytes(9) + b"x",
}


@pytest.mark.parametrize("trailing", TRAILING.values(), ids=TRAILING)
def test_nothing_may_follow_the_gzip_stream(tmp_path, trailing):
    path = tmp_path / "x.tar.gz"
    path.write_bytes(gzip.compress(GOOD + END) + trailing)
    with pytest.raises(UserError, match="there is data after its end"):
        dict(read_members(path, WANTED, 1000, 1 << 22))


@pytest.mark.parametrize("raw", [b"", b"\x1f\x8b", b"words", zlib.compress(GOOD), GOOD])
def test_a_file_that_is_not_gzip_is_refused(tmp_path, raw):
    path = tmp_path / "x.tar.gz"
    path.write_bytes(raw)
    with pytest.raises(UserError, match="damaged, or not a"):
        dict(read_members(path, WANTED, 1000, 1 << 22))


@needs_posix
def test_only_regular_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, kind in ((tmp_path, "a folder"), (tmp_path / "pipe", "a named pipe")):
        with pytest.raises(UserError, match=f"{kind}, expected a regular file"):
            dict(read_members(path, WANTED, 1000, 1 << 22))


def test_a_name_is_printed_in_one_line(tmp_path):
    refused(tmp_path, member("\x1b[2J\n", b"") * 2, r"holds '\\x1b\[2J\\n' twice")
    path = tmp_path / "a\nb.tar.gz"
    path.write_bytes(b"")
    with pytest.raises(UserError, match=r"a\\nb\.tar\.gz: damaged"):
        dict(read_members(path, WANTED, 1000, 1 << 22))


def test_members_may_span_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "CHUNK", 100)
    assert read(tmp_path, GOOD + END) == {"f/a.bin": b"one", "f/b.bin": b"two" * 300}
