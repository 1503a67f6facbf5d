"""Every command line printed in pages, notebooks, docstrings and messages works.

Each is parsed with its values as printed and then run in a small version, given by the tables here,
on a small run and small data. A line without an entry in a table fails, and so does an entry that
no line uses.
"""

import contextlib
import functools
import importlib
import io
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import time
import tomllib
import warnings
from pathlib import Path

import printed
import pytest
from PIL import Image
from printed import ROOT, Line
from small_commands import (
    OVERRIDES,
    PLACEHOLDERS,
    REQUIRED,
    SMALL,
    TRAINING,
    alternatives,
    complete,
    distinct,
    split,
)
from threadpoolctl import threadpool_limits

import minivit.commands
from benchmarks import report, runner, scaling, sweep, worker
from minivit.commands import attention, finetune, train
from minivit.commands.cli import parse
from minivit.data import Dataset, shapes
from minivit.data.cifar10 import CLASS_NAMES
from minivit.data.published import Published
from minivit.engine.recipes import recipe_of
from minivit.engine.study import Plan
from minivit.engine.trained import load_pretrained
from minivit.models.config import preset_fields


def check_make(line: Line, tmp_path) -> None:
    """It creates an environment; only what make would do is checked."""
    if shutil.which("make") is None:
        pytest.skip("no make")
    env = {"PATH": os.environ["PATH"]}  # this test may itself be run by make with ARGS
    output = subprocess.check_output(
        ["make", "-n", *line.words[1:]], cwd=ROOT, env=env, encoding="utf-8"
    )
    *_, last = output.splitlines()
    words = Line(last, line.file).words
    if "minivit.train" in words:
        train.parse_arguments(words[3:], {}, "minivit train")
        return
    script = next((word for word in words if word.endswith(".py")), None)
    assert script is None or (ROOT / script).is_file()
    assert script or {"pytest", "mypy", "sphinx"} & set(words)


def check_pytest(line: Line, tmp_path) -> None:
    """It needs a GPU: the marker must be declared and the files must exist."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    declared = settings["tool"]["pytest"]["ini_options"]["markers"]
    words = line.words[line.words.index("pytest") :]
    marker = words[words.index("-m") + 1]
    assert any(one.startswith(f"{marker}:") for one in declared)
    for file in words[words.index("-m") + 2 :]:
        assert (ROOT / file).is_file()


def check_pip(line: Line, tmp_path) -> None:
    """It installs from the network: the extras must be in pyproject.toml."""
    assert line.words[1] == "install"
    if line.words[2] != "-e":
        return
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "optional-dependencies"
    ]
    named = re.search(r"\[(.*)\]", line.words[3])
    assert named is None or set(named[1].split(",")) <= set(extras)


def check_file(line: Line, tmp_path) -> None:
    """It opens or redraws a file of the repository, which must exist."""
    assert (ROOT / line.words[-1]).exists()


def check_script(line: Line, tmp_path) -> None:
    """It needs packages that tests do without or takes minutes; another test runs it on a smaller
    input."""
    assert (ROOT / line.words[1]).is_file()


def check_version(line: Line, tmp_path) -> None:
    """It is a flag of `minivit` itself, which must run."""
    assert minivit.commands.main(line.words[1:]) == 0


def check_flags(line: Line, tmp_path) -> None:
    """It needs a GPU or starts mpiexec: only its flags are parsed."""
    module = line.words[2]
    parse(importlib.import_module(module).Options, line.words[3:], module)


def check_launched(line: Line, tmp_path) -> None:
    """It needs MPI and is run by tests/engine/test_distributed.py; here only its flags are
    parsed."""
    if "benchmarks.scaling" in line.words:
        module = line.words.index("benchmarks.scaling")
        parse(scaling.Options, line.words[module + 1 :], "benchmarks.scaling")
        return
    words = line.words[line.words.index("minivit") :]
    assert words[1] == "train"
    train.parse_arguments(words[2:], {}, "minivit train")


def check_sizes(line: Line, tmp_path) -> None:
    """It needs Chromium: the file must exist, and the sizes must be known names."""
    assert (ROOT / line.words[1]).is_file()
    for name in line.words[2:] if line.words[2] != "--same" else ():
        preset_fields(name)


def check_animation(line: Line, tmp_path) -> None:
    """It needs Chromium: tests/test_animate_live.py records a smaller run."""
    assert (ROOT / line.words[1]).is_file()
    assert len(line.words) == 3


def check_nothing(line: Line, tmp_path) -> None:
    """It is a tool of the system, not of this repository."""


NOT_RUN = {
    "make": check_make,
    "pytest": check_pytest,
    "compute-sanitizer pytest": check_pytest,
    "pip": check_pip,
    "!pip": check_pip,
    "mpiexec": check_launched,
    "python notebooks/map.py": check_file,
    "python notebooks/pages.py": check_script,
    "python tests/measure_live.py": check_sizes,
    "python tests/engine/kill_ranks.py": check_script,
    "python tests/animate_live.py": check_animation,
    "python tests/course/measure_heldout.py": check_file,
    "jupyter lab": check_file,
    "python -m benchmarks.gpu": check_flags,
    "python -m benchmarks.scaling": check_flags,
    "git clone": check_nothing,
    "!git clone": check_nothing,
    "python3 -m venv": check_nothing,
    "python -m venv": check_nothing,
    "minivit --version": check_version,
    ". .venv/bin/activate": check_nothing,
}
"""By how a line begins: what cannot be run in a test, and what is checked of it all the same."""


def beginning(line: Line) -> str | None:
    """The entry of NOT_RUN for the line, if there is one."""
    return next((entry for entry in NOT_RUN if f"{line.text} ".startswith(f"{entry} ")), None)


LINES = printed.commands()
RUNNABLE = [line for line in LINES if beginning(line) is None]


@functools.cache
def small_shapes(num_train: int = 1_100) -> Dataset:
    return DRAW(0, num_train, 20)


DRAW = shapes.load


def small_cifar10() -> Dataset:
    data = small_shapes()
    return Dataset("CIFAR-10", data.train, data.test, CLASS_NAMES)


class Contender(runner.Worker):
    """A contender in this process that does not measure the speed of matrix products: both would
    take seconds."""

    def __init__(self, name, shape, train):
        self.step = worker.build(name, shape, train) if name != "gemm" else lambda: None

    def run(self, steps):
        start = time.perf_counter()
        self.step()
        return {"seconds": [time.perf_counter() - start] * steps, "peak_bytes": 1}

    def stop(self):
        pass


@pytest.fixture(scope="module")
def small():
    """Small data sets, benchmark contenders in this process, two values of each sweep, and every
    eighth member of each study."""
    all_members = Plan.members
    # a contender limits BLAS to one thread for the life of its process; here, the limit ends with
    # the module
    with pytest.MonkeyPatch.context() as patch, threadpool_limits(1, "blas"):
        patch.setattr(shapes, "load", lambda num_train=1_100, num_test=20: small_shapes(num_train))
        patch.setattr(Published, "load", lambda *_, **__: small_cifar10())
        patch.setattr(Published, "find", lambda _, folder: folder)
        patch.setattr(runner, "Worker", Contender)
        patch.setattr(sweep, "VALUES", {key: v[:2] for key, v in sweep.VALUES.items()})
        patch.setattr(Plan, "members", lambda *args: all_members(*args)[::8])
        yield


@pytest.fixture(scope="module")
def paths(small, tmp_path_factory):
    """RUN: a trained model. IMAGE: an image. PHOTOS: a folder of class folders. TOUR: the slides
    that docs/live.md prints."""
    root = tmp_path_factory.mktemp("printed")
    tiny = {**TRAINING, "--dim": "16", "--depth": "1", "--num-heads": "2", "--runs": str(root)}
    flags = [word for flag in tiny.items() for word in flag]
    assert train.run(["--dataset", "shapes", *flags]) == 0
    (run,) = root.iterdir()
    images = [Image.fromarray(one.transpose(1, 2, 0)) for one in small_shapes().train.images[:80]]
    images[0].save(root / "cat.jpg")
    for i, image in enumerate(images):
        (root / "photos" / f"class {i % 2}").mkdir(parents=True, exist_ok=True)
        image.save(root / "photos" / f"class {i % 2}" / f"{i}.png")
    text = (ROOT / "docs/live.md").read_text(encoding="utf-8")
    (root / "tour.json").write_text(re.search(r"```json\n(.*?)```", text, re.S)[1], "utf-8")
    named = {"IMAGE": "cat.jpg", "PHOTOS": "photos", "TOUR": "tour.json"}
    return {"RUN": str(run), **{name: str(root / file) for name, file in named.items()}}


def test_commands_are_found_in_pages_notebooks_and_code():
    files = {line.file for line in LINES}
    assert {"README.md", "docs/gpu.md", "Makefile", "notebooks/09_training.ipynb"} <= files
    assert {"minivit/commands/train.py", "benchmarks/README.md", "benchmarks/epoch.py"} <= files
    assert Line("minivit train --resume RUN", "minivit/commands/train.py") in LINES


def test_every_line_has_an_entry_and_every_entry_is_used():
    known = {split(line)[0] for line in RUNNABLE}
    assert known == set(SMALL)
    assert {beginning(line) for line in LINES} - {None} == set(NOT_RUN)
    words = {word for line in RUNNABLE for word in line.words}
    for pattern in PLACEHOLDERS:
        assert any(re.fullmatch(pattern, word) for word in words), pattern
    assert set(OVERRIDES) <= words
    bare = {split(line)[0] for line in RUNNABLE if not split(line)[1]}
    assert set(REQUIRED) - {"--resume"} <= bare


def parse_only(name: str, flags: list[str], paths: dict[str, str]) -> None:
    """Parse the values as printed with the command's own parser; raise if one is wrong."""
    flags = [paths.get(word, word) for word in flags]
    if name == "minivit":
        return
    command = name.removeprefix("minivit ")
    if command in ("train", "pretrain"):
        train.parse_arguments(flags, {}, name)
    elif command == "finetune":
        source = Path(paths["RUN"])
        finetune.parse_arguments(flags, load_pretrained(source), source, recipe_of("cifar10"), name)
    elif command == "attention":
        parse(attention.Options, attention.with_run(flags), name)
    else:
        module = name if name.startswith("benchmarks") else f"minivit.commands.{command}"
        parse(importlib.import_module(module).Options, flags, name)


def status_of(call, *arguments) -> int | str | None:
    """The status that a call returns or, as with --help, exits with."""
    try:
        return call(*arguments)
    except SystemExit as stop:
        return stop.code


@pytest.mark.parametrize("text", dict.fromkeys(line.text for line in RUNNABLE), ids=ascii)
def test_a_line_parses_as_it_is_printed(text, paths):
    name, flags = split(Line(text, ""))
    for variant in alternatives(complete(name, flags)):
        assert not status_of(parse_only, name, variant, paths)


@pytest.mark.parametrize("text", distinct(RUNNABLE), ids=ascii)
def test_a_line_runs(text, paths, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    words = [paths.get(word, word) for word in text.split()]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*found in sys.modules", category=RuntimeWarning)
        if words[0] == "minivit":
            assert not status_of(minivit.commands.main, words[1:])
            return
        module, *words = words[2:] if words[0] == "python" else words
        if module == "benchmarks.convolution":
            pytest.importorskip("torch")
        monkeypatch.setattr(sys, "argv", [module, *words])
        with pytest.raises(SystemExit) as stop:
            runpy.run_module(module, run_name="__main__")
        assert not stop.value.code


@pytest.mark.parametrize(
    "line", [line for line in LINES if beginning(line)], ids=lambda line: ascii(line.text)
)
def test_lines_that_cannot_run_here_are_well_formed(line, tmp_path):
    NOT_RUN[beginning(line)](line, tmp_path)


SCRIPTS = {"--whole": "tests/mutants.py"}
"""Flags of scripts, which are no commands."""

FLAGS = list(dict.fromkeys(line.text for line in printed.flags()))


def takes(name: str, flags: list[str], paths: dict[str, str]) -> bool:
    """Whether a command accepts these flags and their values."""
    required = REQUIRED.get(name, "").split()
    if "--dataset" in flags:
        required = required[: -2 if "--dataset" in required else None]
    with contextlib.redirect_stderr(io.StringIO()):
        return not status_of(parse_only, name, [*required, *flags], paths)


@pytest.fixture(scope="module")
def known(paths):
    """Every flag of every command, from its help."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        for name in SMALL:
            status_of(parse_only, name, ["--help"], paths)
    return set(re.findall(r"--[a-z][a-z0-9-]*", output.getvalue()))


@pytest.mark.parametrize("text", [text for text in FLAGS if text not in SCRIPTS], ids=ascii)
def test_flags_printed_alone_belong_to_a_command(text, known, paths):
    words = text.replace("FILE", f"{paths['RUN']}/config.json").replace("NAME", "shapes").split()
    if "--precision" in words and "--device" not in words:
        words += ["--device", "cuda"]  # the sentence around it is about a GPU
    if len(words) == 1:
        assert words[0] in known
    else:
        assert any(takes(name, words, paths) for name in SMALL if name != "minivit")


def test_the_commands_for_all_results_are_printed_in_one_place():
    files = sorted((ROOT / "benchmarks" / "results").glob("*.json"))
    measured = {json.loads(file.read_text(encoding="utf-8"))["command"] for file in files}
    listed = {line.text for line in LINES if line.file == "benchmarks/README.md"}
    assert measured <= listed


def test_flags_printed_for_scripts_exist_in_them():
    for flag, script in SCRIPTS.items():
        assert flag in FLAGS
        assert flag in (ROOT / script).read_text(encoding="utf-8")


@pytest.mark.parametrize("text", printed.python_blocks("docs/commands.md"))
def test_the_python_of_the_commands_page_runs(text, capsys):
    exec(text, {})
    assert "blocks.0.attn.qkv.weight" in capsys.readouterr().out
