"""Pages: HTML files that hold all they need, offline.

A page's parts lie in `page/`. It holds its scripts, its styles and all numbers, and a content
security policy which forbids the browser to load anything.
"""

import base64
import hashlib
import html
import json
import string
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from minivit.files import make_folder, write_atomically
from minivit.models import ViTConfig
from minivit.viz.style import HEAT

MOST_BYTES = 20_000_000


class Page:
    """A page. In a notebook it shows itself.

    html: the whole page. too_large: a sentence on its size where it is worth one, else None.
    """

    def __init__(self, page: str, too_large: str | None = None):
        self.html, self.too_large = page, too_large

    def save(self, path: Path) -> None:
        """Write the page, whole or not at all; folders are made."""
        path = Path(path)
        make_folder(path.parent)
        write_atomically(path, self.html.encode())

    def _repr_html_(self) -> str:
        page = html.escape(self.html)
        return f'<iframe srcdoc="{page}" style="width:100%;height:860px;border:0"></iframe>'


def assemble(
    template: str,
    styles: Iterable[str],
    scripts: Iterable[str],
    content: dict,
    policy: str = "",
    **texts: str,
) -> str:
    """A template of `page/`, filled, behind the head that all have.

    Args:
        styles, scripts: names of files there, in their order.
        content: what the scripts find as JSON, in which a `<` is escaped, so that no name can end
            the script; its "title" is the page's.
        policy: what the page may do besides, as a content security policy has it.
        texts: what else the template names.
    """
    style, script = join(styles), join(scripts)
    rules = (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; "
        f"script-src '{_digest(script)}'; base-uri 'none'; form-action 'none'"
    )
    return string.Template(join(["head.html", template])).substitute(
        policy=rules + policy,
        title=html.escape(content["title"]),
        style=style,
        script=script,
        data=json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
        **texts,
    )


def join(names: Iterable[str]) -> str:
    """Files of `page/`, one after another."""
    parts = files("minivit.viz") / "page"
    return "\n".join((parts / name).read_text("utf-8") for name in names)


def _digest(text: str) -> str:
    """A source in a content security policy: this text and no other."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def encoded(array: np.ndarray) -> str:
    """An array's bytes in base64."""
    return base64.b64encode(array.tobytes()).decode()


@cache
def palette(name: str = HEAT) -> str:
    """The 256 colours of one of matplotlib's maps, three bytes each, encoded."""
    colours = matplotlib.colormaps[name](np.arange(256))[:, :3]
    return encoded(np.rint(255 * colours).astype(np.uint8))


def prefix_names(config: ViTConfig) -> list[str]:
    """What a page calls the tokens before the patches, in their order."""
    class_tokens = ["the class token", "the distillation token"][: config.num_class_tokens]
    return class_tokens + [f"register {i + 1}" for i in range(config.num_registers)]


def known_labels(labels: Any, count: int) -> list[int | None]:
    """The true class of each image as JSON has it; None where nobody knows."""
    return [None if k is None else int(k) for k in ([None] * count if labels is None else labels)]
