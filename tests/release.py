"""Check whether this clone can be released: build, check, install in a new environment, and run it
there.

    make release                                  # all of it
    make release ARGS="dist commands"             # some of its parts
    make release ARGS="versions --tests tests/functional tests/layers --pythons 3.11 3.14"

dist: a source distribution and a wheel of the committed files, with absolute links in the README,
as PyPI needs them; checked by twine and check-wheel-contents. commands: each of the two installed
in its own environment, and every minivit command run from an empty folder. sdist: the tests of the
unpacked source distribution. versions: the tests on each Python that uv finds, with the newest of
every package that minivit needs, and with the oldest that requirements.txt and the extras allow,
where there are wheels of those.

Nothing is left behind but the two files, in --dist.
"""

import argparse
import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import venv
from collections.abc import Iterator
from pathlib import Path

from minivit import __version__
from minivit.commands import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
FLOORS = ("3.11", "3.12")
"""The Pythons of which the oldest packages have wheels; on others pip takes newer ones anyway."""
EXTRAS = "dev,fast,onnx,tensorboard"
LINK = re.compile(r"\]\((?!https?:|#)([^)]+)\)")
"""The target of a link or an image of Markdown, where it is a file of the repository."""
IMAGES = {".png", ".gif", ".jpg", ".svg"}
SCRIPTS, EXE = ("Scripts", ".exe") if os.name == "nt" else ("bin", "")


def dist(args: argparse.Namespace) -> None:
    """Build both and check them."""
    log("dist: build and check")
    shutil.rmtree(args.dist, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        committed = ["git", "-C", ROOT, "archive", "--format=tar", "HEAD"]
        with tarfile.open(fileobj=io.BytesIO(subprocess.check_output(committed))) as archive:
            archive.extractall(folder, filter="data")
        readme = Path(folder, "README.md")
        readme.write_text(for_pypi(readme.read_text(encoding="utf-8")), encoding="utf-8")
        python("build", "--outdir", args.dist, folder)
    files = sorted(args.dist.iterdir())
    python("twine", "check", "--strict", *files)
    python("check_wheel_contents", *args.dist.glob("*.whl"))
    python("check_manifest", ROOT)
    if "OWNER" in repository():
        log("not to be uploaded yet: put the repository's address in pyproject.toml")


def for_pypi(text: str) -> str:
    """Markdown with absolute links and images, which lead to this version's tag in the
    repository."""
    base = repository()

    def absolute(link: re.Match) -> str:
        kind = "raw" if Path(link[1]).suffix in IMAGES else "blob"
        return f"]({base}/{kind}/v{__version__}/{link[1]})"

    return LINK.sub(absolute, text)


def repository() -> str:
    """The URL of the repository in pyproject.toml."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return settings["project"]["urls"]["Repository"]


def commands(args: argparse.Namespace) -> None:
    """Install each of the two and run every command from an empty folder."""
    for file in built_files(args.dist):
        with tempfile.TemporaryDirectory() as folder:
            log(f"commands: {file.name}")
            env = Path(folder, "env")
            venv.create(env, with_pip=True)
            programs, cwd = env / SCRIPTS, Path(folder, "empty")
            cwd.mkdir()
            run(programs / f"python{EXE}", "-m", "pip", "install", "--quiet", file, cwd=cwd)
            draw = "from PIL import Image; Image.new('RGB', (40, 30), 'red').save('cat.png')"
            run(programs / f"python{EXE}", "-c", draw, cwd=cwd)
            for words in command_lines(cwd):
                run(programs / f"minivit{EXE}", *words, cwd=cwd, quiet=True)


def command_lines(folder: Path) -> Iterator[list[str]]:
    """Every command; those that need a trained model come after training."""
    yield from (["--help"], ["--version"], ["doctor"], ["doctor", "--report"], ["models"])
    yield from ([name, "--help"] for name in COMMANDS)
    yield ["gradcheck", "--only", "layernorm", "--elements", "4", "--directions", "1"]
    small = ["--dataset", "shapes", "--quick", "--model", "Nano/8", "--batch-size", "100"]
    yield ["train", *small]
    (trained,) = map(str, (folder / "runs").iterdir())
    yield ["train", "--resume", trained]
    yield ["evaluate", trained]
    yield ["predict", trained, "cat.png"]
    yield ["attention", trained, "cat.png"]
    yield ["live", trained, "--image", "cat.png"]
    yield ["trace", trained, "cat.png"]
    yield ["export", trained, "model.safetensors", "--to", "timm"]
    yield ["export", trained, "model", "--to", "huggingface"]
    yield ["finetune", "--from", trained, "--dataset", "shapes", "--quick"]
    yield ["pretrain", *small, "--runs", "pretrained"]
    yield ["study", "pooling", "--dataset", "shapes", "--quick", "--runs", "studies"]


def sdist(args: argparse.Namespace) -> None:
    """Run the tests of the source distribution, unpacked in an empty folder."""
    with unpacked(args.dist) as folder:
        log("sdist: its tests")
        env = folder.parent / "env"
        venv.create(env, with_pip=True)
        program = env / SCRIPTS / f"python{EXE}"
        run(program, "-m", "pip", "install", "--quiet", f"{folder}[dev]", cwd=folder)
        test(program, args.tests, folder)


def versions(args: argparse.Namespace) -> None:
    """Run the tests with the newest packages on each Python, and with the oldest."""
    with unpacked(args.dist) as folder:
        for version in args.pythons:
            for resolution in ("highest", "lowest-direct"):
                if resolution == "highest" or version in FLOORS:
                    one_version(version, resolution, args.tests, folder)


def one_version(version: str, resolution: str, tests: list[str], folder: Path) -> None:
    """Run the tests on one Python, with the newest packages or the oldest."""
    env = folder.parent / f"{version}-{resolution}"
    uv = [sys.executable, "-m", "uv"]
    command = [*uv, "python", "find", version]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        log(f"versions: Python {version} is not here")
        return
    log(f"versions: Python {version}, {resolution}")
    run(*uv, "venv", "--quiet", "--python", version, env, cwd=folder)
    program = env / SCRIPTS / f"python{EXE}"
    package = f"{folder}[{EXTRAS}]"
    install = ["pip", "install", "--quiet", "--python", program, "--resolution", resolution]
    run(*uv, *install, package, cwd=folder)
    run(*uv, "pip", "list", "--python", program, cwd=folder)
    test(program, tests, folder)


def test(program: Path, tests: list[str], folder: Path) -> None:
    run(program, "-X", "warn_default_encoding", "-m", "pytest", *tests, cwd=folder)


@contextlib.contextmanager
def unpacked(dist: Path) -> Iterator[Path]:
    """The folder of the source distribution, alone in a temporary one."""
    (file,) = (file for file in built_files(dist) if file.suffix == ".gz")
    with tempfile.TemporaryDirectory() as temporary:
        with tarfile.open(file) as archive:
            archive.extractall(temporary, filter="data")
        (folder,) = Path(temporary).iterdir()
        yield folder


def built_files(folder: Path) -> list[Path]:
    """The wheel and the source distribution."""
    files = sorted([*folder.glob("*.whl"), *folder.glob("*.tar.gz")])
    if len(files) != 2:
        sys.exit(
            f"{folder}: expected a wheel and a source distribution; python tests/release.py dist"
        )
    return files


def python(module: str, *words: object) -> None:
    """Run one of the tools in this script's environment."""
    run(sys.executable, "-m", module, *words, cwd=ROOT)


def run(*words: object, cwd: Path, quiet: bool = False) -> None:
    """Run a program without PYTHONPATH, which could lead it to this clone; exit if it fails."""
    command = [str(word) for word in words]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    print("$", " ".join(command), flush=True)
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT} if quiet else {}
    done = subprocess.run(command, cwd=cwd, env=environment, check=False, **output)
    if done.returncode:
        sys.stdout.write((done.stdout or b"").decode(errors="replace"))
        sys.exit(f"failed with {done.returncode}: {' '.join(command)}")


def log(what: str) -> None:
    print(f"== {what}", flush=True)


PARTS = {one.__name__: one for one in (dist, commands, sdist, versions)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; none: all", default=[])
    parser.add_argument("--dist", type=Path, default=ROOT / "dist", help="where the two files are")
    parser.add_argument("--tests", nargs="+", default=["tests"], help="what pytest is given")
    parser.add_argument("--pythons", nargs="+", default=list(PYTHONS), help="versions of Python")
    args = parser.parse_args()
    args.dist = args.dist.resolve()
    unknown = set(args.parts) - set(PARTS)
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}: expected some of {', '.join(PARTS)}")
    for name in args.parts or PARTS:
        PARTS[name](args)
    log("all of it passed")


if __name__ == "__main__":
    main()
