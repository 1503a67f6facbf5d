"""Preparing the notebooks of the course for Sphinx."""

import nbformat
from sphinx.application import Sphinx

MISSING = """*The notebook shows the explorer itself here; run the notebook to use it.*

![The explorer](../docs/images/explorer.png)"""


def setup(app: Sphinx) -> dict:
    return {"parallel_read_safe": True}


def read(text: str) -> nbformat.NotebookNode:
    """Read a notebook. Cells that are folded in it are folded on the site; a page that the notebook
    wrote, and that the site does not have, is replaced by an image."""
    notebook = nbformat.reads(text, as_version=4)
    for cell in notebook.cells:
        if cell.metadata.get("jupyter", {}).get("source_hidden"):
            cell.metadata["tags"] = ["hide-input"]
        for output in cell.get("outputs", []):
            if "<iframe" in output.get("data", {}).get("text/html", ""):
                output.data = nbformat.NotebookNode({"text/markdown": MISSING})
    return notebook
