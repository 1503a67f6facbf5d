"""`minivit export RUN --to FORMAT FILE`: a trained model for other libraries."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from minivit.commands.cli import parse, require_ending
from minivit.engine import Trained, load_model
from minivit.errors import UserError
from minivit.interop.exports import to_huggingface, to_timm
from minivit.interop.published import is_minivit
from minivit.interop.to_onnx import to_onnx


@dataclass(frozen=True)
class Options:
    """Write a trained model for timm, Hugging Face or ONNX, and print the lines that load it."""

    run: Annotated[Path, tyro.conf.Positional]
    """A directory created by minivit train, or a .safetensors file from it."""
    file: Annotated[Path, tyro.conf.Positional]
    """What to write: a .safetensors file for timm, a folder for huggingface, an .onnx file
    for onnx."""
    to: Literal["timm", "huggingface", "onnx"]
    """timm: weights for its VisionTransformer. huggingface: a folder for from_pretrained. onnx: a
    graph that normalizes its images itself, with the class names in its metadata."""
    attention: bool = False
    """With onnx: also output the attention maps."""


def main(options: Options) -> int:
    """Write the file, and print how to load it."""
    if options.attention and options.to != "onnx":
        raise UserError(f"--attention works only with --to onnx; leave it out with {options.to}")
    _check_target(options.file, options.to)
    formats: dict[str, Callable[[Trained, Path], str]] = {
        "timm": to_timm,
        "huggingface": to_huggingface,
        "onnx": lambda trained, file: to_onnx(trained, file, options.attention),
    }
    print(formats[options.to](load_model(options.run), options.file))
    return 0


ENDINGS = {"timm": ".safetensors", "onnx": ".onnx"}
"""The endings of the formats that are single files."""


def _check_target(file: Path, form: str) -> None:
    """Raises UserError for a file name of another format, and for a run or checkpoint, which would
    be overwritten.
    """
    if form in ENDINGS:
        require_ending(str(file), file, ENDINGS[form])
    if file.exists() and is_minivit(file):
        raise UserError(
            f"{file}: a run or its checkpoint, which would be lost; choose another name"
        )


def run(argv: list[str], prog: str = "minivit export") -> int:
    """Parse the flags and run."""
    return main(parse(Options, argv, prog))
