"""Users' own data sets: a .zip, a .npz or a .csv with changes to its bytes or its contents."""

import zipfile

import numpy as np
import pytest
from fuzz.corpus.own import CSVS, LABELS, NPZS, PIXELS, PNG, ZIPS, array, npz, zipped
from fuzz.harness import attempt, check, check_apart, mutated
from hypothesis import strategies as st

from minivit.data import Request, find_source
from minivit.errors import UserError

SIZE = (8, 6)
IMAGES = {f"{name}/{n}.png": PNG for n in range(3) for name in ("cats", "dogs")}


@pytest.fixture
def read(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name, raw in IMAGES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(raw)

    def read(suffix: str, raw: bytes, how=check, cached: bool = False):
        path = folder / f"data.{suffix}"
        path.write_bytes(raw)
        request = Request(image_size=SIZE, cache=folder / "cache" if cached else None)
        return how(lambda: find_source(str(path)).load(request), folder)

    return read


def assert_whole(found) -> None:
    """The images have the requested shape, and every label is a class."""
    if isinstance(found, UserError):
        return
    for split in found.splits.values():
        assert split.images.shape == (len(split), 3, *SIZE)
        assert split.images.dtype == np.uint8
        assert 0 <= split.labels.min() <= split.labels.max() < found.num_classes


def places(raw: bytes) -> list[int]:
    """The positions of the uncompressed bytes in a .zip: each header and the directory."""
    starts = [at for at in range(len(raw)) if raw[at : at + 2] == b"PK"]
    return [at + n for at in starts for n in range(46) if at + n < len(raw)]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_with_bytes_changed(read, method):
    raw = zipped(IMAGES, method)
    assert len(read("zip", raw).train) == 4
    attempt(
        150,
        lambda raw, cached: assert_whole(read("zip", raw, cached=cached)),
        raw=mutated(raw, places(raw)),
        cached=st.booleans(),
    )


PARTS = st.one_of(
    st.sampled_from(["a", "b", "A", "train", "val", "TEST", "..", ".", "", "__MACOSX", "猫", "\0"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
)
NAMES = st.lists(
    st.tuples(st.lists(PARTS, max_size=4), st.sampled_from(["1.png", "2.PNG", ".png", "3", ""])),
    max_size=8,
)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_zip_with_other_member_names(read):
    def one(names):
        members = {"/".join((*parts, last)): PNG for parts, last in names}
        members.pop("", None)
        assert_whole(read("zip", zipped(members, zipfile.ZIP_STORED)))

    attempt(150, one, names=NAMES)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_npz_with_bytes_changed(read, method):
    raw = npz(method, class_names=array(["a", "b"]))
    assert len(read("npz", raw).train) == 6
    attempt(150, lambda raw: assert_whole(read("npz", raw)), raw=mutated(raw, places(raw)))


def test_an_npz_with_bytes_of_an_array_changed(read):
    whole = {
        "images": array(PIXELS),
        "labels": array(LABELS),
        "class_names": array(["a", "b"]),
    }
    one_changed = st.sampled_from(list(whole)).flatmap(
        lambda name: st.tuples(st.just(name), mutated(whole[name], list(range(128))))
    )
    attempt(
        150,
        lambda changed: assert_whole(read("npz", npz(**(whole | dict([changed]))))),
        changed=one_changed,
    )


SHAPES = st.lists(st.integers(0, 5), max_size=5).map(tuple)
KINDS = st.sampled_from(["u1", "i8", "<u8", ">i4", "?", "f4", "U1", "S3", "V2", "c8", "M8[s]"])
ARRAYS = st.builds(
    lambda shape, kind, raw: np.resize(np.frombuffer(raw * 48, kind), shape),
    SHAPES,
    KINDS,
    st.binary(min_size=8, max_size=8),
)
NAMED = st.sampled_from(
    ["images", "x", "labels", "y", "x_train", "y_train", "val_images", "val_labels", "class_names"]
)


def test_an_npz_with_other_arrays(read):
    attempt(
        150,
        lambda arrays: assert_whole(
            read("npz", npz(**{name: array(one) for name, one in arrays.items()}))
        ),
        arrays=st.dictionaries(NAMED, ARRAYS, max_size=4),
    )


TABLE = "path,label,split\n" + "".join(
    f'"{name}",{name[:4]},{split}\n'
    for name, split in zip(IMAGES, ["train"] * 4 + ["test"] * 2, strict=True)
)


def test_a_csv_with_bytes_changed(read):
    raw = TABLE.encode()
    assert len(read("csv", raw).train) == 4
    hot = [n for n, byte in enumerate(raw) if byte in b',"\n']
    attempt(200, lambda raw: assert_whole(read("csv", raw)), raw=mutated(raw, hot))


CELLS = st.one_of(
    st.sampled_from([*IMAGES, "data.csv", "..", "cats", "cats", "dogs", "train", "val", "", '"']),
    st.sampled_from(["path", "label", "split", "/dev/null", "x" * 300, "\0", "\r", "\ufeff"]),
    st.text(max_size=5),
)


def test_a_csv_with_other_cells(read):
    def one(rows, header):
        text = "\n".join(",".join(row) for row in ([["path", "label"]] * header + rows))
        assert_whole(read("csv", text.encode("utf-8", "surrogatepass")))

    rows = st.lists(st.lists(CELLS, max_size=4), max_size=8)
    attempt(150, one, rows=rows, header=st.booleans())


CORPUS = [
    (suffix, name)
    for suffix, found in (("zip", ZIPS), ("npz", NPZS), ("csv", CSVS))
    for name in found
]


@pytest.mark.parametrize(("suffix", "name"), CORPUS)
def test_every_known_failure_stays_fixed(read, suffix, name):
    raw = {"zip": ZIPS, "npz": NPZS, "csv": CSVS}[suffix][name]()
    assert read(suffix, raw, check_apart).startswith(("UserError", "Dataset"))
