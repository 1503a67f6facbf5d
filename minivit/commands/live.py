"""`minivit live RUN`: the model itself in a page."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from minivit import viz
from minivit.commands.cli import parse, require_ending
from minivit.commands.images import choose_images
from minivit.commands.weights import load_any, name_of
from minivit.data import FORMATS
from minivit.errors import shown_path
from minivit.ranges import Range, Ranged


@dataclass(frozen=True)
class Options(Ranged):
    """Write a page in which a trained model runs: cover patches, switch heads off, and see what it
    attends to and predicts. The page is one file and works offline.

    If some of several images cannot be read, each is reported in one line, the others are shown,
    and the exit status is 1.
    """

    run: Annotated[Path, tyro.conf.Positional]
    """A directory created by minivit train, or published weights (see minivit models)."""
    image: Annotated[
        tuple[Path, ...],
        tyro.conf.arg(
            help=f"Image files, or folders of them: {FORMATS}. None: images of the run's test set."
        ),
    ] = ()
    html: Path | None = None
    """Where to write the page; None: live.html in the run's directory."""
    title: str | None = None
    """The page's heading; None: what the model was trained on, or its name."""
    tour: Path | None = None
    """A JSON file with a list of slides, [{"text": "A sentence.", "state": "cover=3.4&show=lens"}];
    a state is the part of the page's address after the #. None: a tour of what can be tried.
    """
    float32: bool = False
    """Store the weights as float32, at twice the size, so that the numbers agree with Python's to
    1e-5.
    """
    test: Annotated[int, Range(1, 1_000, "a larger page would not open", "images")] = 8
    """How many test images to show if no images are given."""
    data_dir: Path | None = None
    """New location of the data set, if it has moved since training."""


def main(options: Options) -> int:
    """Write the page, and print where."""
    if options.html:
        require_ending(f"--html {options.html}", options.html, ".html")
    tour = viz.read_tour(options.tour) if options.tour else None
    trained = load_any(options.run)
    viz.require_known(trained.model)  # fail before images are read
    images = choose_images(options.run, trained, options.image, options.test, options.data_dir)
    page = viz.live_page(
        trained.model,
        images.pixels,
        statistics=trained.statistics,
        preprocess=trained.preprocess,
        labels=images.labels,
        class_names=trained.class_names,
        names=images.names,
        title=options.title or name_of(options.run, trained),
        tour=tour,
        precision="float32" if options.float32 else "float16",
    )
    folder = options.run if options.run.is_dir() else options.run.parent
    path = options.html or folder / "live.html"
    page.save(path)
    print(shown_path(path))
    return 1 if images.failed else 0


def run(argv: list[str], prog: str = "minivit live") -> int:
    """Parse the flags and run."""
    return main(parse(Options, argv, prog))
