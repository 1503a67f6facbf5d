"""Several processes, started by a real mpiexec, train like one process. Whatever happens to one of
them, all end within seconds, with one line, and the run can be resumed."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
from cuda import train_in_ranks
from engine import kill_ranks
from gradients import gradients

from minivit.backend.cuda import nccl
from minivit.commands.cli import guarded
from minivit.commands.train import run as main
from minivit.engine import Run, distributed, load_checkpoint
from minivit.engine.distributed import find_world
from minivit.engine.launch import LAUNCHERS, Launch, find_launch
from minivit.engine.world import World
from minivit.errors import UserError

TESTS = Path(__file__).parents[1]
MPIEXEC = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}")
FLAGS = [*tiny.FLAGS, "--dropout", "0.1", "--ema-decay", "0.9", "--save-every", "5"]
FLAGS += ["--optimizer", "muon"]
SECONDS = 120
"""In which all of a test's ranks have begun and ended, on a busy machine too."""


@pytest.fixture(scope="module")
def mpiexec():
    """Run a program in this many processes."""
    pytest.importorskip("mpi4py")
    if MPIEXEC is None:
        pytest.skip("no mpiexec")

    def start(ranks, *words, where):
        paths = [str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")]
        return subprocess.run(
            [MPIEXEC, "-n", str(ranks), sys.executable, *map(str, words)],
            cwd=where,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=SECONDS,
            check=False,
        )

    return start


@pytest.fixture(scope="module")
def train(mpiexec):
    """Train in a directory, with a fault at a given moment; see driver.py."""

    def start(ranks, where, *flags, fault="none", at=""):
        return mpiexec(ranks, TESTS / "driver.py", fault, at, *flags, where=where)

    return start


def only_run(where):
    (path,) = (where / "runs").iterdir()
    return Run(path)


def errors(done):
    """minivit's own lines on standard error; launchers add theirs."""
    assert "Traceback" not in done.stderr
    return re.findall(r"^error: .*$", done.stderr, re.MULTILINE)


# The same results


@pytest.mark.parametrize(("ranks", "threads"), [(2, 1), (3, 1), (4, 1), (2, 2)])
def test_gradients_agree_with_one_process(tmp_path, mpiexec, ranks, threads):
    done = mpiexec(ranks, TESTS / "gradients.py", tmp_path / "found.npz", threads, where=tmp_path)
    assert done.returncode == 0, done.stderr
    found, expected = np.load(tmp_path / "found.npz"), gradients(threads=2)
    assert set(found) == set(expected)
    total = np.sqrt(sum((g**2).sum() for name, g in expected.items() if "float64/" in name))
    for name, array in expected.items():
        tolerance = 1e-6 if name.startswith("float32") else 1e-13
        tolerance = 1e-6 if name.endswith("logits") else tolerance  # float32 in both
        scale = np.linalg.norm(array) + 0.01 * total
        assert np.linalg.norm(found[name] - array) <= tolerance * scale, name


@pytest.fixture(scope="module")
def whole(tmp_path_factory, train):
    """The final result of an undisturbed run in two ranks."""
    where = tmp_path_factory.mktemp("whole")
    done = train(2, where, *FLAGS)
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 ranks with 1 thread each" in done.stdout
    assert done.stdout.count("test accuracy") == 1
    return tiny.contents(only_run(where))


def test_two_ranks_train_like_one_process(tmp_path, monkeypatch, whole):
    monkeypatch.setattr("minivit.data.shapes.load", tiny.dataset)
    monkeypatch.chdir(tmp_path)
    assert main(FLAGS) == 0
    (one, _), lines = tiny.contents(only_run(tmp_path))
    (two, _), others = whole
    assert set(one) == set(two)
    # all together: the key bias's gradient is only rounding error, which Adam amplifies
    a, b = (np.concatenate([np.frombuffer(w, np.float32) for w in w.values()]) for w in (one, two))
    assert np.linalg.norm(a - b) <= 1e-3 * np.linalg.norm(a)
    assert [line["kind"] for line in lines] == [line["kind"] for line in others]
    for one, two in zip(lines, others, strict=True):
        for key in {"loss", "train_loss", "val_loss", "test_loss"} & set(one):
            assert one[key] == pytest.approx(two[key], rel=1e-4)


# GPUs


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_ranks_with_gpus_train_like_one_process(tmp_path, mpiexec, optimizer):
    """Kernels on a CPU and a replacement for NCCL, including erasing and mixing."""
    expected = train_in_ranks.train(optimizer, World())  # compiles the kernels
    done = mpiexec(2, "-m", "cuda.train_in_ranks", "found.npz", optimizer, where=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    found = np.load(tmp_path / "found.npz")
    np.testing.assert_allclose(found["sums"], expected["sums"], rtol=1e-3)
    for name in ("weights", "logits"):
        error = np.linalg.norm(found[name] - expected[name]) / np.linalg.norm(expected[name])
        assert error < 2e-3, name


def ranks_on(bus_ids, monkeypatch):
    """One rank for each given PCI bus ID of a GPU."""
    monkeypatch.setattr(distributed, "parse_device", lambda device: None if device == "cpu" else 0)
    monkeypatch.setattr(distributed, "use_device", lambda device: None)
    monkeypatch.setattr(nccl, "find_gpu", lambda number: (number % 2, bus_ids[number]))
    monkeypatch.setattr(nccl, "new_identity", lambda: b"identity")
    monkeypatch.setattr(nccl, "connect", lambda *args: args)
    ranks = distributed.Ranks.__new__(distributed.Ranks)
    ranks.rank, ranks.size, ranks._gpus = 1, len(bus_ids), None
    ranks._local = SimpleNamespace(rank=1, allgather=lambda _: bus_ids)
    ranks._waiting = contextlib.nullcontext
    ranks.from_main = lambda function: function()
    return ranks


def test_each_rank_gets_its_own_gpu(monkeypatch):
    ranks = ranks_on(["0000:01", "0000:02"], monkeypatch)
    assert ranks.local_device("cpu") == "cpu"
    assert ranks._gpus is None
    assert ranks.local_device("cuda") == "cuda:1"
    assert ranks._gpus == (1, 2, b"identity")
    with pytest.raises(UserError, match=r"cuda:1 is one GPU for 2 ranks; --device cuda gives"):
        ranks.local_device("cuda:1")


def test_more_ranks_than_gpus_are_refused(monkeypatch):
    ranks = ranks_on(["0000:01", "0000:02", "0000:01"], monkeypatch)
    with pytest.raises(UserError, match=r"3 ranks on .*, which has 2 GPU\(s\); start one rank per"):
        ranks.local_device("cuda")


def test_a_launcher_may_make_only_one_gpu_visible_to_each_rank(monkeypatch):
    cupy = pytest.importorskip("cupy")
    monkeypatch.setattr(nccl, "count_gpus", lambda: 1)
    monkeypatch.setattr(cupy.cuda, "Device", lambda index: SimpleNamespace(pci_bus_id="0000:07"))
    assert nccl.find_gpu(5) == (0, "0000:07")


# Faults


@pytest.fixture(scope="module")
def killed(tmp_path_factory, train):
    """The runs folder of a run in two ranks, one of which was killed at step 11."""
    where = tmp_path_factory.mktemp("killed")
    done = train(2, where, *FLAGS, fault="SIGKILL", at="step:11:1")
    assert done.returncode != 0
    assert errors(done) == []  # mpiexec reports it
    assert load_checkpoint(only_run(where).last).state["step"] == 10
    return where / "runs"


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_a_killed_rank_ends_all_and_any_number_of_ranks_can_resume(
    tmp_path, train, whole, killed, ranks
):
    shutil.copytree(killed, tmp_path / "runs")
    run = only_run(tmp_path)
    done = train(ranks, tmp_path, "--resume", run.path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "resuming at step 10 of 12" in done.stdout
    assert (f"ranks was 2, is {ranks}: sums are rounded" in done.stdout) == (ranks != 2)
    assert (tiny.contents(run) == whole) == (ranks == 2)
    assert load_checkpoint(run.last).state["ranks"] == ranks
    assert run.test_results()


def test_a_random_rank_can_be_killed_at_a_random_moment(tmp_path, mpiexec, capsys, monkeypatch):
    """docs/distributed.md gives the results of 30 kills."""
    monkeypatch.setattr(kill_ranks, "FLAGS", [*kill_ranks.FLAGS, "--epochs", "8"])
    assert kill_ranks.main(times=1, seed=2, folder=tmp_path) == 0
    assert "1 of 1 whole" in capsys.readouterr().out


def line_about_a_hung_rank(train, where, seconds, moment, hung):
    """The last line of the rank that does not hang."""
    started = time.monotonic()
    flags = [*FLAGS, "--timeout", seconds]
    done = train(2, where, *flags, fault="SIGSTOP", at=f"{moment}:{hung}")
    assert seconds < time.monotonic() - started < 60
    assert done.returncode != 0
    (line,) = errors(done)
    assert f"rank {1 - hung} on " in line
    return line


@pytest.mark.parametrize("hung", [0, 1])
def test_a_hung_rank_is_reported_in_time(tmp_path, train, hung):
    line = line_about_a_hung_rank(train, tmp_path, 3, "step:7", hung)
    assert "has waited 3 s for another rank; the last checkpoint" in line
    assert load_checkpoint(only_run(tmp_path).last).state["step"] == 5


@pytest.mark.parametrize(("moment", "hung"), [("load:0", 0), ("digest:0", 1)])
def test_a_rank_that_hangs_before_the_first_step_is_reported_in_time(tmp_path, train, moment, hung):
    line = line_about_a_hung_rank(train, tmp_path, 2, moment, hung)
    assert "has waited 2 s for another rank; find out what hangs, then start again" in line


def test_a_rank_that_loads_its_data_slowly_is_not_reported(tmp_path, train):
    done = train(2, tmp_path, *FLAGS, "--timeout", "2", fault="slow", at="load:0:0")
    assert (done.returncode, errors(done)) == (0, [])


def test_a_rank_that_dies_before_the_first_step_ends_all(tmp_path, train):
    done = train(2, tmp_path, *FLAGS, fault="SIGKILL", at="digest:0:1")
    assert done.returncode != 0
    assert errors(done) == []  # mpiexec reports it
    assert not only_run(tmp_path).last.exists()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_to_one_rank_makes_all_ranks_save_and_stop(tmp_path, train, whole, name):
    done = train(2, tmp_path, *FLAGS, fault=name, at="step:7:1")
    assert done.returncode == 130
    assert errors(done) == []
    run = only_run(tmp_path)
    assert done.stdout.count("stopped and saved at step 7") == 1
    assert load_checkpoint(run.last).state["step"] == 7
    if name == "SIGTERM":
        assert train(2, tmp_path, "--resume", run.path).returncode == 0
        assert tiny.contents(run) == whole


def test_a_full_disk_is_reported_once_and_the_last_checkpoint_is_intact(tmp_path, train):
    done = train(2, tmp_path, *FLAGS, fault="full", at="step:9:0")
    assert done.returncode == 2
    (line,) = errors(done)
    assert "No space left on device; the last checkpoint is intact" in line
    assert load_checkpoint(only_run(tmp_path).last).state["step"] == 8


def test_a_user_error_on_all_ranks_is_reported_once(tmp_path, train):
    done = train(3, tmp_path, *FLAGS, "--batch-size", "2")
    assert done.returncode == 2
    (line,) = errors(done)
    assert "3 ranks for batches of 2 images" in line


def test_a_user_error_on_one_rank_ends_all(tmp_path, train):
    done = train(3, tmp_path, *FLAGS, fault="lost", at="step:0:1")
    assert done.returncode == 2
    assert errors(done) == ["error: the images are lost"]


def test_a_bug_on_one_rank_ends_all_with_one_traceback(tmp_path, train):
    done = train(2, tmp_path, *FLAGS, fault="bug", at="step:7:1")
    assert done.returncode == 1
    assert done.stderr.count("Traceback") == 1
    assert "RuntimeError: a bug" in done.stderr


def test_a_rank_with_different_data_is_found_before_the_first_step(tmp_path, train):
    done = train(3, tmp_path, *FLAGS, fault="data", at="step:0:2")
    assert done.returncode == 2
    (line,) = errors(done)
    assert re.search(r"rank 2 on .* differs from rank 0 on .* in its data set", line)
    assert not only_run(tmp_path).last.exists()


def test_two_runs_in_one_folder_are_refused(tmp_path, train, killed):
    shutil.copytree(killed, tmp_path / "runs")
    run = only_run(tmp_path)
    with run.locked():
        done = train(2, tmp_path, "--resume", run.path)
    assert done.returncode == 2
    (line,) = errors(done)
    assert "another process is training there" in line


def test_missing_mpi4py_is_reported_once(tmp_path, mpiexec):
    code = (
        "import sys; sys.modules['mpi4py'] = None; from minivit.commands import run; "
        "sys.exit(run('train', sys.argv[1:]))"
    )
    done = mpiexec(2, "-c", code, *FLAGS, where=tmp_path)
    assert done.returncode == 2
    (line,) = errors(done)
    assert "2 processes were started, and each would train alone: mpi4py is not installed" in line
    assert 'pip install "minivit[mpi]"' in line
    assert not (tmp_path / "runs").exists()


def test_single_process_commands_are_refused_in_several_ranks(tmp_path, mpiexec):
    done = mpiexec(2, "-m", "minivit.evaluate", "runs", where=tmp_path)
    assert done.returncode == 2
    assert errors(done) == [
        "error: minivit evaluate runs in one process, but 2 were started; leave out mpiexec"
    ]


def test_the_other_training_commands_run_in_ranks_too(tmp_path, mpiexec):
    code = (
        "import sys, tiny; from minivit.data import shapes; from minivit.commands import run; "
        "shapes.load = tiny.dataset; sys.exit(run(sys.argv[1], sys.argv[2:]))"
    )
    changes = {"dataset": "shapes", "epochs": 1, "batch_size": 5, "threads": 1}
    flags = [*tiny.as_flags(changes), "--runs"]
    sizes = tiny.as_flags({"image_size": 8, "dim": 16, "depth": 1, "num_heads": 2})
    done = mpiexec(2, "-c", code, "pretrain", *flags, "learned", *sizes, where=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("test accuracy") == 1
    (path,) = (tmp_path / "learned").iterdir()
    done = mpiexec(3, "-c", code, "finetune", "--from", path, *flags, "runs", where=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("test accuracy") == 1
    assert only_run(tmp_path).test_results()
    done = mpiexec(2, "-c", code, "finetune", "--from", path, "--few-shot", "2", where=tmp_path)
    assert done.returncode == 2
    assert "--few-shot runs in one process" in errors(done)[0]


# Without MPI


@pytest.fixture
def launched(monkeypatch):
    """Simulates that a launcher has started this process."""
    find_world.cache_clear()
    for names in LAUNCHERS:
        for name in names:
            monkeypatch.delenv(name, raising=False)
    yield monkeypatch.setenv
    find_world.cache_clear()


def test_one_process_never_imports_mpi4py(tmp_path):
    code = (
        "import sys, tiny; from minivit.commands.train import run; from minivit.data import shapes;"
        "shapes.load = tiny.dataset; assert run(sys.argv[1:]) == 0; "
        "assert not any(name.startswith('mpi4py') for name in sys.modules)"
    )
    paths = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    subprocess.run(
        [sys.executable, "-c", code, *FLAGS, "--epochs", "1"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": paths},
        check=True,
        capture_output=True,
    )


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, (1, 0)),
        ({"PMI_SIZE": "3", "MPI_LOCALRANKID": "2"}, (3, 2)),
        ({"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_RANK": "1"}, (2, 1)),
        ({"SLURM_STEP_NUM_TASKS": "8", "SLURM_LOCALID": "3"}, (8, 3)),
        ({"SLURM_NTASKS": "8"}, (1, 0)),  # inside salloc but not started by srun
        ({"PMI_SIZE": "many"}, (1, 0)),
    ],
)
def test_launchers_are_recognized_by_their_variables(launched, variables, expected):
    for name, value in variables.items():
        launched(name, value)
    assert find_launch() == Launch(*expected)


def test_a_launcher_of_another_mpi_is_detected(launched, capsys):
    pytest.importorskip("mpi4py")
    launched("SLURM_STEP_NUM_TASKS", "2")
    with pytest.raises(
        UserError, match=r"each would train alone: mpi4py belongs to a different MPI"
    ):
        find_world()
    assert guarded(lambda: main([])) == 2
    assert capsys.readouterr().err.startswith("error: 2 processes were started, and each would")


def test_collective_operations_are_immediate_in_a_single_process(launched):
    world = find_world()
    array = np.arange(3.0)
    world.all_reduce(array)
    assert array.tolist() == [0, 1, 2]
    assert (world.rank, world.size, world.main, world.threads) == (0, 1, True, None)
    assert world.any(True)
    assert not world.any(False)
    assert world.from_main(lambda: 5) == world.in_turn(lambda: 5) == 5


def test_rank_0_goes_first_and_the_others_follow_in_turn():
    ranks = [distributed.Ranks.__new__(distributed.Ranks) for _ in range(4)]
    for number, rank in enumerate(ranks):
        rank.rank = number
    delays = [rank.report_delay for rank in ranks]
    assert delays[0] == 0
    assert delays[1] >= 1
    assert delays == sorted(set(delays))


@pytest.mark.parametrize(("count", "size"), [(7, 3), (8, 4), (2, 5), (0, 2)])
def test_rows_are_divided_evenly(count, size):
    parts = []
    for rank in range(size):
        world = World()
        world.rank, world.size = rank, size
        parts.append(world.rows(count))
    assert [row for rows in parts for row in rows] == list(range(count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize(
    ("cpus", "cores", "expected"),
    [
        ([{0, 1, 2, 3}] * 2, 4, 2),  # all ranks may use all cores
        ([{0, 1}, {2, 3}], 2, 2),  # each rank has its own
        ([{0, 1}] * 3, 2, 1),  # more ranks than cores
        ([{0, 1, 2}], 3, 3),
    ],
)
def test_the_cores_of_a_machine_are_divided_among_ranks(monkeypatch, cpus, cores, expected):
    monkeypatch.setattr(distributed, "physical_cores", lambda: cores)
    assert distributed._cores_per_process(cpus) == expected
