"""Archives: the gzip file with bytes changed, and the tar inside, with or without corrected
checksums."""

import dataclasses
import gzip
import warnings

import pytest
from fuzz.corpus.archives import ENTRIES, member
from fuzz.harness import attempt, check, check_apart, mutated
from hypothesis import strategies as st

from minivit.data.cifar10 import BINARY, CIFAR10, CLASS_NAMES
from minivit.errors import UserError

FILES = {f"{batch}.bin": bytes([n]) + bytes([n]) * 3072 for n, batch in enumerate(CIFAR10.batches)}
FILES["batches.meta.txt"] = "\n".join(CLASS_NAMES).encode()
LONG = member("././@LongLink", b"n" * 200 + b"\0", b"L") + member("n" * 100, b"?")
PAX = member("x", b"26 mtime=1234567890.25000\n", b"x")
TAR = LONG + b"".join(PAX + member(f"{BINARY.folder}/{k}", v) for k, v in FILES.items())
TAR += bytes(1024)
HEADERS = [at for at in range(0, len(TAR), 512) if TAR[at + 257 : at + 262] == b"ustar"]
HOT = [at + n for at in HEADERS for n in (0, 30, 99, 100, 124, 130, 135, 148, 156, 257, 345, 512)]


@pytest.fixture
def read(tmp_path):
    small = dataclasses.replace(CIFAR10, batches=dict.fromkeys(CIFAR10.batches, 1))
    path = tmp_path / "in" / BINARY.archive
    path.parent.mkdir()

    def read(raw: bytes, how=check):
        path.write_bytes(raw)
        return how(lambda: small.load(path.parent, download=False), path.parent)

    return read


def checksums_right(tar: bytes) -> bytes:
    new = bytearray(tar)
    for at in HEADERS:
        block = new[at : at + 512]
        if len(block) == 512:
            block[148:156] = b" " * 8
            new[at + 148 : at + 156] = b"%06o\0 " % sum(block)
    return bytes(new)


def test_a_gzip_file_with_bytes_changed(read):
    raw = gzip.compress(TAR, mtime=0)
    found = read(raw)
    assert found.train.labels.tolist() == [0, 1, 2, 3, 4]
    attempt(100, lambda raw: read(raw), raw=mutated(raw, list(range(20))))


def test_a_tar_with_bytes_changed_inside_the_gzip_file(read):
    def one(raw, right):
        found = read(gzip.compress(checksums_right(raw) if right else raw, 1))
        assert isinstance(found, UserError) or found.train.images.shape == (5, 3, 32, 32)

    attempt(250, one, raw=mutated(TAR, HOT), right=st.booleans())


@pytest.mark.parametrize("name", ENTRIES)
def test_every_known_failure_stays_fixed(read, name):
    with warnings.catch_warnings():
        assert read(ENTRIES[name](), check_apart).startswith("UserError")
