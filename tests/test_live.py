"""`minivit live`: what it writes and prints, and its error messages."""

import json
import re

import pytest
import tiny
from PIL import Image

from minivit.commands import attention, live
from minivit.commands.cli import guarded
from minivit.commands.train import run as train


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The directory of a finished run."""
    root = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minivit.data.shapes.load", tiny.dataset)
        assert train([*tiny.FLAGS, "--epochs", "1", "--runs", str(root)]) == 0
    (path,) = root.iterdir()
    return path


@pytest.fixture
def command(capsys, monkeypatch):
    """Run it with arguments; returns its exit status, output and errors."""
    monkeypatch.setattr("minivit.data.shapes.load", tiny.dataset)

    def run(*arguments):
        capsys.readouterr()
        status = guarded(lambda: live.run(list(map(str, arguments))))
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def content(page):
    """The data that the page contains."""
    text = page.read_text(encoding="utf-8")
    return json.loads(
        re.search(r'<script type="application/json" id="data">(.*?)</script>', text)[1]
    )


def test_by_default_the_page_is_written_to_the_run_with_test_images(command, trained):
    page = trained / "live.html"
    assert command(trained, "--test", "3") == (0, f"{page}\n", "")
    found = content(page)
    assert [image["label"] for image in found["images"]] == tiny.dataset().test.labels[:3].tolist()
    assert found["classes"] == list(tiny.NAMES)
    assert found["title"] == "A Vision Transformer trained on Tints"


def test_images_path_and_title_can_be_chosen(command, trained, tmp_path):
    Image.new("RGB", (20, 16), "red").save(tmp_path / "red.png")
    (tmp_path / "words.png").write_text("words", encoding="utf-8")
    page = tmp_path / "pages" / "one.html"
    images = ["--image", tmp_path / "red.png", tmp_path / "words.png"]
    status, out, err = command(trained, *images, "--html", page, "--title", "Mine")
    assert (status, out) == (1, f"{page}\n")
    assert re.fullmatch(r"error: .*words\.png.*\n", err)
    found = content(page)
    assert found["title"] == "Mine"
    assert [(image["name"], image["label"]) for image in found["images"]] == [("red.png", None)]


def test_a_tour_and_full_precision_weights(command, trained, tmp_path):
    tour = [{"text": "A sentence.", "state": "positions=off"}]
    (tmp_path / "tour.json").write_text(json.dumps(tour), encoding="utf-8")
    page = tmp_path / "page.html"
    assert command(trained, "--tour", tmp_path / "tour.json", "--html", page)[0] == 0
    found = content(page)
    assert (found["tour"], found["model"]["precision"]) == (tour, "float16")
    assert command(trained, "--float32", "--html", page)[0] == 0
    found = content(page)
    assert (found["tour"], found["model"]["precision"]) == (None, "float32")


def test_attention_live_writes_the_same_page(command, trained, tmp_path, capsys):
    assert command(trained, "--test", "3", "--html", tmp_path / "one.html")[0] == 0
    flags = [str(trained), "--test", "3", "--live", "--html"]
    assert attention.run([*flags, str(tmp_path / "other.html")]) == 0
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "other.html").read_bytes()
    assert guarded(lambda: attention.run([*flags, "page.html", "--image-size", "16"])) == 2
    assert "--image-size has no effect with --live" in capsys.readouterr().err


def test_a_user_error_is_reported_in_one_line(command, trained, tmp_path):
    for arguments, expected in (
        ([trained, "--html", "page.txt"], r"expected a name that ends in \.html"),
        ([tmp_path / "nowhere"], "nowhere"),
        ([trained, "--tour", tmp_path / "none.json"], "none.json: no such file"),
        ([trained, "--test", "65"], "use a smaller --test"),
    ):
        status, out, err = command(*arguments)
        assert (status, out) == (2, "")
        assert re.fullmatch(rf"error: .*{expected}.*\n", err)


def test_a_model_that_the_page_cannot_run_is_refused_before_images_are_read(command, tmp_path):
    flags = ["--num-registers", "2", "--epochs", "1", "--runs", str(tmp_path)]
    assert train([*tiny.FLAGS, *flags]) == 0
    (path,) = tmp_path.iterdir()
    status, _, err = command(path, "--image", "nowhere.png")
    assert status == 2
    assert err.startswith("error: num_registers is 2, which the live page cannot run; ")
    assert not (path / "live.html").exists()
