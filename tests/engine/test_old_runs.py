"""Runs that version 0.1 wrote before its last day are still read, resumed and begun from.

They were interrupted at step 6 of 12; the numbers are what that version itself reached.
"""

import shutil
from pathlib import Path

import pytest
import tiny

from minivit.engine import Run, Trainer, load_model, load_pretrained
from minivit.errors import UserError

RUNS = Path(__file__).parent / "old_runs"
REACHED = {"classes": 1.328280, "patches": 6.153339}
"""Validation loss after the last epoch."""


@pytest.fixture(params=REACHED)
def old(request, tmp_path):
    shutil.copytree(RUNS / request.param, tmp_path / "run")
    return request.param, Run.open(tmp_path / "run")


def test_it_is_resumed_to_what_it_would_have_reached(old):
    name, run = old
    trainer = Trainer(run.read_config(), tiny.dataset(), run)
    trainer.resume()
    assert trainer.step == 6
    assert trainer.fit()
    epochs = [line for line in run.metrics() if line["kind"] == "epoch"]
    assert [line["epoch"] for line in epochs] == [1, 2, 3]
    assert epochs[-1]["val_loss"] == pytest.approx(REACHED[name], rel=1e-4)


def test_its_model_is_loaded_or_said_to_know_no_classes(old):
    name, run = old
    if name == "patches":
        with pytest.raises(UserError, match="has no classes"):
            load_model(run.path)
        return
    found = load_model(run.path)
    assert found.class_names == tiny.NAMES
    assert found.model.config == run.read_config().vit


def test_another_training_begins_with_it(old, tmp_path):
    _, run = old
    config = tiny.config(vit={"dim": 8, "depth": 1, "image_size": 12})
    data = tiny.dataset().resized((12, 12))
    trainer = Trainer(config, data, Run(tmp_path / "new"), load_pretrained(run.path))
    assert trainer.changes == ["position embeddings: 2×2 -> 3×3, bicubic"]
