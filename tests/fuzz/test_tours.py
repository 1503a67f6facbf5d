"""A tour of the live page: the file with bytes changed, and slides of any kind."""

import json

import pytest
from fuzz.corpus.tours import ENTRIES
from fuzz.harness import attempt, check, check_apart, mutated
from hypothesis import strategies as st

from minivit.errors import UserError
from minivit.viz import read_tour

SLIDE = {"text": "A sentence.", "state": "cover=1.2&show=lens"}
WHOLE = json.dumps([SLIDE, {"text": "ä", "state": ""}]).encode()
VALUES = st.sampled_from([None, True, 1, 10**400, "", "a=b", "&&=", "show", "%ff=%", [], {}])
SLIDES = st.one_of(
    VALUES, st.dictionaries(st.sampled_from(["text", "state", "title"]), VALUES, max_size=3)
)


@pytest.fixture
def read(tmp_path):
    def read(raw: bytes, how=check):
        (tmp_path / "tour.json").write_bytes(raw)
        return how(lambda: read_tour(tmp_path / "tour.json"), tmp_path, UserError)

    return read


def test_a_tour_with_bytes_changed(read):
    assert len(read(WHOLE)) == 2
    attempt(60, lambda raw: read(raw), raw=mutated(WHOLE))


def test_a_tour_with_slides_of_any_kind(read):
    attempt(
        60, lambda slides: read(json.dumps(slides).encode()), slides=st.lists(SLIDES, max_size=3)
    )


@pytest.mark.parametrize("name", ENTRIES)
def test_every_known_failure_stays_fixed(read, name):
    assert read(ENTRIES[name](), how=check_apart).startswith("UserError")
