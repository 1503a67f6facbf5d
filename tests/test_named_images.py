"""Many images as arguments of `minivit predict` and `attention`: folders, batches, tables,
unreadable files."""

import csv
import io
import json
import os
import shutil

import numpy as np
import pytest
import tiny
from PIL import Image

from minivit.commands import attention, images, predict
from minivit.commands.cli import guarded
from minivit.data import Preprocess, read_image
from minivit.engine import load_model


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The directory of a finished run."""
    trainer = tiny.trainer(tmp_path_factory.mktemp("trained"))
    assert trainer.fit()
    return trainer.run.path


@pytest.fixture
def folder(tmp_path):
    """Seven images."""
    images = tmp_path / "images"
    images.mkdir()
    for number in range(7):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(images / f"{number}.png")
    return images


@pytest.fixture
def command(capfdbinary):
    """Run a command with arguments; returns its exit status, output and errors."""

    def run(module, *arguments):
        status = guarded(lambda: module.run([str(word) for word in arguments]))
        captured = capfdbinary.readouterr()
        return status, captured.out.decode(), captured.err.decode()

    return run


def probabilities(run, paths):
    """The probabilities, image by image, in float64."""
    found = load_model(run)
    for path in paths:
        pixels = read_image(path, Preprocess((8, 8)))[None]
        logits = found.model(found.statistics.normalize(pixels))[0].astype(np.float64)
        yield np.exp(logits) / np.exp(logits).sum()


def test_a_folder_gives_the_same_predictions_as_its_files(command, trained, folder):
    files = sorted(folder.iterdir())
    status, out, err = command(predict, trained, folder)
    assert (status, err) == (0, "")
    assert (status, out, err) == command(predict, trained, *files)
    assert [line for line in out.splitlines() if line.endswith(".png")] == list(map(str, files))


def test_images_are_read_in_batches_and_never_all_at_once(command, trained, folder, monkeypatch):
    expected = command(predict, trained, folder)
    seen = []
    model = type(load_model(trained).model)
    call = model.__call__
    monkeypatch.setattr(images, "BATCH", 3)
    monkeypatch.setattr(model, "__call__", lambda self, x: seen.append(len(x)) or call(self, x))
    assert command(predict, trained, folder) == expected
    assert seen == [3, 3, 1]


def test_an_unreadable_image_is_reported_and_the_rest_predicted(command, trained, folder):
    files = sorted(folder.iterdir())
    expected = command(predict, trained, *files[:3], *files[4:])
    files[3].write_bytes(b"words")
    status, out, err = command(predict, trained, folder, folder / "gone.png")
    assert (status, out) == (1, expected[1])
    lines = err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"error: {files[3]}: not an image")
    assert lines[1] == f"error: {folder / 'gone.png'}: no such file"


def test_a_folder_without_images_is_reported_in_one_line(command, trained, tmp_path):
    for module in (predict, attention):
        (tmp_path / "empty").mkdir(exist_ok=True)
        status, out, err = command(module, trained, tmp_path / "empty")
        assert (status, out) == (2, "")
        assert err.startswith(f"error: {tmp_path / 'empty'}: a folder without images")


def test_csv_and_json_tables(command, trained, folder):
    files = sorted(folder.iterdir())
    files[0] = files[0].rename(folder / 'a "name", with 猫\n.png')
    files.sort()
    expected = np.stack(list(probabilities(trained, files)))
    best = [tiny.NAMES[k] for k in expected.argmax(1)]
    table, listing = folder / "new" / "a.csv", folder / "new" / "a.json"
    status, out, _ = command(predict, trained, folder, "--csv", table, "--json", listing)
    assert (status, out) == (0, f"{table}\n{listing}\n")

    rows = list(csv.DictReader(io.StringIO(table.read_bytes().decode("utf-8"), newline="")))
    assert [row["path"] for row in rows] == list(map(str, files))
    assert [row["class"] for row in rows] == best
    assert [row["probability"] for row in rows] == [row[f"p({row['class']})"] for row in rows]
    for name, column in zip(tiny.NAMES, expected.T, strict=True):
        np.testing.assert_allclose([float(row[f"p({name})"]) for row in rows], column, rtol=1e-4)

    content = json.loads(listing.read_bytes())
    assert content["classes"] == list(tiny.NAMES)
    assert [one["path"] for one in content["images"]] == list(map(str, files))
    assert [one["class"] for one in content["images"]] == best
    found = [one["probabilities"] for one in content["images"]]
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert [max(row) for row in found] == [one["probability"] for one in content["images"]]

    for flag, path in (("--csv", table), ("--json", listing)):
        status, out, err = command(predict, trained, folder, flag, "-")
        assert (status, out.encode(), err) == (0, path.read_bytes(), ""), "nothing else is there"


def test_a_file_name_that_is_not_valid_text_keeps_its_bytes(command, trained, folder):
    name = os.fsencode(folder) + b"/\xff.png"
    os.rename(folder / "0.png", name)
    table = folder / "a.csv"
    assert command(predict, trained, os.fsdecode(name), "--csv", table)[0] == 0
    assert table.read_bytes().splitlines()[1].startswith(name)
    listing = folder / "a.json"
    assert command(predict, trained, os.fsdecode(name), "--json", listing)[0] == 0
    assert os.fsencode(json.loads(listing.read_bytes())["images"][0]["path"]) == name


def test_a_table_never_overwrites_an_image(command, trained, folder):
    """`--csv *.png` would do so."""
    files = sorted(folder.iterdir())
    before = files[0].read_bytes()
    for form in ("csv", "json"):
        status, _, err = command(predict, trained, f"--{form}", *files)
        assert (status, files[0].read_bytes()) == (2, before)
        assert f"expected a name that ends in .{form}, or -" in err
    status, _, err = command(predict, trained, folder, "--csv", "-", "--json", "-")
    assert status == 2
    assert "both write to standard output" in err


def test_overflowing_weights_give_no_prediction(command, trained, folder, monkeypatch):
    call = predict.load_any

    def broken(*arguments):
        found = call(*arguments)
        found.model.head.bias.data[...] = np.inf
        return found

    monkeypatch.setattr(predict, "load_any", broken)
    with np.errstate(invalid="ignore"):
        status, out, err = command(predict, trained, folder, "--json", "-")
    assert (status, out) == (2, "")
    assert "not finite" in err


def test_attention_accepts_a_folder(command, trained, folder):
    page = folder / "a.html"
    (folder / "3.png").write_bytes(b"words")
    status, out, err = command(attention, trained, folder, "--html", page)
    assert (status, out) == (1, f"{page}\n")
    assert err.count("\n") == 1
    assert "3.png: not an image" in err
    text = page.read_text(encoding="utf-8")
    assert [f'"name":"{number}.png"' in text for number in range(7)] == [True] * 3 + [False] + [
        True
    ] * 3


def test_a_page_with_file_names_that_are_not_valid_text(command, trained, folder):
    run, image = (os.fsdecode(os.fsencode(folder) + end) for end in (b"/run\xff", b"/\xff.png"))
    shutil.copytree(trained, run)
    os.rename(folder / "0.png", image)
    status, _, err = command(attention, run, image, "--html", folder / "a.html")
    assert (status, err) == (0, "")
    text = (folder / "a.html").read_text(encoding="utf-8")
    assert r'"name":"\udcff.png"' in text


def test_attention_draws_a_limited_number_of_images(command, trained, folder, monkeypatch):
    monkeypatch.setattr("minivit.commands.images.MAX_IMAGES", 6)
    status, _, err = command(attention, trained, folder, "--html", folder / "a.html")
    message = "error: 7 images; the figures and the page show at most 6: give fewer\n"
    assert (status, err) == (2, message)
    status, _, err = command(attention, trained, "--test", "7")
    assert status == 2
    assert "use a smaller --test" in err


def test_attention_needs_a_readable_image(command, trained, folder):
    for path in folder.iterdir():
        path.write_bytes(b"words")
    status, out, err = command(attention, trained, folder, "--html", folder / "a.html")
    assert (status, out, len(err.splitlines())) == (2, "", 8)
    assert err.endswith("error: none of the images can be read; expected at least one to draw\n")


@pytest.mark.parametrize("name", ["predict", "attention", "live", "trace"])
def test_help_lists_the_formats(name, capsys):
    from minivit.commands import run

    with pytest.raises(SystemExit):
        run(name, ["--help"])
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "JPEG, PNG, GIF, BMP, TIFF, WebP, PBM, PGM or PPM" in text
