"""Measure how the cost grows with one size."""

import dataclasses
import json
import statistics

from matplotlib.figure import Figure

from benchmarks import report
from benchmarks.report import BLUE
from benchmarks.runner import CONTENDERS, Result, machine, measure
from benchmarks.shape import Shape
from minivit.viz import save_figure

VALUES = {
    "batch": (8, 16, 32, 64, 128, 256, 512),
    "depth": (3, 6, 9, 12),
    "dim": (96, 192, 384, 768),
    "image_size": (32, 64, 96, 128, 224),
    "threads": (1, 2),
}
COLORS = (BLUE, "#D55E00", "#E69F00", "#009E73", "#CC79A7", "#999999")


def run(
    name, key: str, shape: Shape, names, train: bool, options, command: str, left_out: list[str]
) -> None:
    """Measure at each value of a size; write NAME.json, NAME.md and NAME.png."""
    measured = {}
    for value in VALUES[key]:
        print(f"{key} {value}")
        current = _with(shape, key, value)
        results = measure(names, current, train, options.rounds, options.steps)
        measured[value] = {
            n: _rate(current, result) for n, result in results.items() if n != "gemm"
        }
    report.RESULTS.mkdir(exist_ok=True)
    facts = {"command": command, **machine(shape), "shape": shape.as_dict()}
    content = {**facts, "key": key, "images_per_s": measured, "left_out": left_out}
    (report.RESULTS / f"{name}.json").write_text(
        json.dumps(content, indent=2) + "\n", encoding="utf-8"
    )
    text = (
        f"# Images/s against {key}\n\n{_table(key, measured)}\n\n{report.sentences(left_out)}"
        f"{facts['cpu']}, {facts['instructions']}; `{command}`\n"
    )
    (report.RESULTS / f"{name}.md").write_text(text, encoding="utf-8")
    save_figure(_lines(key, measured), report.RESULTS / f"{name}.png")
    print(text)


def _with(shape: Shape, key: str, value: int) -> Shape:
    """The shape with one size changed, and with it what depends on that size: heads stay 64 wide, a
    batch has fewer images if they are larger.
    """
    changes = {key: value}
    if key == "dim":
        changes["num_heads"] = max(1, value // 64)
    if key == "image_size":
        changes["batch"] = max(4, shape.batch * 32 * 32 // (value * value))
    return dataclasses.replace(shape, **changes)


def _rate(shape: Shape, result: Result) -> float:
    return shape.batch / statistics.median(result.seconds)


def _table(key: str, measured: dict) -> str:
    names = list(next(iter(measured.values())))
    head = f"| {key} | " + " | ".join(CONTENDERS[name] for name in names) + " |"
    lines = [head, "|---" * (len(names) + 1) + "|"]
    for value, rates in measured.items():
        lines.append(f"| {value} | " + " | ".join(f"{rates[name]:.1f}" for name in names) + " |")
    if key == "threads":
        (few, slow), *_, (many, fast) = measured.items()
        gains = " | ".join(f"{fast[name] / slow[name]:.2f}×" for name in names)
        lines.append(f"| {many} over {few} | {gains} |")
    return "\n".join(lines)


def _lines(key: str, measured: dict) -> Figure:
    figure = Figure(figsize=(6.5, 3.8), layout="constrained")
    axes = figure.subplots()
    for name, color in zip(next(iter(measured.values())), COLORS, strict=False):
        rates = [rates[name] for rates in measured.values()]
        axes.plot(list(measured), rates, "o-", color=color, label=CONTENDERS[name])
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(list(measured), [str(value) for value in measured])
    axes.set_xlabel(key.replace("_", " "))
    axes.set_ylabel("images/s")
    axes.grid(alpha=0.25, which="both")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    return figure
