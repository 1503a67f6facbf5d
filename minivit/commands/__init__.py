"""The commands: `minivit COMMAND`, one file per command.

A command turns flags into a config or options and calls the library; it returns an exit status. 0:
done. 1: done, but something was wrong (see its `--help`). 2: a user's mistake, reported in one
line. 130: interrupted.
"""

import difflib
import importlib
import sys
from collections.abc import Sequence
from typing import Any

from minivit import __version__
from minivit.commands.cli import guarded
from minivit.engine.launch import require_single_process
from minivit.errors import UserError, shown

COMMANDS = {
    "train": "train a Vision Transformer; without flags, with a good recipe",
    "pretrain": "learn from images without labels, by predicting hidden patches",
    "finetune": "start from a trained model: other classes, larger images",
    "study": "runs that differ in one setting: data, positions, pooling, shape, …",
    "evaluate": "accuracy of a trained model on the test set, class by class",
    "predict": "the most probable classes of images",
    "attention": "what a trained model attends to: figures, scores, a page to explore",
    "live": "the model itself in a page: cover patches, turn heads off, see what changes",
    "models": "the published Vision Transformers that can be loaded",
    "export": "convert a trained model for timm, Hugging Face or ONNX",
    "trace": "every tensor of a forward and a backward pass, step by step",
    "gradcheck": "every hand-written gradient against finite differences",
    "doctor": "this machine: CPU, BLAS, GPU, speed, and what would make it faster",
}
"""What each command does, in one line."""
DISTRIBUTED = ("train", "pretrain", "finetune", "doctor")
"""Commands that several processes can run together, started by mpiexec."""


def main(argv: Sequence[str] | None = None) -> int:
    """`minivit COMMAND FLAGS…`: run a command, list them all, or print the version."""
    args = list(sys.argv[1:] if argv is None else argv)
    if args == ["--version"]:
        return guarded(lambda: _print(f"minivit {__version__}"))
    if not args or args[0] in ("-h", "--help"):
        return guarded(lambda: _print(usage()))
    return run(args[0], args[1:])


def run(name: str, flags: Sequence[str]) -> int:
    """Run a command; a mistake that the user can fix is reported in one line on standard error."""
    return guarded(lambda: _find(name).run(list(flags), f"minivit {name}"))


def _find(name: str) -> Any:
    """The module of a command. Raises UserError if there is no such command."""
    if name not in COMMANDS:
        matches = difflib.get_close_matches(name, COMMANDS, 1)
        hint = f"did you mean minivit {matches[0]}? " if matches else ""
        raise UserError(f"{shown(name)} is not a command; {hint}minivit --help lists them")
    if name not in DISTRIBUTED:
        require_single_process(f"minivit {name}")
    return importlib.import_module(f"minivit.commands.{name}")


def _print(text: str) -> int:
    print(text, flush=True)
    return 0


def usage() -> str:
    """The commands, one per line."""
    lines = ["A Vision Transformer whose every gradient is written by hand.", ""]
    lines += [f"  minivit {name:10} {what}" for name, what in COMMANDS.items()]
    return "\n".join([*lines, "", "minivit COMMAND --help explains the flags."])
