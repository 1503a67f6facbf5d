"""How many images each class has and how well it is recognized, as text."""

from collections.abc import Sequence

import numpy as np

from minivit.engine.evaluation import Evaluation
from minivit.viz.style import width

BAR = 20
"""Length of the bar for 100 %, in characters."""


MAX_LISTED = 10
"""With at most this many classes, the size of each is printed."""
IMBALANCE = 2
"""--balance is suggested if the largest class is at least this many times the smallest."""


def class_sizes(counts: np.ndarray, class_names: Sequence[str], balance: bool) -> str:
    """One line: the number of training images of each class, or of three classes if there are many.

    balance: whether each class is drawn equally often.
    """
    order = np.argsort(counts, kind="stable")
    if len(counts) <= MAX_LISTED:
        sizes = "; ".join(f"{name} {n:,}" for name, n in zip(class_names, counts, strict=True))
    else:
        examples = {"smallest": order[0], "median": order[len(order) // 2], "largest": order[-1]}
        sizes_of = (f"{what} {class_names[k]} {counts[k]:,}" for what, k in examples.items())
        sizes = f"{len(counts):,} classes; " + "; ".join(sizes_of)
    advice = ""
    if balance:
        advice = " (each class is drawn equally often)"
    elif counts[order[-1]] >= IMBALANCE * counts[order[0]]:
        advice = " (--balance draws each class equally often)"
    return f"images per class: {sizes}{advice}"


def class_table(found: Evaluation, class_names: Sequence[str]) -> str:
    """One line per class: number of test images, accuracy (recall), precision, F1, and a bar of the
    accuracy. A fraction of zero images is "–".
    """
    widest = max(map(width, (*class_names, "class")))
    lines = [f"{padded('class', widest)}  images  accuracy (recall)  precision      F1"]
    columns = zip(class_names, found.counts, found.recall, found.precision, found.f1, strict=True)
    for name, count, recall, precision, f1 in columns:
        bar = "█" * round(BAR * recall) if count else ""
        line = (
            f"{padded(name, widest)}  {count:6,}  {percent(recall):>17}  {percent(precision):>9}"
            f"  {percent(f1):>6}  {bar}"
        )
        lines.append(line.rstrip())
    return "\n".join(lines)


def percent(fraction: float) -> str:
    """0.5 as 50.0%, NaN as –."""
    return "–" if np.isnan(fraction) else f"{fraction:.1%}"


def padded(text: str, columns: int) -> str:
    """Text padded with spaces to this width."""
    return text + " " * (columns - width(text))
