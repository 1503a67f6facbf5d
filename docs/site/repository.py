"""Links to files that are not pages: they lead to the code on the site, or to the repository."""

import functools
import importlib
import os
from pathlib import Path

from api import PACKAGES, files_of
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util.osutil import relative_uri


def setup(app: Sphinx) -> dict:
    app.add_config_value("repository", "", "env", str)
    app.add_transform(Links)
    return {"parallel_read_safe": True}


@functools.cache
def documented() -> set[tuple[str, ...]]:
    """The modules whose code is on the site (sphinx.ext.viewcode), split at the dots."""
    packages = (importlib.import_module(f"minivit.{package}") for package in PACKAGES)
    return {
        tuple(module.__name__.split("."))
        for package in packages
        for module, names in files_of(package).items()
        if any(callable(getattr(module, name)) for name in names)
    }


class Links(SphinxTransform):
    """Resolves the links after parsing, before Sphinx copies the files to be downloaded."""

    default_priority = 100

    def apply(self, **kwargs: object) -> None:
        found = (addnodes.download_reference, addnodes.pending_xref)
        for node in list(self.document.findall(lambda n: isinstance(n, found))):
            if node.get("reftype") == "myst":
                self.resolve(node)

    def resolve(self, node: nodes.Element) -> None:
        target = node["reftarget"]
        if node.get("refdomain") == "doc":
            if target in self.env.found_docs:
                if node.astext() == Path(target).name + ".md":  # shows the title instead
                    node["refexplicit"] = False
                    node.children = [nodes.inline()]
                return
            path = Path(target + ".md")
        else:
            path = Path(os.path.normpath(Path(self.env.docname).parent / target))
        if not (Path(self.app.srcdir) / path).exists():
            return  # MyST warns about it
        node.replace_self(
            nodes.reference("", "", *node.children, refuri=self.url(path), classes=["file"])
        )

    def url(self, path: Path) -> str:
        """The address of a file's code, on the site if it is there, or of a folder's first page."""
        page = self.env.docname + ".html"
        pages = [name for name in self.env.found_docs if name.startswith(f"{path.as_posix()}/")]
        if pages:
            return relative_uri(page, min(pages) + ".html")
        if path.suffix == ".py" and path.with_suffix("").parts in documented():
            return relative_uri(page, f"_modules/{path.with_suffix('').as_posix()}.html")
        kind = "tree" if (Path(self.app.srcdir) / path).is_dir() else "blob"
        return f"{self.config.repository}/{kind}/main/{path.as_posix()}"
