"""A data set that a contributor adds: one file with a SOURCE, and one line in the registry."""

import dataclasses

import numpy as np
import pytest
import tiny

from minivit.commands import run
from minivit.data import SOURCES, Dataset, Request, Source, Split, find_source
from minivit.data.published import Published
from minivit.engine import RECIPES, Run, TrainConfig
from minivit.errors import UserError

NAMES = ("dark", "bright", "brightest")


def load(request: Request) -> Dataset:
    """Thirty gray levels in three classes, one channel, at the requested size."""
    labels = np.arange(30) % 3
    images = np.full((30, 1, 4, 4), 60, np.uint8) * labels.astype(np.uint8)[:, None, None, None]
    return Dataset("Grey", Split(images, labels), Split(images, labels), NAMES).resized(
        request.image_size
    )


GRAY = Source(
    name="gray",
    summary="three classes of gray",
    load=load,
    recipe={"image_size": 8, "in_channels": 1, "dim": 16, "depth": 1, "epochs": 2}
    | {"batch_size": 4, "crop": 0},
)


@pytest.fixture
def gray(monkeypatch, tmp_path):
    """Registers the data set, as its line in the registry would."""
    monkeypatch.setitem(SOURCES, "gray", GRAY)
    monkeypatch.setitem(RECIPES, "gray", {"dataset": "gray", **GRAY.recipe})
    monkeypatch.chdir(tmp_path)


def test_every_command_accepts_the_new_data_set(gray, capsys, tmp_path):
    """Classes come from the data; --quick uses all available images."""
    assert run("train", ["--dataset", "gray", "--quick"]) == 0
    (path,) = (tmp_path / "runs").iterdir()
    config = Run(path).read_config()
    assert (config.vit.num_classes, config.vit.in_channels) == (3, 1)
    assert (config.vit.image_size, config.train_images) == (8, 28)
    assert run("evaluate", [str(path)]) == 0
    assert "brightest" in capsys.readouterr().out
    small = ["--dataset", "gray", "--quick", "--batch-size", "4"]
    assert run("finetune", ["--from", str(path), *small]) == 0
    assert run("attention", [str(path), "--html", "page.html"]) == 0
    assert run("train", ["--dataset", "gray", "--num-classes", "4"]) == 2
    assert "num_classes is 4, but Grey has 3" in capsys.readouterr().err


def test_an_unknown_name_is_refused_with_a_suggestion():
    with pytest.raises(UserError, match="did you mean shapes"):
        find_source("shape")
    with pytest.raises(UserError, match=r"expected one of cifar10, cifar100, .*, shapes"):
        TrainConfig(dataset="imagenet")


def test_every_source_gives_images_of_the_requested_size(monkeypatch):
    monkeypatch.setattr("minivit.data.shapes.load", tiny.dataset)
    monkeypatch.setattr(Published, "load", lambda *_, **__: tiny.dataset())
    for source in SOURCES.values():
        found = source.load(Request(image_size=(12, 16)))
        assert found.train.images.shape[2:] == (12, 16)
        assert found.num_classes == len(found.class_names)


def test_a_config_adapts_to_the_data():
    config = dataclasses.replace(TrainConfig(), dataset="shapes").for_data(load(Request()))
    assert (config.vit.num_classes, config.vit.in_channels) == (3, 1)
