"""The memory that a run needs is estimated before anything is allocated; a run that does not fit is
refused."""

import tracemalloc

import numpy as np
import pytest
import tiny

from minivit import UserError, ViT, ViTConfig
from minivit.backend import machine
from minivit.backend.machine import memory_bytes, require_memory, size
from minivit.commands.cli import guarded
from minivit.commands.train import run as train
from minivit.data import Dataset
from minivit.engine import DataParallel, Run, TrainConfig, Trainer
from minivit.engine.memory import training_memory
from minivit.models.config import preset_fields
from minivit.models.cost import num_activations
from minivit.models.summary import rows

HUGE = {"dim": 65_536, "depth": 1_000}


@pytest.fixture
def set_memory(monkeypatch):
    """Sets how many bytes the machine reports."""

    def set_memory(count):
        monkeypatch.setattr(machine, "memory_bytes", lambda device="cpu": count)

    return set_memory


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"dim": 64, "depth": 2, "num_heads": 8, "image_size": 64},
        {"dim": 16, "depth": 1, "num_heads": 16, "image_size": 128},
        {"dim": 16, "depth": 1, "num_heads": 4, "image_size": 96, "pos_embed": "relative"},
        {"pos_embed": "relative", "pool": "mean"},
        {"layer_scale": 0.1, "norm": "rmsnorm", "mlp_ratio": 4},
        {"stem": "conv", "depth": 1, "dim": 64, "image_size": 64},
        {"stem": "resnet", "depth": 1, "dim": 64},
        preset_fields("resnet-11"),
        preset_fields("resnet-38"),
    ],
)
def test_estimated_activations_are_close_to_what_a_pass_keeps(options):
    config = ViTConfig(**options)
    measured = sum(row.activation for row in rows(ViT(config))) / 4
    assert 0.6 * measured < num_activations(config) <= measured


@pytest.mark.parametrize(
    ("optimizer", "ema_decay"), [("adamw", None), ("adam", 0.9), ("sgd", None)]
)
def test_estimated_weights_and_optimizer_state_are_close_to_what_is_allocated(
    tmp_path, optimizer, ema_decay
):
    training = tiny.trainer(
        tmp_path, optimizer=optimizer, ema_decay=ema_decay, threads=3, vit={"dim": 64}
    )
    needs, flat = training_memory(training.config), training.model.flat
    with DataParallel(training.model, 3) as workers:
        gradients = sum(replica.flat.grad.nbytes for replica in workers.replicas)
    allocated = {
        "weights": flat.data.nbytes,
        "gradients": gradients,
        "optimizer": sum(array.nbytes for array in training.optimizer.moments.values()),
        "moving average": 0 if training.ema is None else training.ema.average.nbytes,
    }
    for name, count in allocated.items():
        assert 0.95 * count <= needs[name] <= count, name


def test_activations_grow_with_workers_and_micro_batches():
    def needs(**changes):
        return training_memory(tiny.config(**changes))["activations"]

    assert needs(micro_batch=4) == 4 * needs(micro_batch=1)
    assert needs(micro_batch=2, threads=3) == 3 * needs(micro_batch=2)
    assert needs(micro_batch=100) == needs(micro_batch=16), "a batch has no more"
    assert needs(micro_batch=1, threads=1000) == 16 * needs(micro_batch=1)


def test_a_batch_is_counted_twice():
    """The next batch is prepared while the current one is processed."""
    B, pixels = 16, 3 * 8 * 8
    assert training_memory(tiny.config(batch_size=B))["batches"] == 2 * B * pixels * 4


# Refused


@pytest.mark.parametrize("make", [ViT, lambda vit: Trainer(TrainConfig(vit=vit), *not_needed())])
def test_impossible_sizes_are_refused_before_anything_is_allocated(make):
    config = ViTConfig(**HUGE)
    tracemalloc.start()
    with pytest.raises(UserError, match="choose smaller sizes") as raised:
        make(config)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6
    assert "\n" not in str(raised.value)


def not_needed():
    images = tiny.split(10, 0)
    large = type(images)(np.zeros((10, 3, 32, 32), np.uint8), images.labels)
    return Dataset("Ten", large, large, tuple("abcdefghij")), Run(None or tiny.Path("none"))


def test_a_run_that_just_fits_starts_and_a_larger_one_is_refused(tmp_path, set_memory):
    need = sum(training_memory(tiny.CONFIG).values())
    set_memory(need)
    tiny.trainer(tmp_path)
    set_memory(need - 1)
    with pytest.raises(UserError, match=r"this training needs .*weights .*gradients .*optimizer"):
        tiny.trainer(tmp_path)


def test_a_model_needs_memory_for_its_weights_while_they_are_drawn(set_memory):
    count = ViT(tiny.VIT).num_parameters
    set_memory(count * 12)
    ViT(tiny.VIT)
    with pytest.raises(UserError, match=f"a model of {count:,} parameters needs"):
        ViT(tiny.VIT, dtype="float64")


def test_images_that_do_not_fit_in_memory_are_not_resized(set_memory):
    set_memory(10 * 3 * 100 * 100)
    assert tiny.split(10, 0).resized((100, 100)).images.shape == (10, 3, 100, 100)
    with pytest.raises(UserError, match="a set of 11 images of 100×100 pixels needs"):
        tiny.split(11, 0).resized((100, 100))


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_a_command_reports_needed_and_available_memory_in_one_line(
    dry, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("minivit.data.shapes.load", lambda: pytest.fail("loaded"))
    flags = ["--optimizer", "adamw"]
    flags += [word for name, value in HUGE.items() for word in (f"--{name}", str(value))]
    assert guarded(lambda: train(["--dataset", "shapes", *flags, *dry])) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: this training needs ")
    for word in ("weights 137 TB", "optimizer 275 TB", f"this machine has {size(memory_bytes())}"):
        assert word in captured.err
    assert captured.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_prints_the_memory_needed(capsys):
    assert train([*tiny.FLAGS, "--dry-run"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    needs = training_memory(tiny.CONFIG)
    assert last.startswith(f"training needs at least {size(sum(needs.values()))} of memory (wei")
    assert last.endswith(f"of {size(memory_bytes())}")


def test_running_out_of_memory_is_reported_in_one_line(capsys):
    def work():
        np.empty(2**60, np.uint8)

    assert guarded(work) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: Unable to allocate")
    assert err.count("\n") == 1


# The machine


def test_the_memory_of_this_machine_is_found():
    assert 2**28 < memory_bytes() < 2**48


def test_a_container_has_the_memory_of_its_limit(monkeypatch):
    limits = {"/sys/fs/cgroup/memory.max": "1000000\n"}
    monkeypatch.setattr(machine.Path, "read_text", lambda path, encoding: limits[str(path)])
    with pytest.raises(KeyError):
        memory_bytes()
    limits["/sys/fs/cgroup/memory/memory.limit_in_bytes"] = "9223372036854771712\n"
    assert memory_bytes() == 1_000_000
    limits["/sys/fs/cgroup/memory.max"] = "max\n"
    assert memory_bytes() == machine.os.sysconf("SC_PHYS_PAGES") * 4096


def test_sizes_are_printed_with_units():
    assert [size(n) for n in (0, 999, 1000, 1_234_567, 25_300_000_000)] == [
        *("0 B", "999 B", "1 kB", "1.23 MB", "25.3 GB"),
    ]
    assert size(4.2e20) == "420 EB"
    assert require_memory("nothing", {"a": 0}) is None
