"""`minivit.evaluate` and `minivit.predict`: their output for a trained run."""

import dataclasses
import errno
import importlib
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import tiny
from helpers import needs_posix
from PIL import Image

import minivit
from minivit.commands import COMMANDS, evaluate, predict
from minivit.commands import main as minivit_command
from minivit.commands.cli import guarded
from minivit.commands.train import run as main
from minivit.data import Preprocess, read_image
from minivit.engine import Run, load_model
from minivit.errors import UserError

HERE = Path(__file__).parent


def sample_images():
    return tiny.dataset(num_test=102)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run."""
    root = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minivit.data.shapes.load", sample_images)
        assert main([*tiny.FLAGS, "--lr", "1e-3", "--runs", str(root)]) == 0
    (path,) = root.iterdir()
    return Run(path)


@pytest.fixture
def command(capsys, monkeypatch):
    """Run evaluate or predict with arguments; returns its exit status, output and errors."""
    monkeypatch.setattr("minivit.data.shapes.load", sample_images)

    def run(module, *arguments):
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, arguments)])
        status = guarded(lambda: module.run(sys.argv[1:]))
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def loss_of(logits, labels):
    """Mean cross-entropy."""
    logits = logits.astype("float64")
    of_labels = logits[np.arange(len(labels)), labels]
    return (np.log(np.exp(logits).sum(1)) - of_labels).mean()


def error_line(result):
    """The one-line error message of a command that failed."""
    status, out, message = result
    assert status == 2
    assert out == ""
    assert re.fullmatch(r"error: .+\n", message), message
    return message


def write_image(path, mode="RGB", size=(8, 8), **options):
    pixels = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path, **options)
    return path


# evaluate


@pytest.mark.parametrize("threads", ["1", "3"])
def test_evaluate_reproduces_the_test_result_of_training(command, trained, threads):
    status, out, _ = command(evaluate, trained.path, "--threads", threads)
    assert status == 0
    (test,) = [line for line in trained.metrics() if line["kind"] == "test"]
    assert "Tints, 102 test images" in out
    assert f"accuracy {test['test_accuracy']:.2%}   loss {test['test_loss']:.4f}" in out
    recall = np.diag(test["confusion"]) / np.sum(test["confusion"], 1)
    assert 0 < test["test_accuracy"] < 1, "a model that is always right cannot show a mistake"
    assert f"balanced accuracy {recall.mean():.2%}" in out
    precision = np.diag(test["confusion"]) / np.sum(test["confusion"], 0)
    for k, name in enumerate(tiny.NAMES):
        count = sum(test["confusion"][k])
        assert re.search(
            rf"^{name} +{count} +{100 * recall[k]:.1f}% +{100 * precision[k]:.1f}% ",
            out,
            re.MULTILINE,
        )


def test_evaluate_with_mirror_images_averages_both(command, trained, tmp_path):
    model, test = load_model(trained.path), sample_images().test
    images = model.statistics.normalize(test.images)
    original, mirrored = (model.model(np.ascontiguousarray(x)) for x in (images, images[..., ::-1]))
    expected = loss_of(0.5 * (original + mirrored), test.labels)
    copy = shutil.copytree(trained.path, tmp_path / "copy")
    status, out, _ = command(evaluate, copy, "--flip")
    assert status == 0
    assert "102 test images, each with its mirror image" in out
    assert f"loss {expected:.4f}" in out
    assert f"loss {loss_of(original, test.labels):.4f}" not in out


def test_evaluate_writes_the_same_list_of_mistakes_as_training(command, trained):
    files = [trained.path / name for name in ("mistakes.csv", "mistakes.png")]
    table, _ = (file.read_bytes() for file in files)
    for file in files:
        file.unlink()
    status, out, message = command(evaluate, trained.path)
    assert (status, message) == (0, "")
    assert out.endswith(f"{trained.path}: mistakes.png, mistakes.csv\n")
    assert files[0].read_bytes() == table
    assert files[1].read_bytes().startswith(b"\x89PNG")
    (test,) = trained.test_results()
    wrong = np.sum(test["confusion"]) - np.trace(test["confusion"])
    assert table.count(b"\n") == 1 + wrong > 1


def test_evaluate_reports_images_that_differ_from_training(command, trained, monkeypatch):
    """A folder that gained an image is split differently."""
    other = tiny.dataset(num_train=81, num_test=102)
    monkeypatch.setattr("minivit.data.shapes.load", lambda: other)
    status, out, message = command(evaluate, trained.path)
    assert status == 0
    assert "accuracy" in out
    assert re.fullmatch(
        "warning: Tints: these are not the images that the run was trained with; some of the test "
        "images may have been training images\n",
        message,
    )


def test_evaluate_warns_about_a_read_only_run(command, trained, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    before = (trained.path / "mistakes.csv").read_bytes()
    monkeypatch.setattr(os, "replace", refuse)
    status, out, message = command(evaluate, trained.path)
    assert status == 0
    assert "accuracy" in out
    path = trained.path / "mistakes.png"
    assert message == f"warning: {path}: cannot be written (Read-only file system)\n"
    assert (trained.path / "mistakes.csv").read_bytes() == before


def test_evaluate_says_nothing_about_a_run_without_a_digest(command, trained, monkeypatch):
    from minivit.engine.state import TrainState

    read = TrainState.from_dict
    monkeypatch.setattr(
        TrainState,
        "from_dict",
        lambda state, where: read({**state, "data_digest": ""}, where),
    )
    status, _, message = command(evaluate, trained.path)
    assert (status, message) == (0, "")


def test_evaluate_refuses_a_folder_that_is_not_a_run(command, trained, tmp_path):
    assert "no such directory" in error_line(command(evaluate, tmp_path / "nowhere"))
    assert "not a run" in error_line(command(evaluate, tmp_path))
    assert "cuda:99" in error_line(command(evaluate, trained.path, "--device", "cuda:99"))


def test_evaluate_refuses_a_truncated_checkpoint(command, trained, tmp_path):
    copy = Run.create(tmp_path, tiny.CONFIG)
    copy.best.write_bytes(trained.best.read_bytes()[:-10])
    assert str(copy.best) in error_line(command(evaluate, copy.path))


# predict


def lines(out):
    """{class: percent} of each image."""
    found = []
    for line in out.splitlines():
        match = re.fullmatch(r" *(\d+\.\d)%  (\w+)", line)
        if match:
            found[-1][match[2]] = float(match[1])
        else:
            found.append({})
    return found


def test_predict_lists_the_most_probable_classes_of_each_image(command, trained, tmp_path):
    paths = [write_image(tmp_path / "a.png"), tmp_path / "b.png"]
    Image.new("RGB", (8, 8), (200, 40, 40)).save(paths[1])
    status, out, _ = command(predict, trained.path, *paths)
    assert status == 0
    assert [line for line in out.splitlines() if line.endswith(".png")] == list(map(str, paths))

    found = load_model(trained.path)
    for path, error_line in zip(paths, lines(out), strict=True):
        pixels = np.asarray(Image.open(path)).transpose(2, 0, 1)[None]
        logits = found.model(found.statistics.normalize(pixels))[0].astype(np.float64)
        probs = np.exp(logits) / np.exp(logits).sum()
        order = np.argsort(-probs)
        assert list(error_line) == [tiny.NAMES[k] for k in order]
        np.testing.assert_allclose(list(error_line.values()), 100 * probs[order], atol=0.051)


def test_predict_with_few_classes_sums_to_less_than_one(command, trained, tmp_path):
    _, out, _ = command(predict, trained.path, write_image(tmp_path / "a.png"), "--top", "2")
    (error_line,) = lines(out)
    assert len(error_line) == 2
    first, second = error_line.values()
    assert first >= second
    assert first + second < 100


def test_predict_accepts_a_checkpoint_file(command, trained, tmp_path):
    path = write_image(tmp_path / "a.png")
    assert command(predict, trained.best, path) == command(predict, trained.path, path)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
@pytest.mark.parametrize("size", [(8, 8), (300, 200), (3, 50)])
def test_any_image_is_converted_to_the_model_input(tmp_path, mode, size):
    """The image is darker on the left."""
    width, height = size
    levels = np.repeat(np.linspace(20, 230, width).astype(np.uint8)[None], height, 0)
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    Image.fromarray(levels).convert("RGB").convert(mode).save(path)
    found = read_image(path, Preprocess((8, 12)))
    assert found.shape == (3, 8, 12)
    assert found.dtype == np.uint8
    assert found[..., 8:].mean() - found[..., :4].mean() > 50
    if mode in ("1", "L", "LA"):
        np.testing.assert_array_equal(found[0], found[2])


def test_an_image_of_the_right_size_is_unchanged(tmp_path):
    path = write_image(tmp_path / "a.png", size=(12, 8))
    expected = np.asarray(Image.open(path)).transpose(2, 0, 1)
    np.testing.assert_array_equal(read_image(path, Preprocess((8, 12))), expected)


def test_the_center_of_a_wide_image_is_used(tmp_path):
    pixels = np.zeros((8, 24, 3), np.uint8)
    pixels[:, 8:16] = 250
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png", Preprocess((8, 8))).min() > 200


def test_an_image_is_rotated_by_its_exif_orientation(tmp_path):
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:, :4] = 255  # light on the left
    exif = Image.Exif()
    exif[0x0112] = 6  # to be rotated 90° clockwise: light at the top
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    found = read_image(tmp_path / "a.png", Preprocess((8, 8)))
    assert found[:, :4].min() == 255
    assert found[:, 4:].max() == 0


def test_sixteen_bit_grayscale_keeps_its_shades(tmp_path):
    ramp = np.arange(8, dtype=np.uint16) * 8000
    Image.fromarray(np.tile(ramp, (8, 1))).save(tmp_path / "a.png")
    found = read_image(tmp_path / "a.png", Preprocess((8, 8)))
    np.testing.assert_allclose(found[0, 0], ramp / 257, atol=1)


def test_a_missing_image_is_reported(command, trained, tmp_path):
    path = tmp_path / "nowhere.png"
    assert f"{path}: no such file" in error_line(command(predict, trained.path, path))
    assert "no image given" in error_line(command(predict, trained.path))


def test_a_file_that_is_not_an_image_is_refused(command, trained, tmp_path):
    path = tmp_path / "a.png"
    for content in (b"", b"words", b"P6\n8"):
        path.write_bytes(content)
        assert str(path) in error_line(command(predict, trained.path, path))
    assert str(tmp_path) in error_line(command(predict, trained.path, tmp_path))


@pytest.mark.parametrize("kind", ["png", "jpg", "gif", "bmp", "tif", "webp", "ppm"])
def test_a_truncated_image_is_refused(command, trained, tmp_path, kind):
    path = write_image(tmp_path / f"a.{kind}", size=(64, 64))
    whole = path.read_bytes()
    for fraction in (0.3, 0.6):
        path.write_bytes(whole[: int(fraction * len(whole))])
        assert str(path) in error_line(command(predict, trained.path, path))


@pytest.mark.parametrize("kind", ["png", "jpg", "gif", "tif", "ppm"])
def test_a_corrupted_image_raises_at_most_a_user_error(tmp_path, kind):
    rng, path = np.random.default_rng(0), write_image(tmp_path / f"a.{kind}", size=(12, 12))
    whole, refused = path.read_bytes(), 0
    for _ in range(60):
        content = bytearray(whole)
        for i in rng.integers(min(len(content), 100), size=3):
            content[i] = rng.integers(256)
        path.write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's warnings about odd metadata
            try:
                read_image(path, Preprocess((8, 8)))
            except UserError:
                refused += 1
    assert refused > 0


# minivit


def called(*arguments):
    """Run python with arguments in a separate process."""
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, encoding="utf-8", check=False
    )


def test_the_version_is_printed(capsys):
    assert minivit_command(["--version"]) == 0
    assert capsys.readouterr().out == f"minivit {minivit.__version__}\n"


def test_the_package_lists_its_commands():
    done = called("-m", "minivit")
    assert done.returncode == 0
    for command in COMMANDS:
        assert f"minivit {command} " in done.stdout
        assert importlib.util.find_spec(f"minivit.commands.{command}")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command):
    done = called("-m", "minivit", command, "--help")
    assert done.returncode == 0
    assert f"usage: minivit {command}" in done.stdout


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - {"trace", "models"}))
def test_a_command_is_also_a_module_unless_it_would_hide_a_public_name(command):
    done = called("-m", f"minivit.{command}", "--help")
    assert done.returncode == 0
    assert f"usage: minivit {command}" in done.stdout


def test_no_module_hides_a_public_name():
    import minivit

    for name in minivit.__all__:
        before = getattr(minivit, name)
        if importlib.util.find_spec(f"minivit.{name}"):
            importlib.import_module(f"minivit.{name}")
        assert getattr(minivit, name) is before


def test_a_mistyped_command_gets_a_suggestion():
    done = called("-m", "minivit", "trian", "--quick")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: 'trian' is not a command; did you mean minivit train? minivit --help lists them\n"
    )


@needs_posix
def test_a_closed_pipe_is_not_an_error(tmp_path):
    """`minivit | head -1` succeeds, and `minivit train … | head -1` continues training."""
    flags = " ".join(shlex.quote(flag) for flag in ["--runs", str(tmp_path), *tiny.FLAGS])
    for command, status in (("-m minivit", 0), (f"driver.py none step:1 {flags}", 0)):
        line = f"set -o pipefail; {shlex.quote(sys.executable)} {command} | head -1"
        done = subprocess.run(
            ["bash", "-c", line], capture_output=True, encoding="utf-8", cwd=HERE, check=False
        )
        assert (done.returncode, done.stderr) == (status, "")
    (run,) = tmp_path.iterdir()
    assert Run(run).metrics()[-1]["kind"] == "test"


def test_a_run_is_evaluated_only_on_matching_classes(command, trained, monkeypatch):
    other = dataclasses.replace(tiny.dataset(), class_names=("a", "b", "c", "d"))
    monkeypatch.setattr("minivit.data.shapes.load", lambda: other)
    assert "expected the data set that it was trained on" in error_line(
        command(evaluate, trained.path)
    )
