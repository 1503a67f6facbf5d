"""The notebooks of the course, as Sphinx reads them."""

import nbformat
from sphinx.application import Sphinx

MISSING = """*Here the notebook shows the page itself; run it, and you can click.*

![The explorer](../docs/images/explorer.png)"""


def setup(app: Sphinx) -> dict:
    return {"parallel_read_safe": True}


def read(text: str) -> nbformat.NotebookNode:
    """A notebook: what is folded in it is folded on the site; a file that its run wrote, and the
    site has not, is an image."""
    notebook = nbformat.reads(text, as_version=4)
    for cell in notebook.cells:
        if cell.metadata.get("jupyter", {}).get("source_hidden"):
            cell.metadata["tags"] = ["hide-input"]
        for output in cell.get("outputs", []):
            if "<iframe" in output.get("data", {}).get("text/html", ""):
                output.data = nbformat.NotebookNode({"text/markdown": MISSING})
    return notebook
