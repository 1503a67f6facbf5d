"""`minivit gradcheck`: a table of every gradient against finite differences."""

from dataclasses import dataclass
from typing import Annotated

from minivit.commands.cli import parse
from minivit.errors import UserError
from minivit.gradcheck.cases import all_cases
from minivit.gradcheck.check import TOLERANCE
from minivit.ranges import Range, Ranged


@dataclass(frozen=True)
class Options(Ranged):
    """Check every hand-written gradient against central finite differences in float64."""

    only: str = ""
    """Check only gradients whose names contain this, for example layernorm."""
    elements: Annotated[int | None, Range(1, 1_000_000, "no tensor here has more")] = 40
    """Number of single elements to check in each tensor, in addition to random directions; None:
    all.
    """
    directions: Annotated[int, Range(0, 1_000, "a few suffice")] = 2
    """Number of random directions to check in each tensor."""


def main(options: Options) -> int:
    """Print the table; returns 1 if a gradient is wrong, else 0."""
    print(f"{'kind':6}{'what':31}{'tensor':28}{'rel. error':>11}  worst at")
    worst, count, failed = 0.0, 0, 0
    for kind, name, case in all_cases():
        if options.only.lower() not in name.lower():
            continue
        for result in case(directions=options.directions, max_elements=options.elements):
            mark = "" if result.passed else "  WRONG: "
            if mark:
                mark += f"{result.analytic:.9g}, finite differences say {result.numeric:.9g}"
            print(
                f"{kind:6}{name:31}{result.tensor:28}{result.error:11.1e}  {result.where}{mark}",
                flush=True,
            )
            worst, count = max(worst, result.error), count + 1
            failed += not result.passed
    if not count:
        raise UserError(f"--only {options.only} matches no name; try layernorm, attention or ViT")
    print(f"\n{count} gradients, {failed} wrong; worst relative error {worst:.1e}", end="")
    print(f" (tolerance {TOLERANCE:.0e})")
    return 1 if failed else 0


def run(argv: list[str], prog: str = "minivit gradcheck") -> int:
    """Parse the flags and run."""
    return main(parse(Options, argv, prog))
