"""Configs as data: valid dicts, and the messages for invalid ones."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from minivit.config import overlay, to_dict
from minivit.engine import RECIPES, TrainConfig
from minivit.errors import UserError
from minivit.models import ViTConfig


def error_line(values, where="f.json"):
    """The one-line error message for refused values."""
    with pytest.raises(UserError) as raised:
        TrainConfig.from_dict(values, where)
    message = str(raised.value)
    assert "\n" not in message
    assert message.startswith(f"{where}: ")
    return message


def test_grouped_and_flat_settings_are_equivalent():
    flat = {"epochs": 3, "dim": 64, "flip": 0.25}
    grouped = {"epochs": 3, "vit": {"dim": 64}, "augmentation": {"flip": 0.25}}
    assert TrainConfig.from_dict(flat) == TrainConfig.from_dict(grouped)
    assert TrainConfig.from_dict(flat).vit == ViTConfig(dim=64)


def test_every_recipe_is_valid_and_survives_json():
    for recipe in RECIPES.values():
        config = overlay(TrainConfig(), recipe)
        assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_settings_not_named_keep_the_base_value():
    base = TrainConfig.from_dict({"epochs": 7, "dim": 64})
    found = overlay(base, {"depth": 2})
    assert (found.epochs, found.vit.dim, found.vit.depth) == (7, 64, 2)
    assert (base.vit.depth, TrainConfig().vit.depth) == (6, 6)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"dimm": 3}, ["'dimm' is unknown", "did you mean dim?"]),
        ({"vit": {"heads": 3}}, ["'heads' is unknown"]),
        ({"zzz": 3}, ["'zzz' is unknown", "expected one of dataset, "]),
        ({"tyro_write_completion": ["bash", "/tmp/x"]}, ["'tyro_write_completion' is unknown"]),
        ({"help": True}, ["'help' is unknown"]),
        ({"dim": "x"}, ["dim is 'x'", "`int`", "`str`"]),
        ({"seed": True}, ["seed is True", "`int`", "`bool`"]),
        ({"epochs": 3.5}, ["epochs is 3.5", "`int`"]),
        ({"epochs": None}, ["epochs is None", "`int`", "`null`"]),
        ({"betas": [0.9]}, ["betas is a list of 1", "length 2"]),
        ({"optimizer": "adamx"}, ["optimizer is 'adamx'"]),
        ({"data_dir": 3}, ["data_dir is 3", "`Path`"]),
        ({"vit": 3}, ["vit is 3", "expected an object of settings"]),
        ({"vit": {"dim": {"a": 1}}}, ["dim is a dict of 1"]),
        ({"lr": -1}, ["lr is -1", "0 to 100"]),
        ({"crop": 33}, ["crop is 33", "at most the 32 pixels"]),
        ({"dim": 30}, ["num_heads 4 does not divide dim 30"]),
        ({"dataset": "cifar11"}, ["'cifar11' is unknown; did you mean cifar10?"]),
        ({"a\nb" * 100: 1}, ["'a\\nba\\nb"]),
    ],
)
def test_invalid_settings_are_refused_in_one_line(values, words):
    message = error_line(values)
    assert [word for word in words if word not in message] == []


def test_no_two_settings_have_the_same_name():
    names: list[str] = []

    def collect(values):
        for name, value in values.items():
            if isinstance(value, dict):
                collect(value)
            else:
                names.append(name)

    collect(TrainConfig().to_dict())
    assert len(set(names)) == len(names)


def test_sections_may_be_nested():
    @dataclass(frozen=True, kw_only=True)
    class Inner:
        path: Path = Path("a")

    @dataclass(frozen=True, kw_only=True)
    class Middle:
        inner: Inner = field(default_factory=Inner)

    globals().update(Inner=Inner, Middle=Middle)

    @dataclass(frozen=True, kw_only=True)
    class Outer:
        middle: Middle = field(default_factory=Middle)

    found = overlay(Outer(), {"middle": {"inner": {"path": "b"}}})
    assert found.middle.inner.path == Path("b")
    assert to_dict(found) == {"middle": {"inner": {"path": "b"}}}
    assert overlay(Outer(), {"path": "b"}) == found
