"""Pages: self-contained HTML files that work offline.

A page's parts are in `page/`. The file contains its scripts, its styles, all numbers, and a content
security policy that forbids the browser from loading anything.
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

MAX_BYTES = 20_000_000


class Page:
    """A page, which displays itself in a notebook.

    html: the whole page. too_large: a warning about its size, or None.
    """

    def __init__(self, page: str, too_large: str | None = None):
        self.html, self.too_large = page, too_large

    def save(self, path: Path) -> None:
        """Write the page, completely or not at all; creates folders."""
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
    """Fill a template of `page/`, with the common head before it.

    Args:
        styles, scripts: names of files there, in order.
        content: JSON for the scripts, in which `<` is escaped, so that no name can end the script;
        its "title" is the page's. policy: further directives of the content security policy.
        texts: further values for the template.
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
    """Files of `page/`, concatenated."""
    parts = files("minivit.viz") / "page"
    return "\n".join((parts / name).read_text("utf-8") for name in names)


def _digest(text: str) -> str:
    """The source expression of a content security policy that allows exactly this text."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def encoded(array: np.ndarray) -> str:
    """An array's bytes in base64."""
    return base64.b64encode(array.tobytes()).decode()


@cache
def palette(name: str = HEAT) -> str:
    """The 256 colors of a matplotlib colormap, three bytes each, in base64."""
    colors = matplotlib.colormaps[name](np.arange(256))[:, :3]
    return encoded(np.rint(255 * colors).astype(np.uint8))


def prefix_names(config: ViTConfig) -> list[str]:
    """Names of the tokens before the patches, in order."""
    class_tokens = ["the class token", "the distillation token"][: config.num_class_tokens]
    return class_tokens + [f"register {i + 1}" for i in range(config.num_registers)]


def known_labels(labels: Any, count: int) -> list[int | None]:
    """The true class of each image for JSON; None if unknown."""
    return [None if k is None else int(k) for k in ([None] * count if labels is None else labels)]
