"""The Python code in docs/change-one-thing.md, docs/interventions.md, docs/train.md and
docs/teach.md runs on a few images and does what the text says."""

import json
import re
import sys
from types import SimpleNamespace

import numpy as np
import printed
import pytest
import tiny

from minivit.data import Dataset, Split
from minivit.engine import Run
from minivit.engine.trained import load_pretrained
from minivit.models import ViT

GUIDE = "docs/change-one-thing.md"
NAMES = (*tiny.NAMES, *(f"none {i}" for i in range(6)))
"""Ten classes, as the shapes have."""


def enlarged(split):
    """8×8 -> 32×32."""
    return Split(split.images.repeat(4, 2).repeat(4, 3), split.labels)


class Tracker(SimpleNamespace):
    """Replaces wandb and mlflow; records every call in `calls`."""

    def __getattr__(self, name):
        return lambda *args, **kwargs: self.calls.append((name, args, kwargs))


@pytest.fixture(scope="module")
def guide(tmp_path_factory):
    """The variables that the guide's code defines, and the trackers that it called."""
    names, trackers = {}, {name: Tracker(calls=[]) for name in ("wandb", "mlflow")}
    tints = tiny.dataset(320, 32)
    data = Dataset("Tints", enlarged(tints.train), enlarged(tints.test), NAMES)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("guide"))
        patch.setattr("minivit.data.shapes.load", lambda: data)
        for name, tracker in trackers.items():
            patch.setitem(sys.modules, name, tracker)
        for text in printed.python_blocks(GUIDE):
            exec(compile(text, GUIDE, "exec"), names)
        yield SimpleNamespace(**names), trackers


def test_the_trackers_get_every_number(guide):
    found, trackers = guide
    (first, *_) = sorted(found.run.path.parent.iterdir())
    lines = Run(first).metrics()
    assert {line["kind"] for line in lines} == {"epoch", "test"}
    for send, name, call in (
        (found.to_wandb, "wandb", "log"),
        (found.to_mlflow, "mlflow", "log_metrics"),
    ):
        calls = trackers[name].calls
        calls.clear()
        for line in lines:
            send(line)
        assert [(called, kwargs) for called, _, kwargs in calls] == [
            (call, {"step": line["step"]}) for line in lines
        ]
        assert calls[-1][1][0]["test/test_accuracy"] == lines[-1]["test_accuracy"]
        assert calls[0][1][0]["epoch/val_loss"] == lines[0]["val_loss"]


def test_a_model_trained_by_the_guide_is_saved_and_loaded(guide):
    found, _ = guide
    model = found.trained.model
    assert model.own_layers == ("RowsAndColumns",)
    assert isinstance(model.positions, found.RowsAndColumns)
    images = found.trained.statistics.normalize(found.pixels)
    saved = load_pretrained(found.run.path).weights
    assert {"positions.rows", "positions.columns"} < set(saved)
    for name, parameter in model.named_parameters():
        np.testing.assert_array_equal(parameter.data, saved[name])
    without = ViT(model.config)
    for name, parameter in without.named_parameters():
        parameter.data[...] = saved[name]
    assert np.abs(model(images) - without(images)).max() > 1e-3
    html = (found.run.path / "explorer.html").read_text(encoding="utf-8")
    assert "red" in html


def test_the_guide_uses_only_public_names():
    text = "\n".join(printed.python_blocks(GUIDE))
    assert not re.findall(r"(?<!_)\b_[a-z]\w*|\._\w+", text.replace("__init__", ""))
    (code,) = [text for text in printed.python_blocks(GUIDE) if "class " in text]
    assert len(code.splitlines()) <= 35


def test_the_guides_metrics_look_like_those_of_a_run(guide):
    found, _ = guide
    written = {line["kind"]: line for line in found.run.metrics()}
    page = (printed.ROOT / GUIDE).read_text(encoding="utf-8")
    (shown,) = [body for kind, body in printed.FENCE.findall(page) if kind == "json"]
    for line in map(json.loads, shown.splitlines()):
        if line["kind"] in written:
            assert line.keys() == written[line["kind"]].keys()


def test_the_code_on_interventions_runs(tmp_path, monkeypatch):
    tints = tiny.dataset(48, 16)
    data = Dataset("Tints", enlarged(tints.train), enlarged(tints.test), NAMES[:4])
    monkeypatch.setattr("minivit.data.shapes.load", lambda: data)
    trainer = tiny.trainer(
        tmp_path, data, vit={"image_size": 32, "depth": 3, "num_heads": 4}, epochs=1
    )
    trainer.fit()
    names = {}
    for text in printed.python_blocks("docs/interventions.md"):
        text = text.replace("runs/20261122-104500-shapes", str(trainer.run.path))
        exec(compile(text, "docs/interventions.md", "exec"), names)
    assert names["lens"].pooled.shape == (4, 8, 4)
    assert names["lens"].patches.shape == (4, 8, 8, 8, 4)
    assert names["effect"].shape == (8, 3, 4)
    assert names["without"](names["images"]).shape == (8, 4)
    swapped, images = names["swapped"], names["images"]
    np.testing.assert_array_equal(swapped[:, :, :4, 12:16], images[:, :, :4, 16:20])


def test_the_code_on_training_and_teaching_runs(tmp_path, monkeypatch, capsys):
    tints = tiny.dataset(320, 32)
    data = Dataset("Tints", enlarged(tints.train), enlarged(tints.test), NAMES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("minivit.data.shapes.load", lambda: data)
    for page, last_line in (("docs/train.md", r"\d+\.\d%"), ("docs/teach.md", "True right")):
        (text,) = printed.python_blocks(page)
        exec(compile(text, page, "exec"), {})
        assert re.fullmatch(last_line, capsys.readouterr().out.splitlines()[-1])
