"""Runs written by early versions of 0.1 can still be read, resumed and fine-tuned.

They were interrupted at step 6 of 12; the expected values are what that version reached.
"""

import shutil
from pathlib import Path

import pytest
import tiny

from minivit.engine import Run, Trainer, load_model, load_pretrained
from minivit.errors import UserError

RUNS = Path(__file__).parent / "old_runs"
EXPECTED_LOSS = {"classes": 1.328280, "patches": 6.153339}
"""Validation loss after the last epoch."""


@pytest.fixture(params=EXPECTED_LOSS)
def old(request, tmp_path):
    shutil.copytree(RUNS / request.param, tmp_path / "run")
    return request.param, Run.open(tmp_path / "run")


def test_an_old_run_is_resumed_to_the_same_result(old):
    name, run = old
    trainer = Trainer(run.read_config(), tiny.dataset(), run)
    trainer.resume()
    assert trainer.step == 6
    assert trainer.fit()
    epochs = [line for line in run.metrics() if line["kind"] == "epoch"]
    assert [line["epoch"] for line in epochs] == [1, 2, 3]
    assert epochs[-1]["val_loss"] == pytest.approx(EXPECTED_LOSS[name], rel=1e-4)


def test_the_model_of_an_old_run_is_loaded_or_reported_to_have_no_classes(old):
    name, run = old
    if name == "patches":
        with pytest.raises(UserError, match="without classes"):
            load_model(run.path)
        return
    found = load_model(run.path)
    assert found.class_names == tiny.NAMES
    assert found.model.config == run.read_config().vit


def test_an_old_run_can_be_fine_tuned(old, tmp_path):
    _, run = old
    config = tiny.config(vit={"dim": 8, "depth": 1, "image_size": 12})
    data = tiny.dataset().resized((12, 12))
    trainer = Trainer(config, data, Run(tmp_path / "new"), load_pretrained(run.path))
    assert trainer.changes == ["position embeddings: 2×2 -> 3×3, bicubic"]
