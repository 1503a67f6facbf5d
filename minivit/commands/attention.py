"""`minivit attention RUN IMAGE…`: what a trained model attends to."""

import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated

import tyro

from minivit import viz
from minivit.commands import live
from minivit.commands.cli import parse, require_ending
from minivit.commands.images import Images, choose_images, test_split
from minivit.commands.weights import load_any, name_of
from minivit.data import FORMATS, image_files, image_shape
from minivit.engine import Trained, resized
from minivit.engine.config import THREADS
from minivit.errors import UserError
from minivit.interop.shipped import SHIPPED
from minivit.models import ViTConfig
from minivit.ranges import Range, Ranged
from minivit.viz.methods import method
from minivit.viz.report import attention_figures, score_table

SIDES = Range(1, 65_536, "no image file has more", "pixels", count=(1, 2))
LAYERS = Range(1, 1_000, "no model has more", count=(1, 1_000))


@dataclass(frozen=True)
class Options(Ranged):
    """Draw attention maps of a trained model: figures, a page to explore, and scores of the maps.

    Without --save-dir, --html and --score, the figures and the page are written to RUN/attention.
    If some of several images cannot be read, each is reported in one line, the others are shown,
    and the exit status is 1.
    """

    run: Annotated[Path, tyro.conf.Positional]
    """A directory created by minivit train, or published weights (see minivit models)."""
    images: Annotated[
        tuple[Path, ...],
        tyro.conf.Positional,
        tyro.conf.arg(
            help=f"Image files, or folders of them: {FORMATS}. None: images of the run's test set."
        ),
    ] = ()
    demo: bool = False
    """Use the model that comes with minivit, trained on CIFAR-10, instead of RUN: on your images,
    or on drawings of an airplane, a ship and a truck.
    """
    save_dir: Path | None = None
    """Where to write the figures, as PNG and SVG."""
    html: Path | None = None
    """Where to write the page, one file that works offline."""
    live: bool = False
    """Write a page in which the model itself runs, as minivit live does; without --html it is
    live.html in the run's directory.
    """
    score: bool = False
    """Print scores of each method's maps, measured on test images."""
    knock_out: bool = False
    """Also draw how the probability of the predicted class changes with each head switched off (one
    forward pass per head).
    """
    test: Annotated[int, Range(1, 1_000, "a larger page would not open", "images")] = 8
    """How many test images to show if no images are given."""
    count: Annotated[int, Range(1, 1_000_000, "no test set has more", "images")] = 200
    """How many test images --score uses."""
    methods: tuple[str, ...] = tuple(viz.METHODS)
    """The attribution methods to draw."""
    image_size: Annotated[tuple[int, ...] | None, SIDES] = None
    """Size of the images given to the model: one number, or height and width, multiples of the
    patch size; position embeddings are interpolated. None: the size that it was trained with.
    """
    keep_aspect_ratio: bool = False
    """Use whole images, with the aspect ratio of the first: the shorter side has --image-size
    pixels, the longer one a whole number of patches.
    """
    query: Annotated[tuple[int, int] | None, Range(1, 4_096, "no grid has more")] = None
    """Row and column of the query patch, counted from 1; None: the class token, or the middle patch
    if there is no class token.
    """
    layers: Annotated[tuple[int, ...] | None, LAYERS] = None
    """The layers to show on the page, counted from 1; None: all."""
    data_dir: Path | None = None
    """New location of the data set, if it has moved since training."""
    device: str = "cpu"
    """cpu, cuda, or cuda:N."""
    threads: Annotated[int | None, THREADS] = None
    """Worker threads on a CPU for --score; None: one per physical core."""


DEMO = "--demo"
DEMO_FOLDER = Path("attention-demo")
"""Where --demo writes, in the current directory, if no other path is given."""


def main(options: Options) -> int:
    """Write what was requested, and print where."""
    for name in options.methods:
        method(name)  # fail before anything is computed
    if options.html:
        require_ending(f"--html {options.html}", options.html, ".html")
    if options.live:
        return live_page(options)
    trained = load_any(options.run, options.device)
    trained = at_size(trained, options)
    save_dir, html = options.save_dir, options.html
    if not (save_dir or html or options.score):
        folder = options.run if options.run.is_dir() else options.run.parent
        save_dir = DEMO_FOLDER if options.demo else folder / "attention"
        html = save_dir / "explorer.html"
    if options.knock_out and not save_dir:
        raise UserError("--knock-out draws a figure; say where with --save-dir")
    images = None
    if save_dir or html:
        images = choose_images(options.run, trained, options.images, options.test, options.data_dir)
    if images and html:
        write_page(html, trained, images, options)
    if images and save_dir:
        write_figures(save_dir, trained, images, options)
    if options.score:
        split = test_split(options.run, options.data_dir)[: options.count]
        print(score_table(trained, split, options.methods, options.threads))
    return 1 if images and images.failed else 0


LIVE_FLAGS = "run", "html", "live", "test", "data_dir"
"""Flags that --live accepts in addition to images; the page itself offers every layer, query and
size.
"""


def live_page(options: Options) -> int:
    """`minivit live` with these images and this output path."""
    defaults = Options(options.run)
    for field in fields(Options):
        if field.name in (*LIVE_FLAGS, "images", "demo"):
            continue
        if getattr(options, field.name) != getattr(defaults, field.name):
            flag = f"--{field.name}".replace("_", "-")
            raise UserError(f"{flag} has no effect with --live; leave one of them out")
    return live.main(
        live.Options(
            options.run,
            image=options.images,
            html=options.html or (DEMO_FOLDER / "live.html" if options.demo else None),
            test=options.test,
            data_dir=options.data_dir,
        )
    )


def at_size(trained: Trained, options: Options) -> Trained:
    """The model for images of the size and shape given by the flags.

    Raises UserError for a size that is not a multiple of the patch size, and as
    `image_shape` does.
    """
    size = trained.preprocess.size
    if options.image_size:
        size = options.image_size[0], options.image_size[-1]
    if options.keep_aspect_ratio:
        if not options.images:
            raise UserError("--keep-aspect-ratio needs an image; give one")
        size = _keep_aspect_ratio(options.images, min(size), trained.model.config.patch_size)
        whole = replace(trained.preprocess, crop_share=1.0)
        trained = replace(trained, preprocess=whole)
    return resized(trained, size)


def _keep_aspect_ratio(images: tuple[Path, ...], shorter: int, patch: int) -> tuple[int, int]:
    """Height and width in the first image's proportions, rounded to whole patches."""
    shape = image_shape(image_files(images)[0])
    height, width = (max(1, round(side * shorter / min(shape) / patch)) * patch for side in shape)
    return height, width


def write_figures(folder: Path, trained: Trained, images: Images, options: Options) -> None:
    """Write every figure as PNG and SVG."""
    config = trained.model.config
    query = query_token(options.query, config)
    found = attention_figures(
        trained, images.pixels, images.labels, options.methods, query, options.knock_out
    )
    for name, figure in found:
        for suffix in ("png", "svg"):
            viz.save_figure(figure, folder / f"{name}.{suffix}")
        print(folder / f"{name}.png")


def write_page(path: Path, trained: Trained, images: Images, options: Options) -> None:
    """Write the explorer to one file."""
    page = viz.explore(
        trained.model,
        images.pixels,
        statistics=trained.statistics,
        labels=images.labels,
        class_names=trained.class_names,
        names=images.names,
        layers=page_layers(options.layers, trained.model.config.depth),
        title=f"What {name_of(options.run, trained, 'a')} attends to",
    )
    page.save(path)
    if page.too_large:
        print(f"warning: {page.too_large}", file=sys.stderr)
    print(path)


def page_layers(numbers: tuple[int, ...] | None, depth: int) -> list[int] | None:
    """--layers, counted from 1, as indices. Raises UserError if the model has no such layer."""
    if numbers is None:
        return None
    for number in numbers:
        if not 1 <= number <= depth:
            raise UserError(f"--layers {number}: this model has layers 1 to {depth}")
    return [number - 1 for number in numbers]


def query_token(position: tuple[int, int] | None, config: ViTConfig) -> int:
    """Index of the token of the patch at (row, column), counted from 1; None: the class token, or
    the middle patch.

    Raises:
        UserError: the position is outside the grid.
    """
    rows, columns = config.grid
    if position is None:
        if config.num_class_tokens:
            return 0
        position = (rows // 2 + 1, columns // 2 + 1)
    row, column = position
    if not (1 <= row <= rows and 1 <= column <= columns):
        raise UserError(
            f"--query {row} {column} is outside the grid of {rows} rows and {columns} columns"
        )
    return config.num_prefix + (row - 1) * columns + column - 1


def run(argv: list[str], prog: str = "minivit attention") -> int:
    """Parse the flags and run."""
    return main(parse(Options, with_run(argv), prog))


def with_run(argv: list[str]) -> list[str]:
    """The same command line; --demo supplies the run."""
    return [str(SHIPPED), *argv] if DEMO in argv else argv
