"""Pickles: instructions in any order, and a small batch with bytes changed."""

import pytest
from fuzz.corpus.pickles import DTYPE, EMPTY, ENTRIES, array, pickled
from fuzz.harness import attempt, check, check_apart, mutated
from hypothesis import strategies as st

from minivit.data.pickle_reader import read_pickle

BATCH = pickled(
    b"}q\x01(U\x0bbatch_labelU\x01xq\x00U\x04data"
    + array(b"U\x0cabcdefghijkl", 12)
    + b"U\x06labels]q\x05(K\x01K\x02M\x10'J\xff\xff\xff\xff\x8a\x01\x05eU\x01tK\x01K\x02\x86"
    + b"U\x09filenames]q\x06(U\x01ar\x07\0\0\0U\x01bj\x07\0\0\0eU\x01nNU\x01b\x88u"
)
NUMBERS = st.sampled_from([0, 1, 2, 3, 5, 127, 255])
CODES = b"KMJUTN})]tqrhjaesucRb.(\x85\x86\x87\x88\x89\x8a"
WHOLE = [DTYPE, EMPTY, b"(K\x01K\x01\x85", array(b"U\x01x", 1), b"}U\x01aNs", b"](K\x01e"]
WHOLE += [b"cnumpy\ndtype\n", b"cos\nsystem\n", b"cnumpy\nndarray\n", b"c\n\n"]
PARTS = st.one_of(
    st.sampled_from([bytes([code]) for code in CODES]),
    st.sampled_from(WHOLE),
    st.builds(lambda code, n: bytes([code, n]), st.sampled_from(list(b"Kqh")), NUMBERS),
    st.builds(lambda n: b"J" + n.to_bytes(4, "little"), st.integers(0, 2**32 - 1)),
    st.builds(lambda raw: b"U" + bytes([len(raw)]) + raw, st.binary(max_size=4)),
    st.builds(lambda raw: b"\x8a" + bytes([len(raw)]) + raw, st.binary(max_size=12)),
    st.binary(max_size=3),
)


@pytest.fixture
def read(tmp_path):
    return lambda raw: check(lambda: read_pickle(raw, "data_batch_1"), tmp_path)


def test_instructions_in_any_order(read):
    attempt(400, lambda parts: read(pickled(b"".join(parts))), parts=st.lists(PARTS, max_size=40))


def test_a_batch_with_bytes_changed(read):
    assert read(BATCH)["labels"] == [1, 2, 10_000, -1, 5]
    attempt(400, lambda raw: read(raw), raw=mutated(BATCH))


@pytest.mark.parametrize("name", ENTRIES)
def test_every_known_failure_stays_fixed(tmp_path, name):
    raw = ENTRIES[name]()
    found = check_apart(lambda: read_pickle(raw, "data_batch_1"), tmp_path)
    assert found.startswith("ndarray" if name == "the memo copied at each BUILD" else "UserError")
