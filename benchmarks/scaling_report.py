"""Tables and a figure of what `benchmarks.scaling` measures and computes."""

import json
import platform
from datetime import date
from importlib.metadata import version
from typing import Any, NamedTuple

from benchmarks.report import RESULTS
from benchmarks.scaling_model import NETWORKS, Cost, cost_of, network_of, speed_ups
from minivit.backend.machine import cpu_name
from minivit.viz import save_figure
from minivit.viz.style import BLUE, CLASSES, GREEN, ORANGE, Figure

MAX_RANKS = 1024
COLORS = dict(zip(NETWORKS, (ORANGE, CLASSES[4], GREEN, BLUE), strict=True))


class Result(NamedTuple):
    """measured: for one rank ("one"), one rank with fewer images ("part"), two ranks ("two"), and
    one rank with the threads of two ("threads"). batch: images per computed step.
    """

    model: str
    batch: int
    threads: int
    measured: dict[str, dict[str, Any]]

    @property
    def cost(self) -> Cost:
        """The cost of a step on one rank."""
        return cost_of(self.measured["one"], self.measured["part"])

    @property
    def ranks(self) -> list[int]:
        """1, 2, 4, …, at most one per image."""
        return [2**i for i in range(11) if 2**i <= min(MAX_RANKS, self.batch)]

    @property
    def gain(self) -> float:
        """Speed-up of two ranks over one, measured."""
        return self.measured["one"]["step"] / self.measured["two"]["step"]

    def computed(self) -> dict[str, list[float]]:
        """Speed-ups for each network."""
        return {
            name: speed_ups(self.ranks, self.batch, self.cost, network)
            for name, network in NETWORKS.items()
        }


def text(results: list[Result], command: str) -> str:
    """The measurements, and what is computed from them."""
    parts = ["## Measured", measured(results)]
    parts += [between(result) for result in results[:1]]
    for result in results:
        size = f"{result.cost.bytes / 1e6:.1f} MB"
        parts += [f"## Computed: {result.model}, batch {result.batch:,}, {size}", computed(result)]
    parts.append(
        f"{cpu_name()}, {result.threads} thread{'s' * (result.threads > 1)} per rank; "
        f"{date.today()}; `{command}`. Networks: typical latency and bandwidth."
    )
    return "\n\n".join(parts)


def measured(results: list[Result]) -> str:
    """A table of the measurements: one row per model."""
    lines = [
        "| | images | 1 rank | 1 rank, 1/8 of the images | 2 ranks | all-reduce alone | exposed | "
        "hidden | 2 ranks relative to 1 with their threads |",
        "|---" * 9 + "|",
    ]
    for result in results:
        one, part, two = (result.measured[name] for name in ("one", "part", "two"))
        alone, exposed = two["all_reduce"], two["exposed"]
        middle, low, high = two["over_threads"]
        lines.append(
            f"| {result.model} | {one['images']} | {ms(one['step'])} | {ms(part['step'])} | "
            f"{ms(two['step'])} | {ms(alone)} | {ms(exposed)}, {exposed / two['step']:.1%} | "
            f"{max(0.0, 1 - exposed / alone):.0%} | {middle:.2f} ({low:.2f}–{high:.2f}) |"
        )
    return "\n".join(lines)


def between(result: Result) -> str:
    """A sentence on the measured connection between the two ranks."""
    latency, bandwidth = network_of(result.measured["two"])
    return (
        f"Between the two ranks, through this machine's memory: {1e6 * latency:.0f} µs, "
        f"{bandwidth / 1e9:.1f} GB/s."
    )


def computed(result: Result) -> str:
    """A table of the speed-ups over one rank."""
    lines = [
        "| ranks | " + " | ".join(f"{n:,}" for n in result.ranks) + " |",
        "|---" * (len(result.ranks) + 1) + "|",
    ]
    for name, gains in result.computed().items():
        lines.append(f"| {name} | " + " | ".join(f"{gain:.3g}" for gain in gains) + " |")
    return "\n".join(lines)


def ms(seconds: float) -> str:
    return f"{1e3 * seconds:,.1f} ms" if seconds < 1 else f"{seconds:,.2f} s"


def write(name: str, results: list[Result], command: str) -> None:
    """Write NAME.json, NAME.md and NAME.png."""
    RESULTS.mkdir(exist_ok=True)
    content = {
        "date": str(date.today()),
        "command": command,
        "cpu": cpu_name(),
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "results": [
            {**r._asdict(), "cost": r.cost._asdict(), "ranks": r.ranks, "computed": r.computed()}
            for r in results
        ],
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    page = f"# Scaling over ranks\n\n{text(results, command)}\n"
    (RESULTS / f"{name}.md").write_text(page, encoding="utf-8")
    save_figure(figure(results), RESULTS / f"{name}.png")


def figure(results: list[Result]) -> Figure:
    """One panel per model: lines are computed, points are measured."""
    drawn = Figure(figsize=(3.5 * len(results) + 1.6, 4.2), layout="constrained")
    panels = drawn.subplots(1, len(results), sharey=True, squeeze=False)[0]
    for axes, result in zip(panels, results, strict=True):
        _panel(axes, result)
    panels[0].set_ylabel("speed-up over one rank")
    handles, labels = panels[0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside right center", frameon=False)
    return drawn


def _panel(axes: Any, result: Result) -> None:
    axes.plot([1, MAX_RANKS], [1, MAX_RANKS], ":", color="#bbbbbb", label="ideal")
    widths = (1.6, 1.6, 1.6, 4.0)  # the last two may coincide: the wider line is drawn below
    for (name, gains), width in reversed(list(zip(result.computed().items(), widths, strict=True))):
        label = f"computed, {name}"
        axes.plot(result.ranks, gains, color=COLORS[name], linewidth=width, label=label)
    points = [1, 2], [1, result.gain]
    axes.plot(*points, "o", color="black", markersize=6, zorder=3, label="measured, one machine")
    ticks = [1, 4, 16, 64, 256, 1024]
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks_position("none")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    axes.set_xticks(ticks, [f"{n:,}" for n in ticks])
    axes.set_yticks(ticks, [f"{n:,}" for n in ticks])
    axes.set_xlabel("ranks")
    size = f"batch {result.batch:,}, gradient {result.cost.bytes / 1e6:.0f} MB"
    axes.set_title(f"{result.model}\n", loc="left", fontweight="bold", fontsize=11)
    axes.text(0, 1.02, size, transform=axes.transAxes, fontsize=9, color="#555555")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
