"""Run the notebooks from their first cell to their last, and keep their outputs.

    python notebooks/execute.py                    all of them, in full, written back with outputs
    python notebooks/execute.py 04_layernorm_gelu.ipynb
    python notebooks/execute.py --small --check    quickly, writing nothing: does everything run?

After the last cell every slider is moved. A notebook fails on an exception, on anything written to
stderr (warnings), if an exercise's stub passes its check, or if a solution does not.
"""

import base64
import io
import os
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import nbformat
import tyro
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from PIL import Image

from minivit.commands.cli import run_command
from minivit.course.folding import FOLDED, is_drawing
from minivit.ranges import Range, Ranged

HERE = Path(__file__).resolve().parent
GRADE = re.compile(r"^(\d\d\.[a-z]) ([✓✗])", re.MULTILINE)
WIDGET = "application/vnd.jupyter.widget-view+json"

MOVE_SLIDERS = "from minivit import course\n\ncourse.move_sliders()"
"""Code run after the last cell."""


@dataclass(frozen=True)
class Options(Ranged):
    """Execute the course's notebooks and solutions."""

    notebooks: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """Notebooks to run (default: all)."""
    small: bool = False
    """Shorter training runs (MINIVIT_COURSE_SMALL)."""
    check: bool = False
    """Do not write the notebooks."""
    timeout: Annotated[float, Range(1, 86_400, "no cell should take a day", "seconds")] = 600.0
    """Time limit per cell, in seconds."""


def main(options: Options) -> int:
    """Execute the notebooks one after the other; return 1 if any of them fails."""
    failed = 0
    for path in options.notebooks or all_notebooks():
        started = time.perf_counter()
        faults = execute(path, small=options.small, keep=not options.check, timeout=options.timeout)
        print(f"{path.name:44} {time.perf_counter() - started:6.1f} s", *faults, flush=True)
        failed += bool(faults)
    return 1 if failed else 0


def all_notebooks() -> list[Path]:
    """All notebooks, in the course's order, then the solutions."""
    return sorted(HERE.glob("*.ipynb")) + sorted((HERE / "solutions").glob("*.ipynb"))


def execute(path: Path, *, small: bool, keep: bool, timeout: float = 600.0) -> list[str]:
    """Run one notebook in its folder and return its problems. keep: write it back."""
    notebook = nbformat.read(path, as_version=4)
    os.environ["MINIVIT_COURSE_SMALL"] = "1" if small else ""
    client = NotebookClient(
        notebook, timeout=timeout, kernel_name="python3", record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(HERE)}},
    )  # fmt: skip
    notebook.cells.append(nbformat.v4.new_code_cell(MOVE_SLIDERS))
    try:
        client.execute()
    except CellExecutionError as error:
        return [f"failed: {error}"]
    finally:
        notebook.cells.pop()
    faults = find_faults(notebook, solutions=path.parent.name == "solutions")
    if keep:
        tidy(notebook)
        nbformat.write(notebook, path)
    return faults


def find_faults(notebook, solutions: bool) -> list[str]:
    """List warnings, paths of this machine, and grades that are not as expected."""
    faults = []
    for number, cell in enumerate(notebook.cells):
        outputs = cell.get("outputs", [])
        text = "\n".join(map(_text, outputs))
        if any(output.get("name") == "stderr" for output in outputs):
            faults.append(f"cell {number} writes to stderr: {text:.200}")
        if str(HERE) in text or str(Path.home()) + "/" in text:
            faults.append(f"cell {number} shows a path of this machine")
        for name, grade in GRADE.findall(text):
            if (grade == "✓") != solutions:
                what = "the solution does not pass" if solutions else "the stub passes"
                faults.append(f"{name}: {what}")
    return faults


def _text(output) -> str:
    if output.output_type == "stream":
        return output.text
    return output.get("data", {}).get("text/plain", "")


def tidy(notebook) -> None:
    """Remove what is specific to this run (live widgets, cell ids, the kernel's version), and fold
    the cells that draw.
    """
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:03}"
        cell.metadata = nbformat.from_dict({})
        if cell.cell_type == "code":
            cell.metadata = nbformat.from_dict(FOLDED if is_drawing(cell.source) else {})
            cell.outputs = [
                output for output in cell.outputs if WIDGET not in output.get("data", {})
            ]
            for output in cell.outputs:
                output.pop("transient", None)
                if "image/png" in output.get("data", {}):
                    output["data"]["image/png"] = smaller(output["data"]["image/png"])


def smaller(png: str) -> str:
    """Reduce a figure to 256 colors: a third of the bytes, with no visible difference. Input and
    output are base64.
    """
    image = Image.open(io.BytesIO(base64.b64decode(png)))
    white = Image.new("RGBA", image.size, "white")
    flat = Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    buffer = io.BytesIO()
    flat.quantize(256, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return min(base64.b64encode(buffer.getvalue()).decode(), png.replace("\n", ""), key=len)


if __name__ == "__main__":
    sys.exit(run_command(main, Options, "python notebooks/execute.py"))
