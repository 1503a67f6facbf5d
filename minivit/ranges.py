"""The valid range of every number in a config or a flag, declared in its type: both ends, and the
reason for them.
"""

import dataclasses
import functools
import numbers
from dataclasses import dataclass
from types import NoneType
from typing import Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints

from minivit.errors import UserError, shown

MAX_DIGITS = 19  # of 2**63 - 1


@dataclass(frozen=True)
class Range:
    """`depth: Annotated[int, Range(0, 1_000, "why")]`: from `low` to `high`, both included.

    In a tuple it applies to each number; None is allowed if the type includes it.

    why: what would be wrong beyond the ends; part of the error message. unit: what is counted.
    count: the fewest and the most numbers in a tuple.
    """

    low: float
    high: float
    why: str
    unit: str = ""
    count: tuple[int, int] = (0, 1_000)

    def __str__(self) -> str:
        ends = f"{_format(self.low)} to {_format(self.high)}"
        return f"{ends} {self.unit}" if self.unit else ends


class Number(NamedTuple):
    """A numeric field. kind: `Integral` or `Real`. limits: its range, or None."""

    name: str
    kind: type
    optional: bool
    limits: Range | None


class Ranged:
    """Base of a dataclass whose numbers are checked on construction, wherever they come from."""

    def __post_init__(self) -> None:
        cls: Any = type(self)  # mypy checks whether its instances are hashable
        for number in numeric_fields(cls):
            _check(number, getattr(self, number.name))


@functools.cache
def numeric_fields(cls: type) -> tuple[Number, ...]:
    """The numeric fields of a dataclass; sections check their own."""
    hints, found = get_type_hints(cls, include_extras=True), []
    for field in dataclasses.fields(cls):
        types, limits = _parts(hints[field.name])
        if types & {int, float}:
            kind = numbers.Real if float in types else numbers.Integral
            found.append(Number(field.name, kind, NoneType in types, limits))
    return tuple(found)


def _parts(hint: Any) -> tuple[set[Any], Range | None]:
    """The plain types in a type hint, and its range."""
    if get_origin(hint) is Annotated:
        inner, *extras = get_args(hint)
        limits = next((extra for extra in extras if isinstance(extra, Range)), None)
        types, nested = _parts(inner)
        return types, limits or nested
    types = set() if get_args(hint) else {hint}
    for member in get_args(hint):
        if isinstance(member, type) or get_args(member):  # not a member of a Literal, not `...`
            types |= _parts(member)[0]
    return types, None


def _check(number: Number, value: Any) -> None:
    name, limits = number.name, number.limits
    if limits is None or (value is None and number.optional):
        return
    is_sequence = isinstance(value, tuple | list)
    min_count, max_count = limits.count
    if is_sequence and not min_count <= len(value) <= max_count:
        raise UserError(f"{name} has {len(value)} numbers; expected {min_count:,} to {max_count:,}")
    for item in value if is_sequence else (value,):
        if not _within(item, number.kind, limits):
            none = ", or None" if number.optional else ""
            raise UserError(f"{name} is {shown(item)}; expected {limits}{none}: {limits.why}")


def _within(value: Any, kind: type, limits: Range) -> bool:
    """NaN is in no range, and True is not a number."""
    valid = isinstance(value, kind) and not isinstance(value, bool)
    return valid and limits.low <= value <= limits.high


def whole_number(text: str) -> int | None:
    """The number that decimal digits stand for; None for any other text, and for more digits than
    any range has (Python refuses to convert thousands of them).
    """
    return int(text) if text.isdecimal() and len(text) <= MAX_DIGITS else None


def _format(end: float) -> str:
    return f"{end:,}" if isinstance(end, int) else f"{end:g}"
