"""IDX files with bytes changed: plain files, gzip files, and files inside gzip."""

import dataclasses
import gzip

import pytest
from fuzz.corpus.idx import ENTRIES
from fuzz.harness import attempt, check, check_apart, mutated
from hypothesis import strategies as st
from synthetic_data import idx_files

from minivit.data.mnist import MNIST
from minivit.errors import UserError

SMALL = dataclasses.replace(MNIST, counts={"train": 2, "t10k": 1})
FILES, _ = idx_files(SMALL)
NAMES = tuple(FILES)
HEADER = list(range(17))


@pytest.fixture
def read(tmp_path):
    folder = tmp_path / "in" / "mnist"
    folder.mkdir(parents=True)
    for name, raw in FILES.items():
        (folder / name).write_bytes(raw)

    def read(name: str, raw: bytes, packed: bool, how=check):
        path = folder / (name + ".gz" * packed)
        before = path.read_bytes() if path.exists() else None
        path.write_bytes(raw)
        try:
            return how(lambda: SMALL.load(tmp_path / "in", download=False), tmp_path / "in")
        finally:
            path.unlink() if before is None else path.write_bytes(before)

    return read


def assert_whole(found) -> None:
    """The arrays have the expected shape, and every label is a class."""
    if isinstance(found, UserError):
        return
    for split, count in ((found.train, 2), (found.test, 1)):
        assert split.images.shape == (count, 1, 28, 28)
        assert split.labels.max() < 10


@pytest.mark.parametrize("name", NAMES)
def test_a_file_with_bytes_changed(read, name):
    assert_whole(read(name, FILES[name], False))
    attempt(
        80,
        lambda raw, packed: assert_whole(read(name, gzip.compress(raw) if packed else raw, packed)),
        raw=mutated(FILES[name], HEADER),
        packed=st.booleans(),
    )


def test_a_gzip_file_with_bytes_changed(read):
    packed = gzip.compress(FILES[NAMES[0]], mtime=0)
    assert not isinstance(read(NAMES[0], packed, True), UserError)
    ends = [len(packed) - n for n in range(1, 9)]  # the checksum and the length
    hot = [*range(20), *ends]
    attempt(120, lambda raw: assert_whole(read(NAMES[0], raw, True)), raw=mutated(packed, hot))


@pytest.mark.parametrize("name", ENTRIES)
def test_every_known_failure_stays_fixed(read, name):
    make, packed = ENTRIES[name]
    assert read(NAMES[0], make(), packed, check_apart).startswith("UserError")
