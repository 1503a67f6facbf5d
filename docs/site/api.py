"""The reference: one page per package, and one per file of `functional/`, written to `docs/api/`,
which git ignores. The pages list the names in each package's `__all__`."""

import ast
import importlib
import inspect
from pathlib import Path
from types import ModuleType

from docstrings import FULL_NAMES, without_ranges
from flags import commands
from rst import table, title
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "docs" / "api"
PACKAGES = (
    *("functional", "layers", "models", "optim", "gradcheck", "engine", "data"),
    *("interop", "viz", "course", "backend"),
)
"""The packages with public names, in reading order: the math first."""


def setup(app: Sphinx) -> dict:
    """Write the pages before Sphinx looks for them."""
    write_pages()
    return {"parallel_read_safe": True}


def write_pages() -> None:
    """Write all pages, but leave unchanged ones alone: Sphinx need not read them again."""
    pages = {"index": index(), "commands": commands()}
    for name in PACKAGES:
        package = importlib.import_module(f"minivit.{name}")
        files = files_of(package)
        if name == "functional":
            pages[name] = page(package, {})
            for module, names in files.items():
                pages[f"{name}/{module.__name__.split('.')[-1]}"] = module_page(
                    package, module, names
                )
        else:
            pages[name] = page(package, files)
    head = ".. highlight:: python\n\n"
    sources = {PAGES / f"{name}.rst": head + text for name, text in pages.items()}
    for path in set(PAGES.rglob("*.rst")) - set(sources):
        path.unlink()
    for path, text in sources.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")


def files_of(package: ModuleType) -> dict[ModuleType, list[str]]:
    """The public names of a package, by the file that defines them, in import order."""
    found: dict[ModuleType, list[str]] = {}
    for node in ast.parse(inspect.getsource(package)).body:
        if isinstance(node, ast.ImportFrom) and node.module.startswith(package.__name__ + "."):
            names = [alias.name for alias in node.names if alias.name in package.__all__]
            found.setdefault(importlib.import_module(node.module), []).extend(names)
    return {module: names for module, names in found.items() if names}


def documented(module: ModuleType) -> list[str]:
    """A module's docstring without its members: some functions have the name of their module."""
    return [f".. automodule:: {module.__name__}", "   :no-members:", "   :no-index:", ""]


def page(package: ModuleType, files: dict[ModuleType, list[str]]) -> str:
    """The page of a package: its docstring, and the names of each of its files."""
    package_name = package.__name__.split(".")[-1]
    lines = [*title(package_name), *documented(package)]
    for module, names in files.items():
        lines += [*title(module.__name__.split(".")[-1], "-"), *documented(module)]
        for name in names:
            lines += entry(package, module, name)
    return "\n".join(lines)


def module_page(package: ModuleType, module: ModuleType, names: list[str]) -> str:
    """The page of a file of `functional/`: each forward with its backward, then everything else."""
    lines = [*title(module.__name__.split(".")[-1]), *documented(module)]
    names = sorted(names, key=lambda name: inspect.getsourcelines(getattr(module, name))[1])
    pairs = [name.removesuffix("_forward") for name in names if name.endswith("_forward")]
    for pair in pairs:
        lines += title(pair, "-") if len(pairs) > 1 else []
        lines += [".. container:: pair", ""]
        for half in (f"{pair}_forward", f"{pair}_backward"):
            lines += [f"   {line}" for line in entry(package, module, half)]
            names.remove(half)
    caches = [
        name for name in vars(module)
        if name.endswith("Cache") and getattr(module, name).__module__ == module.__name__
    ]  # fmt: skip
    others = [*names, *(name for name in caches if name not in names)]
    lines += title("Also here" if pairs else "Functions", "-") if others else []
    for name in others:
        if name in package.__all__:
            lines += entry(package, module, name)
        else:  # the page of its code links back to it by the package's name, as for the others
            anchor = f'<span id="{package.__name__}.{name}"></span>'
            lines += [".. raw:: html", "", f"   {anchor}", "", *entry(module, module, name)]
    return "\n".join(lines)


def entry(package: ModuleType, module: ModuleType, name: str) -> list[str]:
    """The documentation of a name. Classes and functions are documented as members of `package`,
    constants as members of `module`, which defines them."""
    obj = getattr(package, name)
    kind = "class" if inspect.isclass(obj) else "function" if callable(obj) else "data"
    full_name = f"{(module if kind == 'data' else package).__name__}.{name}"
    lines = [f".. auto{kind}:: {full_name}"]
    if kind != "data":
        FULL_NAMES[obj] = full_name
    if kind == "class":
        lines += ["   :members:"]
        without_ranges(obj, full_name)
        if issubclass(obj, tuple):  # a NamedTuple's docstring describes its members
            lines += [f"   :exclude-members: {', '.join(obj._fields)}"]
    elif kind == "data":
        lines += ["   :no-value:"]
    return [*lines, ""]


def index() -> str:
    """The first page: the packages, and the names that `import minivit` gives."""
    lines = [
        *title("API reference"),
        "Each name is documented in its package, grouped by file; the math comes first.",
        "",
    ]
    packages = {
        name: importlib.import_module(f"minivit.{name}") for name in (*PACKAGES, "commands")
    }
    lines += table((f":doc:`{name}`", first_line(package)) for name, package in packages.items())
    lines += [*title("minivit", "-"), *documented(importlib.import_module("minivit"))]
    return "\n".join(lines)


def first_line(module: ModuleType) -> str:
    """The first paragraph of its docstring, as one line."""
    first = inspect.getdoc(module).split("\n\n")[0].replace("\n", " ")
    return first.replace("::", ".")
