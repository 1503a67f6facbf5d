"""`minivit attention RUN IMAGE…`: where a trained model looks."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from minivit import viz
from minivit.commands.cli import parse
from minivit.commands.images import NamedImages
from minivit.commands.weights import load_any
from minivit.data import FORMATS, Split
from minivit.engine import Run, Trained
from minivit.engine.config import THREADS
from minivit.errors import UserError, shown_path
from minivit.interop.published import is_own
from minivit.ranges import Range, Ranged
from minivit.viz.methods import method
from minivit.viz.report import attention_figures, score_table

LAYERS = Range(1, 1_000, "no model has more", count=(1, 1_000))
MOST_IMAGES = 64
"""Images on a figure: every map of each is in memory, and a figure of more cannot be read."""


@dataclass(frozen=True)
class Options(Ranged):
    """Attention maps of a trained model: figures, a page to explore, and how good the maps are.

    Without --save-dir, --html and --score: figures and page, into RUN/attention. Where some of
    several images cannot be read, each is told in a line, the others are shown, and the exit status
    is 1.
    """

    run: Annotated[Path, tyro.conf.Positional]
    """A directory that minivit train made, or published weights (see minivit models)."""
    images: Annotated[
        tuple[Path, ...],
        tyro.conf.Positional,
        tyro.conf.arg(
            help=f"Image files, or folders of them: {FORMATS}. None: images of the run's test set."
        ),
    ] = ()
    save_dir: Path | None = None
    """Where to write the figures, as PNG and SVG."""
    html: Path | None = None
    """Where to write the page, one file that works offline."""
    score: bool = False
    """Print how good each method's map is, measured on test images."""
    test: Annotated[int, Range(1, 1_000, "a page of more would not open", "images")] = 8
    """How many test images to show where none is named."""
    count: Annotated[int, Range(1, 1_000_000, "no test set has more", "images")] = 200
    """How many test images --score measures."""
    methods: tuple[str, ...] = tuple(viz.METHODS)
    """The ways to a map."""
    query: Annotated[tuple[int, int] | None, Range(1, 4_096, "no grid has more")] = None
    """Row and column, from 1, of the patch whose heads are drawn; None for the class token, or the
    middle where there is none."""
    layers: Annotated[tuple[int, ...] | None, LAYERS] = None
    """The layers on the page, from 1; None for all."""
    data_dir: Path | None = None
    """Where the data set lies, if it has moved since."""
    device: str = "cpu"
    """cpu, cuda, or cuda:N."""
    threads: Annotated[int | None, THREADS] = None
    """Workers on a CPU for --score; None: one per physical core."""


@dataclass(frozen=True)
class Images:
    """pixels: uint8 (N, channels, H, W). labels: (N,), or None where nobody knows. names: (N,).
    failed: how many others could not be read.
    """

    pixels: np.ndarray
    labels: np.ndarray | None
    names: list[str]
    failed: int = 0


def main(options: Options) -> int:
    """Write what was asked for, and say where."""
    for name in options.methods:
        method(name)  # complain before anything is computed
    trained = load_any(options.run, options.device)
    save_dir, html = options.save_dir, options.html
    if not (save_dir or html or options.score):
        folder = options.run if options.run.is_dir() else options.run.parent
        save_dir = folder / "attention"
        html = save_dir / "explorer.html"
    images = choose_images(options, trained) if save_dir or html else None
    if images and html:
        write_page(html, trained, images, options)
    if images and save_dir:
        write_figures(save_dir, trained, images, options)
    if options.score:
        split = test_split(options)[: options.count]
        print(score_table(trained, split, options.methods, options.threads))
    return 1 if images and images.failed else 0


def choose_images(options: Options, trained: Trained) -> Images:
    """The images named, else the first of the test set.

    Raises UserError where there are more than MOST_IMAGES, or none of them can be read.
    """
    if options.images:
        named = NamedImages(options.images)
        _check_count(len(named.files), "name fewer")
        read = list(named.batches(trained.model.config.image_hw))
        if not read:
            raise UserError("none of the images can be read; expected at least one to draw")
        pixels = np.concatenate([pixels for _, pixels in read])
        return Images(
            pixels, None, [path.name for paths, _ in read for path in paths], named.failed
        )
    _check_count(options.test, "use a smaller --test")
    split = test_split(options)[: options.test]
    names = [f"test image {i + 1}" for i in range(len(split))]
    return Images(split.images, split.labels, names)


def _check_count(count: int, advice: str) -> None:
    if count > MOST_IMAGES:
        raise UserError(f"{count:,} images; figures and page show at most {MOST_IMAGES}: {advice}")


def test_split(options: Options) -> Split:
    """The test set that the run was trained beside."""
    if not is_own(options.run):
        raise UserError(f"{shown_path(options.run)} has no test set; name some images")
    config = Run.open(options.run).read_config()
    return config.load_data(options.data_dir, download=False).test


def write_figures(folder: Path, trained: Trained, images: Images, options: Options) -> None:
    """Every figure as PNG and SVG."""
    config = trained.model.config
    query = query_token(options.query, config.grid, config.pool == "cls")
    found = attention_figures(trained, images.pixels, images.labels, options.methods, query)
    for name, figure in found:
        for suffix in ("png", "svg"):
            viz.save_figure(figure, folder / f"{name}.{suffix}")
        print(folder / f"{name}.png")


def write_page(path: Path, trained: Trained, images: Images, options: Options) -> None:
    """The explorer into one file."""
    page = viz.explore(
        trained.model,
        images.pixels,
        statistics=trained.statistics,
        labels=images.labels,
        class_names=trained.class_names,
        names=images.names,
        layers=page_layers(options.layers, trained.model.config.depth),
        title=f"What {shown_path(options.run.resolve().name)} attends to",
    )
    page.save(path)
    if page.too_large:
        print(f"warning: {page.too_large}", file=sys.stderr)
    print(path)


def page_layers(numbers: tuple[int, ...] | None, depth: int) -> list[int] | None:
    """--layers, counted from 1, as indices. Raises UserError where the model has no such layer."""
    if numbers is None:
        return None
    for number in numbers:
        if not 1 <= number <= depth:
            raise UserError(f"--layers {number}: this model has layers 1 to {depth}")
    return [number - 1 for number in numbers]


def query_token(place: tuple[int, int] | None, grid: tuple[int, int], class_token: bool) -> int:
    """The token of a patch at (row, column) from 1; None for the class token, or the middle.

    Raises:
        UserError: outside the grid.
    """
    rows, columns = grid
    if place is None:
        if class_token:
            return 0
        place = (rows // 2 + 1, columns // 2 + 1)
    row, column = place
    if not (1 <= row <= rows and 1 <= column <= columns):
        raise UserError(
            f"--query {row} {column} is outside the grid of {rows} rows and {columns} columns"
        )
    return class_token + (row - 1) * columns + column - 1


def run(argv: list[str], prog: str = "minivit attention") -> int:
    """Parse the flags and run."""
    return main(parse(Options, argv, prog))
