"""Write tables and plots to `benchmarks/results/`."""

import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.runner import machine, markdown
from benchmarks.shape import Shape
from minivit.viz import save_figure

RESULTS = Path(__file__).parent / "results"
BLUE, GRAY = "#0072B2", "#999999"


def write(
    name: str, title: str, shape: Shape, rows: list[dict], command: str, left_out: Sequence[str]
) -> None:
    """Write NAME.json, NAME.md and NAME.png."""
    RESULTS.mkdir(exist_ok=True)
    facts = {"date": str(date.today()), "command": command, **machine(shape)}
    content = {**facts, "shape": shape.as_dict(), "rows": rows, "left_out": left_out}
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    packages = ", ".join(f"{key} {value}" for key, value in facts["packages"].items())
    text = (
        f"# {title}\n\n{markdown(rows)}\n\n{sentences(left_out)}"
        f"{facts['cpu']}, {facts['instructions']}, {shape.threads} cores; {packages}; "
        f"Python {facts['python']}; {facts['date']}; `{command}`. Medians over alternating rounds; "
        "the range of the ratio is in parentheses.\n"
    )
    (RESULTS / f"{name}.md").write_text(text, encoding="utf-8")
    save_figure(bars(rows, title), RESULTS / f"{name}.png")
    print(text)


def sentences(lines: Sequence[str]) -> str:
    """The lines as a paragraph below a table; an empty string if there are none."""
    return ". ".join(lines) + ".\n\n" if lines else ""


def bars(rows: list[dict], title: str) -> Figure:
    """A bar chart of each contender's images/s."""
    figure = Figure(figsize=(7.5, 0.45 * len(rows) + 1.1), layout="constrained")
    axes = figure.subplots()
    names = [row["name"] for row in rows]
    rates = [row["images_per_s"] for row in rows]
    colors = [BLUE if name.startswith("minivit") else GRAY for name in names]
    drawn = axes.barh(names, rates, color=colors, height=0.65)
    axes.bar_label(drawn, [f"{rate:.0f}" for rate in rates], padding=4)
    axes.invert_yaxis()
    axes.set_xlabel("images/s")
    axes.set_title(title, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.12)
    return figure
