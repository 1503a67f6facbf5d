"""`python -m minivit.attention RUN IMAGE…`: where a trained model looks."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from matplotlib.figure import Figure

from minivit import viz
from minivit.backend import to_device
from minivit.cli import run_command
from minivit.data import Split, normalize, open_picture
from minivit.engine import DataParallel, Run
from minivit.engine.pictures import load_pictures
from minivit.engine.run import load_model
from minivit.errors import UserError
from minivit.functional import softmax_forward
from minivit.models import ViT
from minivit.viz.maps import patch_distances
from minivit.viz.methods import method
from minivit.viz.weights import ABSOLUTE


@dataclass(frozen=True)
class Options:
    """Attention maps of a trained model: figures, a page to explore, and how good the maps are.

    Without --save-dir, --html and --score: figures and page, into RUN/attention.
    """

    run: Annotated[Path, tyro.conf.Positional]
    """A directory that minivit.train made."""
    images: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """Pictures in any format that Pillow opens; none: pictures of the run's test set."""
    save_dir: Path | None = None
    """Where to write the figures, as PNG and SVG."""
    html: Path | None = None
    """Where to write the page, one file that works offline."""
    score: bool = False
    """Print how good each method's map is, measured on test pictures."""
    test: int = 8
    """How many test pictures to show where no picture is named."""
    count: int = 200
    """How many test pictures --score measures."""
    methods: tuple[str, ...] = tuple(viz.METHODS)
    """The ways to a map."""
    query: tuple[int, int] | None = None
    """Row and column, from 1, of the patch whose heads are drawn; None for the class token, or the
    middle where there is none."""
    layers: tuple[int, ...] | None = None
    """The layers on the page, from 1; None for all."""
    data_dir: Path | None = None
    """Where the data set lies, if it has moved since."""
    device: str = "cpu"
    """cpu, cuda, or cuda:N."""
    threads: int | None = None
    """Workers on a CPU for --score; None for one a physical core."""


@dataclass(frozen=True)
class Pictures:
    """pixels: uint8 (N, channels, H, W). labels: (N,), or None where nobody knows. names: (N,)."""

    pixels: np.ndarray
    labels: np.ndarray | None
    names: list[str]


def main(options: Options) -> int:
    """Write what was asked for, and say where."""
    for name in options.methods:
        method(name)  # complain before anything is computed
    for name in ("test", "count"):
        if getattr(options, name) < 1:
            raise UserError(f"--{name} is {getattr(options, name)}; expected at least 1")
    model, state = load_model(options.run, options.device)
    save_dir, html = options.save_dir, options.html
    if not (save_dir or html or options.score):
        folder = options.run if options.run.is_dir() else options.run.parent
        save_dir = folder / "attention"
        html = save_dir / "explorer.html"
    if save_dir or html:
        pictures = choose_pictures(options, model, state["class_names"])
    if html:
        write_page(html, model, state, pictures, options)
    if save_dir:
        for name, figure in figures(model, state, pictures, options):
            for suffix in ("png", "svg"):
                viz.save_figure(figure, save_dir / f"{name}.{suffix}")
            print(save_dir / f"{name}.png")
    if options.score:
        print(score_table(model, state, test_split(options), options))
    return 0


def choose_pictures(options: Options, model: ViT, class_names: list[str]) -> Pictures:
    """The pictures named, else the first of the test set."""
    if options.images:
        size = model.config.image_hw
        pixels = np.stack([open_picture(path, size) for path in options.images])
        return Pictures(pixels, None, [path.name for path in options.images])
    split = test_split(options)[: options.test]
    names = [f"test picture {i + 1}" for i in range(len(split))]
    return Pictures(split.images, split.labels, names)


def test_split(options: Options) -> Split:
    """The test pictures of the data set that the run was trained on."""
    return load_pictures(Run.open(options.run).read_config(), options.data_dir).test


def write_page(path: Path, model: ViT, state: dict, pictures: Pictures, options: Options) -> None:
    """The explorer into one file."""
    page = viz.explore(
        model,
        pictures.pixels,
        mean=state["mean"],
        std=state["std"],
        labels=pictures.labels,
        class_names=state["class_names"],
        names=pictures.names,
        layers=page_layers(options.layers, model.config.depth),
        title=f"What {options.run.resolve().name} attends to",
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


def figures(
    model: ViT, state: dict, pictures: Pictures, options: Options
) -> Iterator[tuple[str, Figure]]:
    """(file name, figure) of every view that this model has."""
    config, names = model.config, state["class_names"]
    class_token = config.pool == "cls"
    images = to_device(normalize(pictures.pixels, state["mean"], state["std"]), model.device)
    seen = viz.look(model, images, gradients=True)
    probs, _ = softmax_forward(seen.logits)
    yield "gallery", viz.gallery_figure(pictures.pixels, probs, names, pictures.labels)
    maps = {name: method(name)(seen, config) for name in options.methods}
    said = [f"{names[k]} {p.max():.0%}" for k, p in zip(seen.classes, probs, strict=True)]
    yield "overlays", viz.overlay_figure(pictures.pixels, maps, said)
    query = query_token(options.query, config.grid, class_token)
    yield "heads", viz.heads_figure(seen.maps[:, 0], config.grid, query, class_token)
    steps = [viz.patch_map(step, config.grid, class_token)[0] for step in viz.rollout(seen.maps)]
    yield "rollout", viz.rollout_figure(pictures.pixels[0], np.stack(steps))
    distances = viz.attention_distance(seen.maps, config.grid, config.patch_size, class_token)
    chance = config.patch_size * float(patch_distances(config.grid).mean())
    yield "distance", viz.distance_figure(distances, chance)
    yield "similarity", viz.similarity_figure(viz.token_similarity(seen.tokens[:, 0]))
    if config.pos_embed in ABSOLUTE:
        yield "positions", viz.position_figure(viz.position_similarity(model))
    if config.stem == "patch":
        yield "filters", viz.filters_figure(viz.patch_filters(model))


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


SCORES = {
    "pointing": "pointing game",
    "iou": "best IoU",
    "energy": "energy inside",
    "deletion": "deletion ↓",
    "insertion": "insertion ↑",
    "shuffled": "after shuffling",
}


def score_table(model: ViT, state: dict, split: Split, options: Options) -> str:
    """The scores of every method and of maps that look at nothing, as a table in Markdown."""
    split = split[: options.count]
    images = normalize(split.images, state["mean"], state["std"])
    with DataParallel(model, options.threads) as workers:
        rows = viz.score_methods(model, images, split.masks, workers.logits, options.methods)
    keys = [key for key in SCORES if key in rows[0]]
    lines = [
        "| method | " + " | ".join(SCORES[key] for key in keys) + " |",
        "|---" * (len(keys) + 1) + "|",
    ]
    for row in rows:
        cells = ("" if row[key] is None else f"{row[key]:.2f}" for key in keys)
        lines.append(f"| {row['method']} | " + " | ".join(cells) + " |")
    what = f"{len(split)} test pictures"
    if split.masks is not None:
        what += f"; the figure takes {split.masks.mean():.2f} of the picture"
    return "\n".join([*lines, "", what])


if __name__ == "__main__":
    sys.exit(run_command(main, Options, "python -m minivit.attention"))
