"""`python -m minivit.train`: its flags, its output files, and its error messages."""

import dataclasses
import errno
import json
import os
import pkgutil
import re
import stat
from pathlib import Path

import numpy as np
import pytest
import tiny
from PIL import Image

from minivit.commands import pretrain, train
from minivit.commands.cli import guarded
from minivit.commands.train import parse_arguments
from minivit.commands.train import run as main
from minivit.config import overlay
from minivit.data import Augmentation
from minivit.data.published import Published
from minivit.engine import QUICK, RECIPES, Run, TrainConfig, Trainer, load_checkpoint
from minivit.engine import recipes as module
from minivit.engine.run import to_json
from minivit.models import ViTConfig
from minivit.models.config import preset_fields, preset_for_data
from minivit.models.cost import num_parameters

MODELS = ("Micro/4", "hybrid-Nano/4", "resnet-11")
UNREACHABLE = "http://127.0.0.1:9/"


@pytest.fixture(autouse=True)
def _tiny_shapes_in_an_empty_directory(tmp_path, monkeypatch):
    monkeypatch.setattr("minivit.data.shapes.load", tiny.dataset)
    monkeypatch.setattr("minivit.data.download.PAUSE", 0.0)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def error_line(capsys):
    """Run a command that must fail; returns its one-line message."""

    def run(*flags):
        capsys.readouterr()
        assert guarded(lambda: main(list(flags))) == 2
        message = capsys.readouterr().err
        assert re.fullmatch(r"error: .+\n", message), message
        return message

    return run


def only_run():
    (path,) = Path("runs").iterdir()
    return Run(path)


def refused(capsys, *flags):
    """The parser's message about flags that it does not accept."""
    with pytest.raises(SystemExit) as stop:
        main(list(flags))
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert "Traceback" not in message
    return message


# Flags


def test_every_field_of_a_train_config_is_a_flag(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    flags = re.findall(r"--[a-z0-9-]+", capsys.readouterr().out)
    for config in (TrainConfig, ViTConfig, Augmentation):
        for field in dataclasses.fields(config):
            if field.name not in ("vit", "augmentation"):
                assert f"--{field.name}".replace("_", "-") in flags


CHANGED = TrainConfig(
    dataset="shapes",
    data_dir=Path("/some where/else"),
    data_url="http://example.org/cifar/",
    resize="pad",
    test_fraction=0.3,
    strict=True,
    cache=False,
    val_fraction=0.1,
    stratify=True,
    train_images=77,
    balance=True,
    pretext="pixels",
    vit=ViTConfig(
        image_size=(8, 16),
        patch_size=2,
        in_channels=1,
        num_classes=7,
        dim=24,
        depth=3,
        num_heads=3,
        mlp_ratio=1.5,
        stem="conv",
        residual_convs=2,
        stages=(1, 1),
        pool="mean",
        pos_embed="sincos2d",
        representation_size=5,
        activation="gelu_tanh",
        norm="rmsnorm",
        attention_init="mimetic",
        layer_scale=0.5,
        mlp="swiglu",
        num_registers=2,
        embed_prefix=False,
        rope="axial",
        rope_theta=50.0,
        rope_grid=7,
        norm_eps=1e-5,
        pre_norm=True,
        final_norm="pooled",
        qkv_bias=False,
        qk_norm=True,
        dropout=0.1,
        attn_dropout=0.2,
        drop_path=1e-7,
    ),
    augmentation=Augmentation(
        crop=2,
        flip=0.25,
        erasing=0.1,
        mixup=0.8,
        cutmix=1.5,
        mix_prob=0.75,
        rand_augment=2,
        magnitude=7,
    ),
    epochs=3,
    batch_size=7,
    optimizer="sgd",
    lr=1 / 3,
    final_lr=1e-5,
    schedule="cosine",
    warmup=0.1,
    weight_decay=0.0,
    betas=(0.8, 0.95),
    momentum=0.5,
    nesterov=True,
    clip_norm=None,
    trainable="attention",
    label_smoothing=0.2,
    ema_decay=0.999,
    seed=12,
    device="cuda:1",
    precision="bf16",
    graph=False,
    threads=3,
    micro_batch=5,
    log_every=9,
    eval_every=4,
    save_every=11,
    timeout=60,
)


CONFLICTING = {
    "distilled": "a class token alone",
    "patch_dropout": "positions that are added",
    "train_sizes": "positions that are added",
}
"""Fields that do not go with what CHANGED has, and what they need."""


def test_the_changed_config_changes_every_field():
    default = TrainConfig()
    for one, other in ((CHANGED, default), (CHANGED.vit, default.vit)):
        for field in dataclasses.fields(one):
            if field.name in CONFLICTING:
                continue
            assert getattr(one, field.name) != getattr(other, field.name), field.name
    assert all(
        getattr(CHANGED.augmentation, field.name) != field.default
        for field in dataclasses.fields(Augmentation)
    )


@pytest.mark.parametrize("config", [TrainConfig(), CHANGED, tiny.CONFIG])
def test_the_config_of_a_run_gives_the_same_run(tmp_path, config):
    file = tmp_path / "config.json"
    file.write_text(to_json(config), encoding="utf-8")
    assert parse_arguments(["--config", str(file)], {}).train == config
    assert parse_arguments([f"--config={file}"], {}).train == config


def test_flags_can_override_a_config_with_none_false_and_tuples(tmp_path):
    file = tmp_path / "config.json"
    file.write_text(to_json(CHANGED), encoding="utf-8")
    flags = "--ema-decay None --no-nesterov --image-size 8 --betas 0.7 0.9 --save-every None"
    found = parse_arguments(["--config", str(file), *flags.split()], {}).train
    assert (found.ema_decay, found.nesterov, found.save_every) == (None, False, None)
    assert (found.vit.image_size, found.betas) == (8, (0.7, 0.9))
    assert found.optimizer == "sgd"


def test_flags_override_a_model_which_overrides_a_config_and_a_preset(tmp_path, monkeypatch):
    values = {"dim": 16, "depth": 1, "num_heads": 1, "epochs": 5, "lr": 0.5, "momentum": 0.1}
    monkeypatch.setitem(RECIPES, "shapes", {"dataset": "shapes", **values})
    file = tmp_path / "flags.json"
    file.write_text(
        json.dumps({"lr": 0.25, "epochs": 6, "vit": {"dim": 32, "depth": 2}}), encoding="utf-8"
    )
    nano = preset_fields("Nano/2")
    del nano["depth"]
    assert nano["dim"] not in (16, 32)
    flags = ["--epochs", "7", "--depth", "3"]
    names = ["--model", "Nano/2", "--config", str(file), "--preset", "shapes"]
    for argv in (flags + names, names + flags):
        found = parse_arguments(argv, {}).train
        assert found.momentum == 0.1  # the preset's
        assert found.lr == 0.25  # the config's
        assert {name: getattr(found.vit, name) for name in nano} == nano
        assert (found.epochs, found.vit.depth) == (7, 3)  # the flags'


@pytest.mark.parametrize(
    ("flags", "sizes"),
    [
        ("", (16, 24, 32)),
        ("--image-size 64", (32, 48, 64)),
        ("--model Nano/8 --image-size 64", (32, 48, 64)),
        ("--patch-size 16", (16, 32, 32)),
        ("--image-size 32 16", ()),
        ("--rope axial", ()),
        ("--pos-embed relative", ()),
        ("--pretext pixels", ()),
        ("--device cuda --precision bf16", ()),
        ("--device cuda", (16, 24, 32)),
        ("--train-sizes", ()),
        ("--train-sizes 8 32", (8, 32)),
    ],
)
@pytest.mark.parametrize("recipe", ["shapes", "cifar10"])
def test_the_sizes_of_a_recipe_are_adapted_to_the_model(recipe, flags, sizes, tmp_path):
    assert parse_arguments(flags.split(), RECIPES[recipe]).train.train_sizes == sizes
    assert parse_arguments(["--preset", recipe, *flags.split()], {}).train.train_sizes == sizes
    file = tmp_path / "config.json"
    file.write_text(to_json(overlay(TrainConfig(), RECIPES[recipe])), encoding="utf-8")
    assert parse_arguments(["--config", str(file), *flags.split()], {}).train.train_sizes == sizes


@pytest.mark.parametrize(
    ("settings", "sizes"),
    [
        ({"image_size": 64}, (32, 48, 64)),
        ({"vit": {"rope": "axial"}}, ()),
        ({"train_sizes": []}, ()),
        ({"train_sizes": [8, 32]}, (8, 32)),
    ],
)
def test_the_sizes_of_a_preset_are_adapted_to_a_config(settings, sizes, tmp_path):
    file = tmp_path / "config.json"
    file.write_text(json.dumps(settings), encoding="utf-8")
    argv = ["--preset", "cifar10", "--config", str(file)]
    assert parse_arguments(argv, {}).train.train_sizes == sizes


@pytest.mark.parametrize("preset", RECIPES)
def test_pretraining_accepts_every_preset(preset):
    found = parse_arguments(["--preset", preset], pretrain.CHANGES).train
    assert (found.pretext, found.train_sizes) == ("colour", ())


def test_a_model_name_replaces_the_stem_of_a_config(tmp_path):
    file = tmp_path / "config.json"
    for settings in ({"stem": "conv", "residual_convs": 2}, preset_fields("resnet-20")):
        file.write_text(json.dumps(settings), encoding="utf-8")
        for name, stem in (("Nano/4", "patch"), ("hybrid-Nano/4", "conv"), ("resnet-11", "resnet")):
            found = parse_arguments(["--config", str(file), "--model", name], {}).train.vit
            assert (found.stem, found.residual_convs) == (stem, 0)


def test_sizes_of_a_flag_are_not_adapted(error_line):
    flags = ["--dataset", "shapes", "--image-size", "64", "--train-sizes", "16", "32"]
    assert "train_sizes is 16 32" in error_line(*flags)


def test_a_name_can_be_set_to_none_and_the_last_flag_wins():
    bare = parse_arguments([], {})
    names = ["--preset", "None", "--config", "None", "--model=None"]
    assert parse_arguments([*names, "--quick", "--no-quick"], {}) == bare
    assert parse_arguments(["--no-quick", "--quick"], {}).train == overlay(bare.train, QUICK)
    found = parse_arguments(["--model", "Nano/4", "--model", "Micro/4"], {}).train.vit
    assert found.dim == preset_fields("Micro/4")["dim"]


@pytest.mark.parametrize("old", MODELS)
@pytest.mark.parametrize("new", MODELS)
def test_a_model_name_replaces_the_stem_of_a_preset_or_config(old, new, tmp_path, monkeypatch):
    """Also residual convolutions, which only stem conv has."""
    changes = {**preset_for_data(old), **({"residual_convs": 2} if "hybrid" in old else {})}
    monkeypatch.setitem(RECIPES, "shapes", {"dataset": "shapes", **changes})
    file = tmp_path / "config.json"
    file.write_text(to_json(overlay(TrainConfig(), changes)), encoding="utf-8")
    for flags in (["--preset", "shapes"], ["--config", str(file)]):
        found = parse_arguments([*flags, "--model", new], {}).train.vit
        named = ViTConfig.preset(new)
        for name in ("stem", "residual_convs", "stages", "depth", "dim"):
            assert getattr(found, name) == getattr(named, name), name


def test_a_model_name_does_not_change_image_size_and_classes():
    found = parse_arguments(["--model", "S/16", "--num-classes", "4"], {}).train.vit
    assert (found.dim, found.patch_size, found.image_size, found.num_classes) == (384, 16, 32, 4)


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        ("--modle Nano/4", "--model"),
        ("--epochs many", "--epochs"),
        ("--optimizer lion", "adamw"),
        ("--preset imagenet", "--preset"),
        ("--preset", "minivit train --help"),
        ("--config --model", "minivit train --help"),
    ],
)
def test_a_wrong_flag_is_named(capsys, flags, word):
    assert word in refused(capsys, *flags.split())
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--epochs 0", "epochs is 0"),
        ("--patch-size 5", "patch_size 5 does not divide the image of 32×32 pixels"),
        ("--num-heads 3", "num_heads 3 does not divide dim 128"),
        ("--lr nan", "lr is nan"),
        ("--flip 1.5", "flip is 1.5"),
    ],
)
def test_an_invalid_value_is_reported_in_one_line(error_line, flags, words):
    assert words in error_line(*flags.split())
    assert not Path("runs").exists()


def test_an_unknown_model_gets_a_suggestion(error_line):
    assert 'did you mean "Nano/4"?' in error_line("--model", "nanu/4")
    assert "Micro" in error_line("--model", "Nano")
    assert "as in Micro/4" in error_line("--model", f"Nano/{'9' * 5000}")
    for name in ("hybrid-resnet-20", "hybrid-hybrid-Nano/4"):
        assert f'model "{name}" is unknown' in error_line("--model", name)


def test_an_invalid_config_is_reported(error_line, tmp_path):
    file = tmp_path / "c.json"
    assert str(file) in error_line("--config", str(file))
    for content, words in (("{", "not JSON"), ("[1]", "found a list"), ("\xff", "not JSON")):
        file.write_bytes(content.encode("latin-1"))
        message = error_line("--config", str(file))
        assert words in message
        assert str(file) in message


# What to train on


def test_a_dry_run_prints_what_it_would_do_and_does_nothing(capsys, tmp_path):
    assert main([*tiny.FLAGS, "--dry-run"]) == 0
    out = capsys.readouterr().out
    config = json.loads(out[: out.index("\n}\n") + 3])
    assert config == json.loads(to_json(tiny.CONFIG))
    assert f"{num_parameters(tiny.VIT):,}" in out
    assert main(["--dry-run", "--data-url", UNREACHABLE]) == 0
    assert "SHAPES" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_existing_data_is_used(capsys, tmp_path):
    (tmp_path / "data" / "cifar-10-batches-bin").mkdir(parents=True)
    assert main(["--dry-run"]) == 0
    out = capsys.readouterr().out
    assert '"dataset": "cifar10"' in out
    assert "SHAPES" not in out


@pytest.mark.parametrize("kind", ["folder", "npz"])
def test_your_own_images_are_listed_or_read_once(kind, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 8, 8, 3), np.uint8)
    if kind == "npz":
        np.savez(tmp_path / "own.npz", images=images, labels=np.arange(40) % 2)
    for n, pixels in enumerate(images):
        folder = tmp_path / "own" / str(n % 2)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{n}.png")
    calls = []
    for target in ("minivit.data.custom.read_npz", "minivit.data.file_sets.FolderFiles.names"):
        before = pkgutil.resolve_name(target)
        monkeypatch.setattr(target, lambda *a, before=before: calls.append(a) or before(*a))
    path = tmp_path / ("own.npz" if kind == "npz" else "own")
    flags = ["--epochs", "1", "--warmup", "0", "--image-size", "8", "--patch-size", "4"]
    assert main(["--dataset", str(path), *flags, "--crop", "0", "--no-cache"]) == 0
    assert len(calls) == 1


def test_the_recipe_depends_on_the_data_set(capsys, monkeypatch):
    monkeypatch.setitem(RECIPES, "shapes", {"dataset": "shapes", "epochs": 77})
    monkeypatch.setitem(RECIPES, "cifar10", {"dataset": "cifar10", "epochs": 88})
    for flags, epochs in (([], 77), (["--dataset", "cifar10"], 88), (["--preset", "cifar10"], 88)):
        assert main([*flags, "--dry-run"]) == 0
        assert f'"epochs": {epochs}' in capsys.readouterr().out


@pytest.mark.parametrize("by", ["flag", "environment"])
def test_without_data_or_network_the_shapes_are_used_with_a_boxed_notice(capsys, monkeypatch, by):
    flags = [*tiny.FLAGS, "--dataset", "auto", "--epochs", "1"]
    if by == "flag":
        flags += ["--data-url", UNREACHABLE]
    else:
        monkeypatch.setenv("MINIVIT_CIFAR10_URL", UNREACHABLE)
    assert main(flags) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0][0] + lines[0][-1] == "╔╗"
    end = next(i for i, line in enumerate(lines) if line[0] == "╚")
    assert "built-in SHAPES, not on CIFAR-10" in lines[1]
    assert "127.0.0.1:9" in " ".join(lines[:end])
    assert {len(line) for line in lines[: end + 1]} == {88}
    assert json.loads(only_run().config_file.read_text(encoding="utf-8"))["dataset"] == "shapes"


def test_unavailable_cifar10_is_an_error_if_it_was_requested(capsys):
    assert guarded(lambda: main(["--dataset", "cifar10", "--data-url", UNREACHABLE])) == 2
    err = capsys.readouterr().err
    assert "Traceback" not in err
    message = err.splitlines()[-1]  # after the lines printed by the download
    assert message.startswith("error: cannot download")
    assert "127.0.0.1:9" in message
    assert "--dataset shapes" in message
    assert not Path("runs").exists()


# What it writes


def test_a_run_contains_its_config_metrics_figures_and_checkpoints(capsys):
    assert main(tiny.FLAGS) == 0
    run = only_run()
    found = {str(path.relative_to(run.path)) for path in run.path.rglob("*") if path.is_file()}
    assert found == {
        *("config.json", "metrics.jsonl", "metrics.csv", "curves.png", "confusion.png", ".lock"),
        *("mistakes.png", "mistakes.csv"),
        *("checkpoints/last.safetensors", "checkpoints/best.safetensors"),
    }
    for name in ("curves.png", "confusion.png", "mistakes.png"):
        assert (run.path / name).read_bytes().startswith(b"\x89PNG")
    config = parse_arguments(["--config", str(run.config_file)], {}).train
    assert config == dataclasses.replace(tiny.CONFIG, data_dir=Path(os.environ["MINIVIT_DATA"]))

    lines = run.metrics()
    assert [line["step"] for line in lines if line["kind"] == "step"] == [3, 6, 9, 12]
    assert [line["step"] for line in lines if line["kind"] == "epoch"] == [4, 8, 12]
    (test,) = [line for line in lines if line["kind"] == "test"]
    assert sum(map(sum, test["confusion"])) == 16
    out = capsys.readouterr().out
    assert f"test accuracy {test['test_accuracy']:.2%} on Tints" in out
    best = max(line["val_accuracy"] for line in lines if line["kind"] == "epoch")
    assert f"best validation {best:.2%}" in out
    assert "64 training and 16 validation images, 1 thread\n" in out


def test_a_second_run_leaves_the_first_alone():
    flags = [*tiny.FLAGS, "--epochs", "1", "--runs", "elsewhere"]
    assert main(flags) == main(flags) == 0
    assert len(list(Path("elsewhere").iterdir())) == 2
    assert not Path("runs").exists()


# Resuming


def test_a_finished_run_is_not_trained_again(capsys):
    main(tiny.FLAGS)
    run = only_run()
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert main(["--resume", str(run.path)]) == 0
    assert "is finished" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in before} == before


def test_a_run_stopped_before_testing_is_tested_when_resumed(monkeypatch):
    test = Trainer.test
    monkeypatch.setattr(Trainer, "test", crash)
    with pytest.raises(RuntimeError):
        main(tiny.FLAGS)
    monkeypatch.setattr(Trainer, "test", test)
    run = only_run()
    assert [line for line in run.metrics() if line["kind"] == "test"] == []
    assert main(["--resume", str(run.path)]) == 0
    assert [line["kind"] for line in run.metrics()].count("test") == 1


def crash(*_):
    raise RuntimeError


def test_a_folder_that_is_not_a_run_cannot_be_resumed(error_line, tmp_path):
    assert "no such directory" in error_line("--resume", "nowhere")
    assert "not a run" in error_line("--resume", str(tmp_path))
    unsaved = Run.create(tmp_path, tiny.CONFIG)
    assert "no such file; expected a checkpoint" in error_line("--resume", str(unsaved.path))


def test_a_resumed_run_accepts_no_other_flags(error_line):
    main(tiny.FLAGS)
    assert "leave out --epochs" in error_line("--resume", str(only_run().path), "--epochs", "9")


def test_a_run_is_resumed_where_its_data_is_now_without_a_download(monkeypatch, tmp_path):
    requested = []

    def load(_, data_dir, *, download, url):
        requested.append((data_dir, download))
        return tiny.dataset()

    monkeypatch.setattr(Published, "load", load)
    main([*tiny.FLAGS, "--dataset", "cifar10", "--data-dir", "old", "--threads", "2"])
    assert requested == [(tmp_path / "old", True)]
    run = only_run()
    (new := tmp_path / "new").mkdir()
    for flags in (["--data-dir", str(new), "--threads", "1"], []):  # the path is remembered
        assert main(["--resume", str(run.path), *flags]) == 0
        assert requested[-1] == (new, False)
    assert run.read_config().threads == 1


def test_a_damaged_checkpoint_is_reported(error_line):
    main(tiny.FLAGS)
    run = only_run()
    run.last.write_bytes(run.last.read_bytes()[:-100])
    assert str(run.last) in error_line("--resume", str(run.path))


# What can go wrong


def test_images_are_resized_to_the_models_size(capsys, tmp_path):
    flags = [*tiny.FLAGS, "--image-size", "12", "--epochs", "1", "--runs", str(tmp_path)]
    assert main(flags) == 0
    assert "test accuracy" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--device cuda:99", "--device cuda:99 needs"),
        ("--device tpu", 'device "tpu" is unknown; expected cpu, cuda or cuda:N'),
        ("--in-channels 2", "in_channels is 2, the images have 3; expected 3, or 1 for grayscale"),
        ("--train-images 65", "65 images requested, but there are 64"),
        ("--num-classes 9", "num_classes is 9, but Tints has 4"),
        ("--batch-size 65", "batch_size 65 is larger than the training set of 64 images"),
    ],
)
def test_settings_that_do_not_fit_are_refused_before_anything_is_written(error_line, flags, words):
    assert words in error_line(*tiny.FLAGS, *flags.split())
    assert not Path("runs").exists()


def test_an_unusable_runs_folder_is_reported(error_line, tmp_path):
    (tmp_path / "file").touch()
    assert str(tmp_path / "file") in error_line(*tiny.FLAGS, "--runs", str(tmp_path / "file"))


@pytest.mark.parametrize(("successes", "saved"), [(0, None), (4, 4), (5, 4), (7, 8), (10, 12)])
def test_a_full_disk_ends_with_one_line_on_how_to_resume(error_line, monkeypatch, successes, saved):
    """While writing config.json, the next epoch's checkpoint or table, or the figures at the
    end."""
    fsync, calls = os.fsync, []

    def full(file):
        if stat.S_ISDIR(os.fstat(file).st_mode):
            return
        calls.append(file)
        if len(calls) > successes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(file)

    monkeypatch.setattr(os, "fsync", full)
    message = error_line(*tiny.FLAGS, "--lr", "0")  # each epoch is as good as the best, and so kept
    monkeypatch.setattr(os, "fsync", fsync)
    assert "No space left on device" in message
    run = only_run()
    assert not list(run.path.rglob("*.part"))
    if saved is None:
        assert str(run.config_file) in message
        return
    assert f"--resume {run.path}" in message
    assert load_checkpoint(run.last).state["step"] == saved
    assert main(["--resume", str(run.path)]) == 0
    assert (run.path / "confusion.png").exists()


# Classes


def without(data, count):
    """The data set with only some of the training images of class 0."""
    rows = np.flatnonzero((data.train.labels != 0) | (np.cumsum(data.train.labels == 0) <= count))
    return dataclasses.replace(data, train=data.train[rows])


def test_unequal_classes_are_reported_before_training_and_in_a_table_after_it(monkeypatch, capsys):
    monkeypatch.setattr("minivit.data.shapes.load", lambda: without(tiny.dataset(), 5))
    assert main([*tiny.FLAGS, "--val-fraction", "0", "--balance"]) == 0
    out = capsys.readouterr().out
    expected = "red 5; green 20; blue 20; plain 20 (each class is drawn equally often)"
    assert f"0 validation images, 1 thread\n  images per class: {expected}\n" in out
    assert re.search(r"^plain +4 +\d", out, re.MULTILINE)
    assert "mistakes.png, mistakes.csv" in out.splitlines()[-1]


def test_equal_classes_are_not_reported_and_many_classes_get_no_table(monkeypatch, capsys):
    monkeypatch.setattr("minivit.commands.train.MAX_TABLE_CLASSES", 3)
    assert main(tiny.FLAGS) == 0
    out = capsys.readouterr().out
    assert "images per class" not in out
    assert "precision" not in out


def test_pretraining_prints_nothing_about_classes(monkeypatch, capsys):
    monkeypatch.setattr("minivit.data.shapes.load", lambda: without(tiny.dataset(), 5))
    assert main([*tiny.FLAGS, "--pretext", "colour"]) == 0
    out = capsys.readouterr().out
    assert "images per class" not in out
    assert "mistakes" not in out


def test_classes_of_your_own_images_are_always_listed(tmp_path, capsys):
    data = tiny.dataset()
    images = data.train.images.transpose(0, 2, 3, 1)
    np.savez(tmp_path / "own.npz", images=images, labels=data.train.labels)
    assert main([*tiny.FLAGS, "--dataset", "own.npz", "--val-fraction", "0"]) == 0
    assert "\n  images per class: 0 16; 1 16; 2 16; 3 16\n" in capsys.readouterr().out
    lines = (only_run().path / "mistakes.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "image,true,predicted,probability"
    assert all(re.match(r"test image \d+,", line) for line in lines[1:])


# --budget

EPOCHS = tiny.FLAGS.index("--epochs")
WITHOUT_EPOCHS = tiny.FLAGS[:EPOCHS] + tiny.FLAGS[EPOCHS + 2 :]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0341, "0.034 s"),
        (5, "5 s"),
        (90, "90 s"),
        (150, "2.5 min"),
        (2340, "39 min"),
        (7200, "2 h"),
    ],
)
def test_times_are_printed_in_a_suitable_unit(seconds, text):
    assert train.duration(seconds) == text


def test_a_budget_gives_as_many_epochs_as_fit(capsys, monkeypatch):
    monkeypatch.setattr("minivit.commands.train.seconds_per_epoch", lambda *_: 14.0)
    monkeypatch.delitem(module.MEASURED, "shapes")
    assert main([*WITHOUT_EPOCHS, "--budget", "30s"]) == 0
    out = capsys.readouterr().out
    assert "an epoch takes about 14 s, so 30 s is enough for 2; the accuracy with these" in out
    assert only_run().read_config().epochs == 2


def test_a_budget_below_one_epoch_gives_an_epoch_of_fewer_images(capsys, monkeypatch):
    monkeypatch.setattr("minivit.commands.train.seconds_per_epoch", lambda *_: 60.0)
    assert main([*WITHOUT_EPOCHS, "--budget", "30s"]) == 0
    assert "30 s is enough for 0.50" in capsys.readouterr().out
    config = only_run().read_config()
    assert (config.epochs, config.train_images) == (1, 32)  # out of the 64 that are not held out


def test_a_budget_uses_the_recipe_measured_at_the_nearest_budget(monkeypatch):
    recipes = {"a": {"dataset": "a"}, "a-short": {"dataset": "a"}, "b": {"dataset": "b"}}
    monkeypatch.setattr(module, "RECIPES", recipes)
    monkeypatch.setattr(module, "BUDGET_RECIPES", ("a", "a-short"))
    minutes = {"a": 30, "a-short": 5, "b": 1}
    monkeypatch.setattr(
        module, "MEASURED", {name: module.Measured(m, 0.8, 1) for name, m in minutes.items()}
    )
    assert [module.recipe_for("a", ratio) for ratio in (0.1, 0.3, 0.5, 10)] == [
        *("a-short", "a-short", "a", "a")
    ]
    assert module.recipe_for("b", 0.1) == "b"
    assert module.recipe_for("unmeasured", 0.1) == "unmeasured"


def test_a_recipe_chosen_for_a_budget_keeps_the_data_set_that_auto_found(tmp_path, monkeypatch):
    monkeypatch.setattr(train, "seconds_per_epoch", lambda *_: 1.0)
    config = tiny.config(dataset="cifar10", data_dir=tmp_path, epochs=60)
    argv = ["--dataset", "auto", "--image-size", "8", "--budget", "6s"]
    found = train.fit_budget(6.0, config, tiny.dataset(), train.Names(), argv, "minivit train")
    assert (found.dataset, found.data_dir, found.epochs) == ("cifar10", tmp_path, 6)


@pytest.mark.parametrize("flag", ["--epochs=3", "--quick", "--dry-run", "--resume=runs/x"])
def test_a_budget_conflicts_with_other_choices(error_line, flag):
    assert f"leave out {flag.partition('=')[0]}" in error_line("--budget", "5m", flag)


def test_every_measured_recipe_exists():
    assert set(module.MEASURED) <= set(RECIPES)
    assert set(module.BUDGET_RECIPES) <= set(module.MEASURED)


def test_a_budget_predicts_no_accuracy_for_other_tasks(capsys, monkeypatch):
    """The recipes were measured on classification."""
    monkeypatch.setattr("minivit.commands.train.seconds_per_epoch", lambda *_: 14.0)
    monkeypatch.setitem(module.MEASURED, "shapes", module.Measured(2, 0.9, 1))
    flags = [*WITHOUT_EPOCHS, "--budget", "30s"]
    assert main(flags) == 0
    assert "reached 90.0% test accuracy in" in capsys.readouterr().out
    assert main([*flags, "--pretext", "pixels"]) == 0
    assert "the accuracy with these settings was not measured" in capsys.readouterr().out
