"""The reader of CIFAR's pickles: it reads what Python 2 wrote and executes nothing."""

import contextlib
import os
import pickle
import time

import numpy as np
import pytest
from fuzz.corpus.pickles import DTYPE, EMPTY, array, pickled, text

from minivit.data.pickle_machine import Bounds
from minivit.data.pickle_reader import read_pickle
from minivit.errors import UserError

ARRAY = EMPTY + b"(K\x01K\x02K\x03\x86" + DTYPE + b"\x89U\x06\x00\x01\x7f\x80\xfe\xfftb"


def test_reads_plain_values():
    raw = pickled(b"}q\x00(U\x01aq\x01]q\x02(K\x05M\x10'J\xff\xff\xff\xffeU\x01b\x88U\x01ch\x01u")
    assert read_pickle(raw, "f") == {"a": [5, 10000, -1], "b": True, "c": "a"}


@pytest.mark.parametrize(
    "value", [(), (1, None), ([], {}, True), [1, -2, 300, 70000, 1 << 40], [[1], 2]]
)
def test_agrees_with_pickle_on_plain_values(value):
    assert read_pickle(pickle.dumps(value, 2), "f") == value


def test_reads_an_array():
    array = read_pickle(pickled(ARRAY), "f")
    np.testing.assert_array_equal(array, np.array([[0, 1, 127], [128, 254, 255]], np.uint8))
    assert array.dtype == np.uint8


def test_a_second_reference_to_an_array_sees_its_data():
    first, second = read_pickle(pickled(b"(" + ARRAY + b"h\x02t"), "f")
    assert first is second


def test_reads_an_array_as_pickle_does():
    raw = pickled(ARRAY).replace(b"numpy.core", b"numpy._core")  # the name that NumPy 2 has for it
    np.testing.assert_array_equal(
        read_pickle(pickled(ARRAY), "f"), pickle.loads(raw, encoding="latin1")
    )


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (b"cos\nsystem\nU\x0etouch PWNED_IT\x85R", "os.system"),
        (b"cposix\nsystem\nU\x0etouch PWNED_IT\x85R", "posix.system"),
        (b"c__builtin__\neval\nU\x0bopen('x','w')\x85R", "__builtin__.eval"),
        (b"(S'touch PWNED_IT'\nios\nsystem\n", "STRING"),
        (b"(ios\nsystem\n", "INST"),
        (b"cnumpy\nload\nU\x01x\x85R", "numpy.load"),
        (b"cnumpy\nndarray\nK\x01\x85\x81", "NEWOBJ"),
        (b"cnumpy\nndarray\nK\x01\x85R", "numpy.ndarray"),
        (b"cnumpy\ndtype\nU\x01OK\x00K\x01\x87R", "numpy.dtype"),
        (b"U\x01aQ", "BINPERSID"),
        (b"\x82\x01", "EXT1"),
    ],
)
def test_refuses_every_other_name_and_instruction(call, named, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=named) as caught:
        read_pickle(pickled(call), "data_batch_1")
    assert "data_batch_1" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_refuses_code_that_pickle_would_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "run"),)

    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(UserError):
            read_pickle(pickle.dumps({"data": Trap()}, protocol), "f")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"K\x01b",
        b"R",
        b"K\x01R",
        b"K\x01K\x02R",
        b"e",
        b"K\x01e",
        b"]s",
        b"}K\x01K\x02s",
        b"}]K\x02s",
        b"}(U\x01au",
        b"K\x01\x86",
        b"h\x07",
        b"q\x07",
        b"U\x7fshort",
        b"T\xff\xff\xff\xff",
        b"\xff",
        b"cno newline",
        EMPTY + b"K\x01b",
        ARRAY.replace(b"K\x03\x86", b"K\x04\x86"),
        ARRAY.replace(b"(K\x01", b"(K\x02"),
        ARRAY.replace(b"|NNN", b">NNN"),
        ARRAY.replace(b"\x89U\x06", b"\x88U\x06"),
    ],
)
def test_refuses_malformed_pickles(body):
    with pytest.raises(UserError) as caught:
        read_pickle(pickled(body), "f")
    assert "\n" not in str(caught.value)


def test_refuses_every_truncation():
    raw = pickled(b"}q\x00(U\x04data" + ARRAY + b"U\x06labels](K\x01K\x02eu")
    assert read_pickle(raw, "f")["labels"] == [1, 2]
    for length in range(len(raw)):
        with pytest.raises(UserError):
            read_pickle(raw[:length], "f")


@pytest.mark.filterwarnings("ignore:invalid escape sequence")
def test_any_changed_byte_gives_a_value_or_a_user_error():
    raw = pickled(b"}q\x00(U\x04data" + ARRAY + b"U\x06labels](K\x01K\x02eu")
    rng = np.random.default_rng(0)
    for _ in range(3000):
        damaged = bytearray(raw)
        damaged[rng.integers(len(raw))] = rng.integers(256)
        with contextlib.suppress(UserError):
            read_pickle(bytes(damaged), "f")


def test_reads_a_full_size_batch_quickly():
    data = b"T" + (30_720_000).to_bytes(4, "little") + bytes(30_720_000)
    shape = b"(K\x01M\x10'M\x00\x0c\x86"
    names = b"".join(b"U\x0b%07d.pngr" % i + i.to_bytes(4, "little") for i in range(10_000))
    raw = pickled(b"(" + EMPTY + shape + DTYPE + b"\x89" + data + b"tb](" + names + b"et")
    start = time.process_time()
    array, filenames = read_pickle(raw, "f")
    assert time.process_time() - start < 2  # 0.06 s on an idle machine
    assert array.shape == (10_000, 3072)
    assert len(filenames) == 10_000


# Resources that a short pickle can request; more cases in tests/fuzz/corpus/pickles.py


def test_reading_many_arrays_does_not_slow_down_with_the_memo():
    numbered = b"".join(b"K\x01r" + n.to_bytes(4, "little") for n in range(60_000))
    start = time.process_time()
    read_pickle(pickled(numbered + DTYPE + array(b"U\x01x", 1) * 4000), "f")
    assert time.process_time() - start < 3


def test_an_array_is_filled_only_once():
    with pytest.raises(UserError, match="sets the state of"):
        read_pickle(pickled(EMPTY + b"h\x02" + ARRAY[len(EMPTY) :] + b"\x85b"), "f")


def test_arrays_hold_no_more_bytes_than_the_file():
    body = text(600) + b"q\x08" + array(b"h\x08", 600)
    assert read_pickle(pickled(body), "f").shape == (600,)
    with pytest.raises(UserError, match="more bytes than the file"):
        read_pickle(pickled(body + array(b"h\x08", 600)), "f")


def test_limits_can_be_set_per_call():
    raw = pickle.dumps([1] * 30, 2)
    assert read_pickle(raw, "f", Bounds(items=30)) == [1] * 30
    with pytest.raises(UserError, match="more than 29 items"):
        read_pickle(raw, "f", Bounds(items=29))
    with pytest.raises(UserError, match="more than 20 instructions"):
        read_pickle(raw, "f", Bounds(instructions=20))
    with pytest.raises(UserError, match="more than 1 deep"):
        read_pickle(pickle.dumps([[1]], 2), "f", Bounds(depth=1))


def test_the_default_limits_fit_cifar_100():
    """CIFAR-100's training file: two labels and a name for each of 50,000 images."""
    labels = b"](" + b"K\x63" * 50_000 + b"e"
    names = b"](" + b"".join(b"U\x01xr" + n.to_bytes(4, "little") for n in range(50_000)) + b"e"
    fine, coarse, _ = read_pickle(pickled(b"(" + labels + labels + names + b"t"), "f")
    assert len(fine) == len(coarse) == 50_000


def test_a_tuple_is_not_mistaken_for_a_name():
    with pytest.raises(UserError, match="calls a tuple"):
        read_pickle(pickled(b"U\x0bnumpy dtype\x85U\x02u1K\x00K\x01\x87R"), "f")


@pytest.mark.parametrize("arguments", [b"K\x00K\x01", b"\x89\x88"])
def test_reads_bytes_as_old_and_new_numpy_wrote_them(arguments):
    body = ARRAY.replace(b"U\x02u1K\x00K\x01", b"U\x02u1" + arguments)
    assert read_pickle(pickled(body), "f").shape == (2, 3)


def test_control_characters_in_a_name_are_not_printed():
    with pytest.raises(UserError) as caught:
        read_pickle(pickled(b"c\x1b[2J\nsy\xffstem\n"), "f")
    assert r"'\x1b[2J.sy\xffstem'" in str(caught.value)
