"""Helpers that the notebooks share and that are not part of a Vision Transformer."""

import contextlib
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from minivit.engine import TrainConfig, Trained, load_model, train_once
from minivit.engine.recipes import base_settings

SMALL = "MINIVIT_COURSE_SMALL"
"""The environment variable that shortens the notebooks' training runs, for tests."""


def size(full: Any, small: Any) -> Any:
    """How much to compute: `full`, or `small` if MINIVIT_COURSE_SMALL is set."""
    return small if os.environ.get(SMALL) else full


def begin() -> None:
    """Set up how figures and arrays are displayed in this course."""
    with contextlib.suppress(ImportError):
        from IPython import get_ipython

        if get_ipython() is not None:  # also show figures of minivit.viz at the end of a cell
            get_ipython().run_line_magic("matplotlib", "inline")
            get_ipython().run_line_magic("config", "InlineBackend.figure_formats = ['retina']")
    import matplotlib as mpl

    mpl.rcParams.update(
        {
            "figure.dpi": 100,  # "retina" doubles it and displays figures at half the size
            "figure.constrained_layout.use": True,
            "figure.figsize": (6, 3.2),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": False,
            "image.cmap": "viridis",
            "image.interpolation": "nearest",
            "legend.frameon": False,
            "font.size": 10,
        }
    )
    np.set_printoptions(precision=3, suppress=True, linewidth=96, threshold=200)


_slides: list[tuple[Callable[..., Any], dict[str, tuple]]] = []
"""Every figure with sliders so far: the function that draws it, and its choices."""


def move_sliders() -> None:
    """Draw every figure with each value of each of its sliders, as a reader may after running all
    cells: globals that `draw` reads may have been rebound since.
    """
    import matplotlib.pyplot as plt

    for draw, choices in _slides:
        first = {name: values[0] for name, values in choices.items()}
        for name, values in choices.items():
            for value in values:
                plt.close(draw(**{**first, name: value}))


def slide(draw: Callable[..., Any], **choices: tuple) -> None:
    """Show a figure, with a slider for each argument of `draw`.

    Without ipywidgets, the figure is shown without sliders, with the first value of each argument.

    Args:
        draw: makes a matplotlib figure; called with one choice per name.
        choices: the values of each argument; the first is the initial value.
    """
    import matplotlib.pyplot as plt
    from IPython.display import display

    def figure(**chosen: Any) -> Any:
        made = draw(**chosen)
        plt.close(made)
        return made

    _slides.append((draw, choices))
    shown = display(figure(**{name: c[0] for name, c in choices.items()}), display_id=True)
    try:
        import ipywidgets
    except ImportError:
        return
    sliders = {
        name: ipywidgets.SelectionSlider(
            options=sorted(values) if _sortable(values) else values,
            value=values[0],
            description=name.replace("_", " "),
            continuous_update=False,
        )
        for name, values in choices.items()
    }

    def update(_: Any) -> None:
        shown.update(figure(**{name: slider.value for name, slider in sliders.items()}))

    for slider in sliders.values():
        slider.observe(update, "value")
    display(ipywidgets.VBox(list(sliders.values())))


def _sortable(values: tuple) -> bool:
    return all(isinstance(value, int | float) for value in values)


def trained(name: str = "nano", **changes: Any) -> Trained:
    """A small model trained on the shapes, always at full size, with `changes` to their settings.

    The first call trains it in the folder runs/course-NAME, which takes two minutes and displays
    one line of progress; later calls load it.

    Args:
        name: NAME of the folder. changes: training settings, such as `pos_embed="none"`.
    """
    short = size({}, {"train_images": 2000, "epochs": 1})
    config = TrainConfig.from_dict({**base_settings("shapes"), **short, **changes})
    path = Path("runs") / f"course-{name}{size('', '-small')}"
    with contextlib.redirect_stdout(_OneLine(sys.stdout)) as output:
        accuracy = train_once(path, config)
        print(f"{path.as_posix()}: trained, {accuracy:.1%} of the test images classified correctly")
    output.stream.write("\n")
    return load_model(path)


class _OneLine(io.TextIOBase):
    """Overwrites the previous line with each new one."""

    def __init__(self, stream: TextIO):
        self.stream, self.widest = stream, 0

    def write(self, text: str) -> int:
        for line in filter(str.strip, text.splitlines()):
            self.stream.write(("\r" if self.widest else "") + line.ljust(self.widest))
            self.stream.flush()
            self.widest = max(self.widest, len(line))
        return len(text)
