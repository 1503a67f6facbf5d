"""`minivit predict RUN IMAGE…`: the most probable classes of images."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import tyro

from minivit.backend import to_device, to_host
from minivit.commands.cli import parse, require_ending
from minivit.commands.images import NamedImages
from minivit.commands.weights import load_any
from minivit.data import FORMATS
from minivit.engine import Trained
from minivit.errors import UserError, shown_path
from minivit.files import as_csv, make_folder, write_atomically
from minivit.functional import softmax_forward
from minivit.ranges import Range, Ranged

STDOUT = Path("-")


@dataclass(frozen=True)
class Options(Ranged):
    """Print the most probable classes of images.

    If some of several images cannot be read, each is reported in one line, the others are
    classified, and the exit status is 1.
    """

    run: Annotated[Path, tyro.conf.Positional]
    """A directory created by minivit train, or published weights (see minivit models)."""
    images: Annotated[
        tuple[Path, ...],
        tyro.conf.Positional,
        tyro.conf.arg(help=f"Image files, or folders of them: {FORMATS}."),
    ]
    top: Annotated[int, Range(1, 100_000, "no model has more", "classes")] = 5
    """How many classes to print per image."""
    csv: Path | None = None
    """Write a table instead: path, predicted class, its probability, and the probability of each
    class. A .csv file, or - for standard output.
    """
    json: Path | None = None
    """Write the same as JSON. A .json file, or - for standard output."""
    device: str = "cpu"
    """cpu, cuda, or cuda:N."""


class Prediction(NamedTuple):
    """probs: (K,), the probability of each class."""

    path: Path
    probs: np.ndarray


def main(options: Options) -> int:
    """Print the top classes of each image with their probabilities, or write them all."""
    if not options.images:
        raise UserError("no image given; expected RUN IMAGE [IMAGE …]")
    targets = _targets(options)
    images = NamedImages(options.images)
    trained = load_any(options.run, options.device)
    if not trained.class_names:
        raise UserError(
            f"{shown_path(options.run)} has no classification head; minivit attention shows what "
            "it attends to, minivit finetune trains a head"
        )
    found = predictions(images, trained, options.device)
    if not targets:
        for prediction in found:
            print_top(prediction, trained.class_names, options.top)
        return images.status
    rows = list(found)
    for form, path in targets.items():
        _write(path, FORMS[form](rows, trained.class_names))
        if path != STDOUT and STDOUT not in targets.values():
            print(shown_path(path))
    return images.status


def predictions(images: NamedImages, trained: Trained, device: str) -> Iterator[Prediction]:
    """Predictions for each image that can be read, batch by batch."""
    for paths, pixels in images.batches(trained.preprocess):
        batch = to_device(trained.statistics.normalize(pixels), device)
        probs = to_host(softmax_forward(trained.model(batch))[0])
        bad = np.flatnonzero(~np.isfinite(probs).all(1))
        if len(bad):
            raise UserError(
                f"{shown_path(paths[bad[0]])}: the model's outputs are not finite; its weights are "
                "damaged"
            )
        yield from map(Prediction, paths, probs)


def print_top(prediction: Prediction, class_names: Sequence[str], top: int) -> None:
    """Print the path and the most probable classes."""
    print(shown_path(prediction.path))
    for k in np.argsort(-prediction.probs)[:top]:
        print(f"{prediction.probs[k]:7.1%}  {class_names[k]}")


def to_csv(found: Iterable[Prediction], class_names: Sequence[str]) -> bytes:
    """As CSV: one row per image."""
    rows: list[list[object]] = [
        ["path", "class", "probability", *(f"p({name})" for name in class_names)]
    ]
    for path, probs in found:
        best = int(probs.argmax())
        rounded = _rounded(probs)
        rows.append([path, class_names[best], rounded[best], *rounded])
    return as_csv(rows)


def to_json(found: Iterable[Prediction], class_names: Sequence[str]) -> bytes:
    """{"classes": […], "images": [{"path", "class", "probability", "probabilities": […]}, …]}."""
    images = []
    for path, probs in found:
        best, rounded = int(probs.argmax()), _rounded(probs)
        entry = {"path": str(path), "class": class_names[best], "probability": rounded[best]}
        images.append(entry | {"probabilities": rounded})
    content = {"classes": list(class_names), "images": images}
    return (json.dumps(content) + "\n").encode()


FORMS = {"csv": to_csv, "json": to_json}


def _rounded(probs: np.ndarray) -> list[float]:
    """Rounded to the digits that a float32 has."""
    return [float(f"{p:.7g}") for p in probs]


def _targets(options: Options) -> dict[str, Path]:
    """Where to write each format."""
    targets = {}
    for form in FORMS:
        path = getattr(options, form)
        if path is None:
            continue
        if path != STDOUT:
            require_ending(f"--{form} {path}", path, f".{form}", ", or -")
        targets[form] = path
    if list(targets.values()).count(STDOUT) > 1:
        raise UserError("--csv - and --json -: both write to standard output; write one to a file")
    return targets


def _write(path: Path, content: bytes) -> None:
    if path == STDOUT:
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    make_folder(path.parent)
    write_atomically(path, content)


def run(argv: list[str], prog: str = "minivit predict") -> int:
    """Parse the flags and run."""
    return main(parse(Options, argv, prog))
