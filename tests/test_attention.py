"""`minivit.attention`: what it writes and prints, and its error messages."""

import dataclasses
import json
import re
import sys

import numpy as np
import pytest
import tiny
from PIL import Image

from minivit.commands import attention
from minivit.commands.cli import guarded
from minivit.commands.train import run as train
from minivit.data import Dataset, Split
from minivit.engine import Run
from minivit.models import ViTConfig
from minivit.viz import METHODS
from minivit.viz.scores import BASELINES

FIGURES = {
    "gallery",
    "lens",
    "overlays",
    "heads",
    "rollout",
    "distance",
    "similarity",
    "positions",
    "filters",
}


def sample_images():
    """`tiny.dataset()` with masks: the left half."""
    data = tiny.dataset(num_test=20)
    masks = np.zeros((20, 8, 8), bool)
    masks[:, :, :4] = True
    test = Split(data.test.images, data.test.labels, masks)
    return Dataset(data.name, data.train, test, data.class_names)


KINDS = {
    "class token": [],
    "mean": ["--pool", "mean", "--pos-embed", "none"],
    "two class tokens, registers": ["--distilled", "--num-registers", "2"],
}


@pytest.fixture(scope="module", params=KINDS.values(), ids=KINDS)
def trained(request, tmp_path_factory):
    """A finished run."""
    root = tmp_path_factory.mktemp("trained")
    flags = [*request.param, "--lr", "1e-3", "--runs", str(root)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minivit.data.shapes.load", sample_images)
        assert train([*tiny.FLAGS, *flags]) == 0
    (path,) = root.iterdir()
    return Run(path)


@pytest.fixture
def command(capsys, monkeypatch):
    """Run it with arguments; returns its exit status, output and errors."""
    monkeypatch.setattr("minivit.data.shapes.load", sample_images)

    def run(*arguments):
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["attention", *map(str, arguments)])
        status = guarded(lambda: attention.run(sys.argv[1:]))
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def content(page):
    """The data that the page contains."""
    data = re.search(
        r'<script type="application/json" id="data">(.*?)</script>',
        page.read_text(encoding="utf-8"),
    )
    return json.loads(data[1])


def error_line(result):
    status, out, message = result
    assert status == 2
    assert re.fullmatch(r"error: .+\n", message), message
    assert out == ""
    return message


def test_by_default_figures_and_page_are_written_to_the_run(command, trained):
    status, out, err = command(trained.path, "--test", "3")
    assert (status, err) == (0, "")
    folder = trained.path / "attention"
    expected = {*FIGURES, "components", "class_token"}
    if '"pool": "cls"' not in trained.config_file.read_text(encoding="utf-8"):
        expected.discard("class_token")
    if '"pos_embed": "none"' in trained.config_file.read_text(encoding="utf-8"):
        expected.discard("positions")
    assert {path.stem for path in folder.glob("*.png")} == expected
    assert {path.stem for path in folder.glob("*.svg")} == expected
    assert set(out.split()) == {
        str(folder / name) for name in [*(f"{e}.png" for e in expected), "explorer.html"]
    }
    found = content(folder / "explorer.html")
    assert [image["label"] for image in found["images"]] == sample_images().test.labels[:3].tolist()
    assert found["classes"] == list(tiny.NAMES)


def test_images_can_be_named(command, trained, tmp_path):
    for name, color in (("red.png", "red"), ("blue.jpg", "blue")):
        Image.new("RGB", (20, 16), color).save(tmp_path / name)
    page = tmp_path / "pages" / "one.html"
    status, out, _ = command(
        trained.path, tmp_path / "red.png", tmp_path / "blue.jpg", "--html", page
    )
    assert status == 0
    assert out.strip() == str(page)
    assert [image["name"] for image in content(page)["images"]] == ["red.png", "blue.jpg"]
    assert [image["label"] for image in content(page)["images"]] == [None, None]
    assert not (trained.path / "attention" / "red").exists()


def test_the_page_can_show_selected_layers(command, trained, tmp_path):
    command(trained.path, "--html", tmp_path / "a.html", "--test", "1", "--layers", "2")
    assert content(tmp_path / "a.html")["layers"] == [1]
    assert not content(tmp_path / "a.html")["whole"]


def test_the_table_of_scores(command, trained):
    status, out, _ = command(trained.path, "--score", "--count", "10")
    assert status == 0
    rows = [line.split("|")[1].strip() for line in out.splitlines() if line.startswith("|")]
    assert rows == ["method", "---", *METHODS, *BASELINES]
    assert "10 test images; the figure covers 0.50 of the image" in out
    for column in ("pointing game", "best IoU", "energy inside", "deletion", "insertion"):
        assert column in out


def test_head_effects_are_computed_on_request(command, trained, tmp_path):
    status, out, _ = command(trained.path, "--knock-out", "--test", "2", "--save-dir", tmp_path)
    assert status == 0
    assert str(tmp_path / "knock_out.png") in out
    assert (tmp_path / "knock_out.svg").exists()
    page = tmp_path / "page.html"
    assert "with --save-dir" in error_line(command(trained.path, "--knock-out", "--html", page))


def test_only_the_chosen_methods_are_used(command, trained):
    _, out, _ = command(trained.path, "--score", "--count", "4", "--methods", "rollout")
    assert "| rollout |" in out
    assert "relevance" not in out


def test_user_errors_are_reported(command, trained, tmp_path):
    path = trained.path
    assert "no such directory" in error_line(command(tmp_path / "nowhere"))
    assert 'no method "lime"' in error_line(command(path, "--methods", "lime"))
    assert "test is 0" in error_line(command(path, "--test", "0"))
    assert "count is 0" in error_line(command(path, "--score", "--count", "0"))
    assert "no such file" in error_line(
        command(path, tmp_path / "no.png", "--html", tmp_path / "a.html")
    )
    assert "layers 1 to 2" in error_line(
        command(path, "--html", tmp_path / "a.html", "--layers", "3")
    )
    assert "a.png: expected a name that ends in .html" in error_line(
        command(path, "--html", "a.png")
    )
    with pytest.raises(Exception, match="outside the grid of 2 rows and 2 columns"):
        attention.query_token((3, 1), ViTConfig(image_size=8))


def test_query_rows_and_columns_count_from_one():
    cls, mean = (ViTConfig(image_size=(8, 12), pool=pool) for pool in ("cls", "mean"))
    registers = dataclasses.replace(mean, num_registers=2)
    assert attention.query_token((1, 1), cls) == 1
    assert attention.query_token((2, 3), mean) == 5
    assert attention.query_token(None, cls) == 0
    assert attention.query_token(None, mean) == 4
    assert attention.query_token(None, registers) == 6
    assert attention.query_token((1, 1), dataclasses.replace(cls, num_registers=4)) == 5


def photo(folder, height, width):
    path = folder / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)).save(
        path
    )
    return path


def test_a_photo_can_keep_its_aspect_ratio(trained, command, tmp_path):
    path, page = photo(tmp_path, 20, 41), tmp_path / "page.html"
    status, _, _ = command(trained.path, path, "--keep-aspect-ratio", "--html", page)
    assert status == 0
    found = content(page)
    (image,) = found["images"]
    assert found["grid"] == [2, 4]  # 8 × 16.4 rounded to whole patches of 4 pixels
    assert (image["height"], image["width"]) == (8, 16)


def test_a_size_not_divisible_by_the_patch_size_is_refused(trained, command, tmp_path):
    path = photo(tmp_path, 20, 20)
    status, _, err = command(trained.path, path, "--image-size", "10")
    assert status == 2
    assert "10" in err
    assert err.count("\n") == 1
    status, _, err = command(trained.path, "--keep-aspect-ratio")
    assert (status, err.count("\n")) == (2, 1)
