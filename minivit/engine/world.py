"""The processes that train one model: here the one that is alone."""

from collections.abc import Callable
from typing import TypeVar

from minivit.backend import Array

T = TypeVar("T")


class World:
    """One process alone: all that several do together, it has done at once.

    rank: its number. size: how many there are. threads: workers that suit each; None for as many as
    one alone would take.
    """

    rank, size = 0, 1
    threads: int | None = None

    @property
    def main(self) -> bool:
        """Whether this is rank 0, which writes the files and talks to people."""
        return self.rank == 0

    def rows(self, count: int) -> range:
        """This rank's rows of `count`, which are cut as evenly as they can be."""
        return range(self.rank * count // self.size, (self.rank + 1) * count // self.size)

    def add(self, array: Array) -> None:
        """Replace an array by its sum over the ranks."""

    def begin_add(self, array: Array) -> Callable[[], None]:
        """Begin to `add`. Nobody may touch the array until what this returns has been called: it
        waits for the end."""
        return lambda: None

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on some rank."""
        return flag

    def from_main(self, function: Callable[[], T]) -> T:
        """What the function returns on rank 0, which alone calls it."""
        return function()

    def in_turn(self, function: Callable[[], T]) -> T:
        """The function's result: one rank of each machine calls it first, and may download or cache
        what the others then find."""
        return function()

    def require_same(self, **told: str) -> None:
        """Raises UserError where a rank tells another thing than rank 0 does."""

    def wait_at_most(self, seconds: float, advice: str) -> None:
        """From now on all end where a rank waits longer for the others; advice: what to do then."""

    def own_device(self, device: str) -> str:
        """This rank's device, where all were started with `device`: a GPU is no other rank's.

        Raises:
            UserError: more ranks than GPUs on a machine, or one GPU named for all; as
                `parse_device`.
        """
        return device
