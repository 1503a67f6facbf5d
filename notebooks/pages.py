"""Write the notebooks as pages that work offline: formulas are MathML, figures are embedded.

    python notebooks/pages.py FOLDER                    all of them, with their stored outputs
    python notebooks/pages.py FOLDER notebooks/03_backpropagation.ipynb

Needs nbconvert and latex2mathml: pip install -e ".[execute]"
"""

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import nbformat
import tyro
from jinja2 import DictLoader, pass_context
from latex2mathml.converter import convert
from nbconvert.exporters import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from pygments.formatters import HtmlFormatter

from minivit.commands.cli import run_command
from minivit.files import make_folder, write_atomically

HERE = Path(__file__).resolve().parent

TEMPLATE = """
{%- extends 'basic/index.html.j2' -%}
{%- block header -%}
<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ resources.title }}</title><style>{{ resources.style }}</style></head><body>
{%- endblock header -%}
{%- block footer -%}</body></html>{%- endblock footer -%}
{%- block input_group -%}
{%- if cell.metadata.get("jupyter", {}).get("source_hidden") -%}
<details class="code"><summary>code of the figure</summary>{{ super() }}</details>
{%- else -%}{{ super() }}{%- endif -%}
{%- endblock input_group -%}
"""

STYLE = """
body { max-width: 54rem; margin: 2rem auto; padding: 0 1rem; line-height: 1.55;
       font-family: system-ui, sans-serif; color: #222; background: #fff }
pre { font-size: .85rem; line-height: 1.4; overflow-x: auto; margin: 0; padding: .6rem .8rem }
code { font-size: .9em }
.input_area, .text_cell_render pre { background: #f6f7f8; border: 1px solid #e3e5e8;
  border-radius: 4px }
.cell { margin: 1rem 0 }
.output_text pre { color: #444 }
.output_area { overflow-x: auto }
details.code > summary { color: #777; font-size: .85rem; cursor: pointer }
img { max-width: 100% }
table { border-collapse: collapse; margin: 1rem 0 }
th, td { padding: .25rem .7rem; border-bottom: 1px solid #e3e5e8; text-align: left }
math[display="block"] { margin: 1rem 0 }
.anchor-link { display: none }
"""


FENCES = {"lfloor": "⌊", "rfloor": "⌋", "lceil": "⌈", "rceil": "⌉", "lVert": "‖", "rVert": "‖"}


def to_mathml(formula: str, display: str = "inline") -> str:
    """LaTeX -> MathML, including `\\Bigl\\lfloor`, which latex2mathml would not convert in full."""
    large = re.compile(rf"(\\[Bb]igg?[lr])\\({'|'.join(FENCES)})(?![A-Za-z])")
    return convert(large.sub(lambda found: found[1] + FENCES[found[2]], formula), display=display)


class Renderer(IPythonRenderer):
    """Markdown with formulas in MathML, which browsers show without a script."""

    def inline_math(self, body: str) -> str:
        return to_mathml(body)

    def block_math(self, body: str) -> str:
        return to_mathml(body, "block")


class Exporter(HTMLExporter):
    """A notebook as one self-contained page."""

    def __init__(self):
        super().__init__(template_file="pages.html.j2", template_name="basic", embed_images=True,
                         extra_loaders=[DictLoader({"pages.html.j2": TEMPLATE})])  # fmt: skip
        self.exclude_input_prompt = self.exclude_output_prompt = True

    @pass_context
    def markdown2html(self, context, source: str) -> str:
        path = context["resources"]["metadata"]["path"]
        return MarkdownWithMath(
            renderer=Renderer(escape=False, embed_images=True, path=path)
        ).render(source)


@dataclass(frozen=True)
class Options:
    """Write the course's notebooks and solutions as pages that work offline."""

    folder: Annotated[Path, tyro.conf.Positional]
    """The folder to write to."""
    notebooks: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """Notebooks to write (default: all)."""


def main(options: Options) -> int:
    """Write one page per notebook, with the solutions in their own folder, as here."""
    all_notebooks = sorted(HERE.glob("**/[0-9]*.ipynb"))
    for path in map(Path.resolve, options.notebooks or all_notebooks):
        page = options.folder / path.relative_to(HERE).with_suffix(".html")
        make_folder(page.parent)
        write_atomically(page, convert_notebook(path, page).encode())
        print(page)
    return 0


def convert_notebook(path: Path, page: Path) -> str:
    """Return the HTML of a notebook, with links relative to the page."""
    style = HtmlFormatter().get_style_defs(".highlight") + STYLE
    resources = {"metadata": {"path": str(path.parent)}, "title": path.stem, "style": style}
    html, _ = Exporter().from_notebook_node(nbformat.read(path, as_version=4), resources)

    def link(match: re.Match) -> str:
        target, anchor = match[1], match[2] or ""
        if ":" in target or not target:
            return match[0]
        file = (path.parent / target).resolve()
        if file.suffix == ".ipynb" and file.is_relative_to(HERE):
            return f'href="{Path(target).with_suffix(".html").as_posix()}{anchor}"'
        return f'href="{Path(os.path.relpath(file, page.parent.resolve())).as_posix()}{anchor}"'

    return re.sub(r'href="([^"#]*)(#[^"]*)?"', link, html)


if __name__ == "__main__":
    sys.exit(run_command(main, Options, "python notebooks/pages.py"))
