"""Kill a rank of a run at a random moment, repeatedly: the run can be resumed from what was saved.

    python tests/engine/kill_ranks.py --times 30 --seed 0

Each time, two ranks train a tiny model, one of them gets kill -9, and 1, 2 or 3 ranks (in rotation)
resume the run, or start it over if no checkpoint had been saved yet. It must finish and, with two
ranks, match the undisturbed run bit for bit. The exit status is 1 if one did not.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

import tiny  # noqa: E402

from minivit.commands.cli import guarded  # noqa: E402
from minivit.commands.train import run as train  # noqa: E402
from minivit.data import shapes  # noqa: E402
from minivit.engine import Run, load_checkpoint  # noqa: E402
from minivit.engine.distributed import find_world  # noqa: E402
from minivit.errors import UserError  # noqa: E402

MPIEXEC = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}")
FLAGS = [*tiny.FLAGS, "--dropout", "0.1", "--ema-decay", "0.9", "--optimizer", "muon"]
FLAGS += ["--epochs", "40", "--eval-every", "10", "--save-every", "3"]
RANKS = 2
SECONDS = 120
"""In which a training has ended, on a busy machine too."""


def start(ranks: int, where: Path, *flags: str) -> subprocess.Popen:
    """Train in this many ranks; each writes its process ID to the folder."""
    where.mkdir(exist_ok=True)
    for old in where.glob("rank *"):
        old.unlink()
    return subprocess.Popen(
        [MPIEXEC, "-n", str(ranks), sys.executable, __file__, "--as-rank", *flags],
        cwd=where,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )


def as_rank(flags: list[str]) -> int:
    """The program that `start` runs."""
    Path(f"rank {find_world().rank}").write_text(str(os.getpid()), encoding="utf-8")
    shapes.load = tiny.dataset
    return guarded(lambda: train(flags))


def only_run(where: Path) -> Run | None:
    """The run in a folder, if one has begun."""
    found = [path for path in where.glob("runs/*") if (path / "config.json").exists()]
    return Run(found[0]) if found else None


def process_ids(where: Path) -> list[int]:
    """The process IDs of all ranks, once they have started."""
    files = [where / f"rank {rank}" for rank in range(RANKS)]
    while not all(file.exists() and file.read_text(encoding="utf-8") for file in files):
        time.sleep(0.01)
    return [int(file.read_text(encoding="utf-8")) for file in files]


def undisturbed(where: Path) -> tuple[float, tuple]:
    """Seconds from the start of the ranks to their end, and their final result."""
    process = start(RANKS, where, *FLAGS)
    process_ids(where)
    started = time.monotonic()
    output, _ = process.communicate(timeout=SECONDS)
    if process.returncode:
        raise UserError(f"the undisturbed training failed: {output}")
    return time.monotonic() - started, tiny.contents(only_run(where))


def kill_one(where: Path, seconds: float, rng: random.Random) -> str:
    """Kill a rank and wait until all have ended; returns in words what was killed and when."""
    rank, moment = rng.randrange(RANKS), rng.uniform(0, seconds)
    process = start(RANKS, where, *FLAGS)
    victim = process_ids(where)[rank]
    time.sleep(moment)
    if process.poll() is None:
        os.kill(victim, signal.SIGKILL)
    process.communicate(timeout=SECONDS)
    return f"rank {rank} killed after {moment:4.1f} s" if process.returncode else ""


def saved_step(run: Run | None) -> int | None:
    """The step of the last checkpoint, which must be intact; None if there is none."""
    return load_checkpoint(run.last).state["step"] if run and run.last.exists() else None


def resume(where: Path, ranks: int) -> tuple[str, bool, tuple]:
    """Resume the run in a folder; returns in words from where, whether it finished, and its
    result."""
    run, flags, outcome = only_run(where), FLAGS, "no checkpoint yet, begun again"
    step = saved_step(run)
    if step is None:
        where = where / "again"
    else:
        flags, outcome = ["--resume", str(run.path)], f"resumed at step {step:3}"
    process = start(ranks, where, *flags)
    output, _ = process.communicate(timeout=SECONDS)
    run = only_run(where)
    complete = process.returncode == 0 and run.test_results() and "Traceback" not in output
    return outcome, complete, tiny.contents(run) if complete else ()


def main(times: int, seed: int, folder: Path) -> int:
    """Print a line for each kill, then the totals; returns the number of runs that failed."""
    rng, failed, resumed, equal = random.Random(seed), 0, 0, 0
    seconds, expected = undisturbed(folder / "whole")
    print(f"undisturbed: {seconds:.1f} s", flush=True)
    done = 0
    while done < times:
        where = folder / f"killed {done}"
        shutil.rmtree(where, ignore_errors=True)
        what = kill_one(where, seconds, rng)
        if not what:  # it ended before the kill
            continue
        ranks = done % 3 + 1
        outcome, complete, found = resume(where, ranks)
        identical = found == expected
        passed = complete and (identical or ranks != RANKS)
        resumed, equal, failed = (
            resumed + ("resumed" in outcome),
            equal + identical,
            failed + (not passed),
        )
        verdict = "the same bits" if identical else "whole" if passed else "WRONG"
        print(f"{what}; {outcome} by {ranks} ranks: {verdict}", flush=True)
        done += 1
    print(f"{times - failed} of {times} whole, {resumed} of them resumed; {equal} bit-equal")
    return failed


if __name__ == "__main__":
    if sys.argv[1:2] == ["--as-rank"]:
        sys.exit(as_rank(sys.argv[2:]))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(bool(main(options.times, options.seed, Path(folder))))
