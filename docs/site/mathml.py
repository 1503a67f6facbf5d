"""Formulas as MathML, as in `notebooks/pages.py`, and a font for them, because not every system has
one with the symbols and sizes that they need."""

import logging
from importlib.resources import as_file, files
from pathlib import Path

from docutils import nodes
from fontTools import subset
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

from notebooks.pages import to_mathml

CODE_POINTS = (
    *((0x20, 0x7F), (0xA0, 0x180), (0x2B0, 0x400), (0x2000, 0x2070), (0x20D0, 0x2300)),
    *((0x2308, 0x230C), (0x23DC, 0x23E2), (0x27E6, 0x27F0), (0x1D400, 0x1D800)),
)
"""Characters of formulas: Latin, Greek, accents, arrows, operators, brackets, math letters."""


def setup(app: Sphinx) -> dict:
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    app.config.html_math_renderer = "mathml"
    app.connect("build-finished", write_font)
    return {"parallel_read_safe": True}


def inline(self: HTML5Translator, node: nodes.math) -> None:
    self.body.append(to_mathml(node.astext()))
    raise nodes.SkipNode


def block(self: HTML5Translator, node: nodes.math_block) -> None:
    self.body.append(f'<div class="formula">{to_mathml(node.astext(), "block")}</div>')
    raise nodes.SkipNode


def write_font(app: Sphinx, exception: Exception | None) -> None:
    """Write STIX Two Math (SIL Open Font License), which is part of ziamath, without the characters
    that no formula uses; its license stays in its name table."""
    logging.getLogger("fontTools").setLevel(logging.WARNING)
    options = subset.Options(flavor="woff", name_IDs=["*"], layout_features=["ssty", "dtls"])
    subsetter = subset.Subsetter(options)
    subsetter.populate(
        unicodes=[code for first, last in CODE_POINTS for code in range(first, last)]
    )
    with as_file(files("ziamath.fonts") / "STIXTwoMath-Regular.ttf") as path:
        font = subset.load_font(path, options)
        subsetter.subset(font)
        subset.save_font(font, Path(app.outdir) / "_static" / "stix-two-math.woff", options)
