"""A single-channel model in every command: MNIST, a color photo, published weights."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import tiny
from PIL import Image
from synthetic_data import idx_files, write_folder

from minivit.commands import run
from minivit.data import SOURCES, Statistics
from minivit.data.mnist import MNIST
from minivit.engine import Run
from minivit.interop import load

FEW = dataclasses.replace(MNIST, counts={"train": 60, "t10k": 12})
SMALL = ["--dim", "32", "--depth", "2", "--num-heads", "2", "--epochs", "1", "--batch-size", "10"]
SMALL += ["--threads", "1"]

pytestmark = pytest.mark.filterwarnings("ignore:.*could not be verified")


def same_photograph_twice(folder: Path) -> None:
    """In color, and in grayscale by Pillow."""
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "color.png")
    Image.fromarray(pixels).convert("L").save(folder / "gray.png")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A folder with a data set, two images, and two runs: `gray` and `color`."""
    root = tmp_path_factory.mktemp("gray")
    write_folder(root / "data" / "mnist", idx_files(FEW)[0])
    same_photograph_twice(root)
    source = dataclasses.replace(SOURCES["mnist"], load=FEW.load_for, find=FEW.find)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SOURCES, "mnist", source)
        patch.setattr("minivit.data.shapes.load", lambda: tiny.dataset())
        patch.chdir(root)
        for name, dataset in (("gray", "mnist"), ("color", "shapes")):
            flags = [*SMALL, "--image-size", "28", "--patch-size", "4", "--pool", "cls"]
            assert run("train", ["--dataset", dataset, *flags, "--runs", name]) == 0
        yield root


@pytest.fixture
def workdir(workspace, monkeypatch):
    monkeypatch.chdir(workspace)
    return workspace


@pytest.fixture
def gray(workdir):
    (path,) = (workdir / "gray").iterdir()
    return path


@pytest.fixture
def color(workdir):
    (path,) = (workdir / "color").iterdir()
    return path


def new_run(folder: Path) -> Run:
    (path,) = folder.iterdir()
    return Run(path)


def test_the_model_has_the_channels_of_the_recipe(gray):
    vit = Run(gray).read_config().vit
    assert (vit.in_channels, vit.image_size, vit.num_classes) == (1, 28, 10)
    assert len(load(gray).statistics.mean) == 1


def test_evaluate(gray, capsys):
    assert run("evaluate", [str(gray)]) == 0
    assert "12 test images" in capsys.readouterr().out


def test_predict_converts_a_photo_to_grayscale(gray, workdir, capsys):
    assert run("predict", [str(gray), "color.png", "gray.png", "--json", "-"]) == 0
    in_color, in_gray = json.loads(capsys.readouterr().out)["images"]
    assert in_color["probabilities"] == pytest.approx(in_gray["probabilities"], abs=1e-6)


def test_attention(gray, workdir, tmp_path, capsys):
    assert run("attention", [str(gray), "--test", "2", "--save-dir", str(tmp_path)]) == 0
    assert (tmp_path / "filters.png").exists()
    flags = ["--methods", "rollout", "--score", "--count", "4", "--html", str(tmp_path / "x.html")]
    assert run("attention", [str(gray), "color.png", *flags]) == 0
    assert "4 test images" in capsys.readouterr().out


def test_trace(gray, workdir, capsys):
    assert run("trace", [str(gray), "color.png", "--only", "patch_embed"]) == 0
    assert "16 × 32" in capsys.readouterr().out  # the first layer has 4 · 4 · 1 inputs


def test_resume(gray, capsys):
    assert run("train", ["--resume", str(gray)]) == 0
    assert "is finished" in capsys.readouterr().out


@pytest.mark.parametrize("pretext", ["colour", "colours", "pixels"])
def test_pretrain(workdir, tmp_path, pretext):
    flags = ["--dataset", "mnist", *SMALL, "--runs", str(tmp_path), "--pretext", pretext]
    assert run("pretrain", flags) == 0
    assert (new_run(tmp_path).path / "patches.png").exists()


def test_study(workdir, tmp_path, capsys):
    flags = ["pooling", "--dataset", "mnist", "--quick", "--runs", str(tmp_path)]
    assert run("study", flags) == 0
    assert "| cls |" in capsys.readouterr().out
    (folder,) = tmp_path.iterdir()
    member = next(path for path in folder.iterdir() if path.is_dir())
    assert Run(member).read_config().vit.in_channels == 1


@pytest.mark.parametrize(("dataset", "channels"), [("mnist", "3"), ("shapes", "1")])
def test_a_flag_converts_between_color_and_grayscale(workdir, tmp_path, dataset, channels, capsys):
    flags = ["--dataset", dataset, "--in-channels", channels, *SMALL, "--image-size", "28"]
    assert run("train", [*flags, "--runs", str(tmp_path)]) == 0
    trained = new_run(tmp_path)
    assert str(trained.read_config().vit.in_channels) == channels
    assert run("evaluate", [str(trained.path)]) == 0
    assert run("attention", [str(trained.path), "--html", str(tmp_path / "x.html")]) == 0


@pytest.mark.parametrize(("start", "dataset"), [("gray", "shapes"), ("color", "mnist")])
def test_finetune_converts_images_to_the_models_channels(
    workdir, tmp_path, request, start, dataset
):
    path = request.getfixturevalue(start)
    flags = ["--from", str(path), "--dataset", dataset, "--epochs", "1", "--batch-size", "10"]
    assert run("finetune", [*flags, "--image-size", "28", "--runs", str(tmp_path)]) == 0
    tuned = new_run(tmp_path)
    assert tuned.read_config().vit.in_channels == {"gray": 1, "color": 3}[start]
    assert run("evaluate", [str(tuned.path)]) == 0


# Published weights

MEAN, STD = (0.2, 0.5, 0.9), (0.1, 0.2, 0.3)


@pytest.fixture
def published(gray, tmp_path):
    """The grayscale run as Hugging Face files, with mean and standard deviation for RGB, as is
    common."""
    assert run("export", [str(gray), str(tmp_path / "hf"), "--to", "huggingface"]) == 0
    file = tmp_path / "hf" / "preprocessor_config.json"
    settings = json.loads(file.read_text(encoding="utf-8"))
    settings |= {"image_mean": list(MEAN), "image_std": list(STD)}
    file.write_text(json.dumps(settings), encoding="utf-8")
    return tmp_path / "hf"


def test_published_grayscale_weights_use_the_luma_of_rgb_statistics(published):
    """The mean used by `predict` is then the luma of the file's channel means."""
    found = load(published)
    flat = np.full((1, 1, 3), np.rint(np.multiply(MEAN, 255))).astype(np.uint8)
    luma = np.asarray(Image.fromarray(flat).convert("L")).item()
    assert found.statistics.mean[0] == pytest.approx(luma / 255, abs=1 / 255)
    assert found.statistics.std == pytest.approx((0.1 * 0.299 + 0.2 * 0.587 + 0.3 * 0.114,))
    assert any("mean is given for RGB" in line for line in found.notes)


def test_published_grayscale_weights_work_in_the_commands(published, workdir, tmp_path, capsys):
    name = str(published)
    assert run("predict", [name, "color.png"]) == 0
    assert run("attention", [name, "color.png", "--html", str(tmp_path / "x.html")]) == 0
    assert run("trace", [name, "color.png", "--only", "head.dbias"]) == 0
    flags = ["--from", name, "--dataset", "mnist", "--epochs", "1", "--batch-size", "10"]
    assert run("finetune", [*flags, "--runs", str(tmp_path / "runs")]) == 0
    assert new_run(tmp_path / "runs").read_config().vit.in_channels == 1


def test_published_grayscale_weights_without_statistics(gray, tmp_path, capsys):
    file = tmp_path / "vit.safetensors"
    assert run("export", [str(gray), str(file), "--to", "timm"]) == 0
    found = load(file, num_heads=2)
    assert found.statistics == Statistics((0.5,), (0.5,))
    assert "mean is not in the file; (0.5,) is assumed, as in most of this family" in found.notes
